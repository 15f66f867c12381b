"""What is told about datasets."""

from datetime import datetime

from pydantic import BaseModel


class DatasetAnswer(BaseModel):
    """One dataset; `run`, `encoder` and `method` are of its current run, None before the first."""

    dataset: str
    title: str
    layout: str
    source_uri: str
    licence: str
    citation: str
    subjects: list[str]
    atlases: list[str]
    stimuli: int
    run: int | None
    encoder: str | None
    method: str | None
    ingested_at: datetime


class DatasetList(BaseModel):
    """All datasets, by name."""

    datasets: list[DatasetAnswer]

"""What is told about runs."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class OfRun(BaseModel):
    """What an answer out of a run names."""

    dataset: str
    run: int
    encoder: str
    method: str = Field(description="How the run found its concepts: masks or clusters.")


class RunAnswer(BaseModel):
    """One published run."""

    run: int
    dataset: str
    current: bool
    encoder: str
    method: str
    components: int
    shared: int
    seed: int
    device: str
    code_version: str
    published_at: datetime
    metrics: dict[str, Any]


class RunList(BaseModel):
    """Published runs, newest first within each dataset."""

    runs: list[RunAnswer]

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
    shared: int = Field(description="Components that participants share.")
    not_measured: int = Field(
        description="Components of which it is not known whether participants share them."
    )
    reproducible: bool | None = Field(
        description="Whether its components are found again above chance; false only where it was "
        "published all the same, null where that was not measured."
    )
    seed: int
    device: str
    code_version: str
    published_at: datetime
    metrics: dict[str, Any] = Field(
        description="What was measured of the run, by name; `decoders` has each participant's "
        "top-k accuracies with the 95 % interval of top-1, and the paired test against ridge."
    )


class RunList(BaseModel):
    """Published runs, newest first within each dataset."""

    runs: list[RunAnswer]

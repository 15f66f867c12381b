"""What is told about ingestions that were asked for."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.patterns import NO_NUL

Json = dict[str, Any]
State = Literal["queued", "submitted", "running", "done", "failed", "cancelled"]
Trigger = Literal["request", "command", "schedule", "watch", "webhook"]


class IngestionWanted(BaseModel):
    """An ingestion that is to be made."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            pattern=NO_NUL,
            description="Where the data set lies, in the eyes of whoever works on it.",
            examples=["/data/faces"],
        ),
    ]
    options: Annotated[
        Json, Field(description="Settings of the ingestion, as `sdc ingest --set` takes them.")
    ] = {}
    replace: Annotated[
        bool,
        Field(description="Whether one of this name that did not only grow, and its runs, may go."),
    ] = False
    then_run: Annotated[bool, Field(description="Whether the pipeline runs on it next.")] = False
    run_options: Annotated[
        Json, Field(description="Settings of the run, as `sdc run --set` takes them.")
    ] = {}


class IngestionAnswer(BaseModel):
    """An ingestion that was asked for, and what became of it."""

    id: int
    state: State
    source: str
    options: Json
    replace: bool
    then_run: bool
    run_options: Json
    trigger: Trigger
    schedule: int | None = Field(description="The schedule that asked for it.")
    attempt: int = Field(description="How often it has been started, this time included.")
    progress: str = Field(description="How far it is.")
    dataset: str | None = Field(description="The data set's name, once it is known.")
    changed: bool | None = Field(description="Whether the catalog changed; null until then.")
    run: int | None = Field(description="The run that was published.")
    error: str | None
    hint: str | None
    created_at: datetime
    not_before: datetime = Field(description="When it may be started.")
    started_at: datetime | None
    finished_at: datetime | None


class LogLine(BaseModel):
    """A line of what an ingestion told."""

    at: datetime
    attempt: int
    level: str
    message: str


class IngestionLogAnswer(BaseModel):
    """The last lines of what an ingestion told, the oldest first."""

    id: int
    state: State
    lines: list[LogLine]

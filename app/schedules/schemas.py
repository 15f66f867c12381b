"""What is told about schedules."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from app.ingestions.schemas import IngestionWanted
from app.patterns import NO_NUL


class ScheduleWanted(IngestionWanted):
    """Ingestions that are to be made again and again."""

    cron: Annotated[
        str | None,
        Field(
            max_length=200,
            pattern=NO_NUL,
            description="When: minute, hour, day, month, weekday.",
            examples=["0 3 * * *"],
        ),
    ] = None
    every_s: Annotated[
        int | None, Field(ge=60, le=366 * 86_400, description="Seconds from one to the next.")
    ] = None
    timezone: Annotated[
        str,
        Field(max_length=100, pattern=NO_NUL, description="Of `cron`.", examples=["Europe/Berlin"]),
    ] = "UTC"

    @model_validator(mode="after")
    def _one_rhythm(self) -> "ScheduleWanted":
        if (self.cron is None) == (self.every_s is None):
            raise ValueError("give either cron or every_s")
        return self


class ScheduleAnswer(BaseModel):
    """A schedule of ingestions."""

    id: int
    source: str
    options: dict[str, Any]
    replace: bool
    then_run: bool
    run_options: dict[str, Any]
    cron: str | None
    every_s: int | None
    timezone: str
    created_at: datetime
    next_at: datetime | None = Field(description="When it asks next; null where it has ended.")


class ScheduleList(BaseModel):
    """Schedules, the oldest first."""

    schedules: list[ScheduleAnswer]

"""What is told about triggers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.ingestions.schemas import IngestionWanted, State
from app.patterns import NO_NUL


class TriggerWanted(IngestionWanted):
    """What is to ask for ingestions by itself; `source` is the folder that holds the data sets."""

    kind: Literal["watch", "webhook"]
    settle_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="Seconds in which nothing may change in what arrives."),
    ] = 60


class TriggerAnswer(BaseModel):
    """A trigger."""

    id: int
    kind: Literal["watch", "webhook"]
    source: str
    options: dict[str, Any]
    replace: bool
    then_run: bool
    run_options: dict[str, Any]
    settle_s: int
    created_at: datetime
    ended_at: datetime | None


class NewTrigger(TriggerAnswer):
    """A trigger that was just made."""

    secret: str | None = Field(
        description="What a webhook's messages are signed with. It is told this once."
    )


class TriggerList(BaseModel):
    """Triggers that have not ended, the oldest first."""

    triggers: list[TriggerAnswer]


class Arrival(BaseModel):
    """What a webhook says: a data set has arrived."""

    model_config = ConfigDict(extra="ignore")

    source: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            pattern=NO_NUL,
            description="Where it lies, below the trigger's folder.",
            examples=["/data/incoming/faces"],
        ),
    ]


class Received(BaseModel):
    """What a webhook's message led to."""

    ingestion: int
    state: State

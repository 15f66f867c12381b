"""What is told about keys."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Scope = Literal["read", "ingest", "admin"]


class KeyWanted(BaseModel):
    """A key that is to be made."""

    name: Annotated[str, Field(min_length=1, max_length=200, examples=["notebook of the lab"])]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    datasets: Annotated[
        list[str], Field(max_length=100, description="Embargoed datasets that it sees.")
    ] = []
    days: Annotated[int | None, Field(ge=1, le=3650, description="How long it holds.")] = 365


class KeyAnswer(BaseModel):
    """A key, without its secret."""

    id: int
    name: str
    scopes: list[str]
    datasets: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKey(KeyAnswer):
    """A key that was just made."""

    key: str = Field(description="The secret. It is told this once, and stored as a hash alone.")


class KeyList(BaseModel):
    """All keys, the newest first."""

    keys: list[KeyAnswer]


class EmbargoAnswer(BaseModel):
    """Whether a dataset is embargoed."""

    dataset: str
    embargoed: bool


class AuditEntry(BaseModel):
    """A change that somebody made."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]

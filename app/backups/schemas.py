"""What a backup says of itself."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_NAME = r"^[a-z_][a-z0-9_]{0,62}$"


class Part(BaseModel):
    """One file inside a backup."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(
        pattern=r"^(tables/[a-z_][a-z0-9_]{0,62}\.copy\.gz"
        r"|store/[0-9a-f]{2}/[0-9a-f]{64}\.safetensors)$"
    )
    size: int = Field(ge=0, description="Bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TableRows(BaseModel):
    """A table whose rows are in a backup."""

    name: str = Field(pattern=_NAME)
    columns: list[str] = Field(description="In the order in which a row has them.")
    rows: int = Field(ge=0)


class SequenceState(BaseModel):
    """Where the numbers of new rows go on."""

    name: str = Field(pattern=_NAME)
    last: int = Field(ge=1, le=2**63 - 1)
    is_called: bool = Field(description="Whether `last` was given to a row already.")


class Manifest(BaseModel):
    """Where a backup comes from, and what is in it."""

    format: int = Field(ge=1, description="Of the backup's layout.")
    made_at: datetime
    version: str = Field(description="Of the program that made it.")
    revision: str = Field(description="Migration of the catalog's schema.")
    postgres: str = Field(description="Version of the server.")
    pgvector: str = Field(description="Version of the extension.")
    runs: list[dict[str, Any]] = Field(description="Every run, with where it comes from.")
    tables: list[TableRows] = []
    sequences: list[SequenceState] = []
    parts: list[Part]

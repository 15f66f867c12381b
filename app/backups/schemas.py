"""What a backup says of itself."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """One file inside a backup."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^(catalog\.dump|store/[0-9a-f]{2}/[0-9a-f]{64}\.safetensors)$")
    size: int = Field(ge=0, description="Bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """Where a backup comes from, and what is in it."""

    format: int = Field(ge=1, description="Of the backup's layout.")
    made_at: datetime
    version: str = Field(description="Of the program that made it.")
    revision: str = Field(description="Migration of the catalog's schema.")
    postgres: str = Field(description="Version of the server.")
    pgvector: str = Field(description="Version of the extension.")
    pg_dump: int = Field(description="Major version of the program that made catalog.dump.")
    runs: list[dict[str, Any]] = Field(description="Every run, with where it comes from.")
    parts: list[Part]

"""What the collection of garbage tells."""

from pydantic import BaseModel, Field


class Garbage(BaseModel):
    """What was deleted, or would be."""

    dry_run: bool = Field(description="Whether it is still there.")
    artefacts: int = Field(description="Arrays that nothing refers to.")
    results: int = Field(description="Remembered results that are of no more use.")
    unfinished: int = Field(description="Files that were being written when their writer ended.")
    bytes: int
    kept: int = Field(description="Artefacts that stay.")

"""What is told about terms."""

from pydantic import BaseModel


class TermsAdded(BaseModel):
    """What one encoder's terms gained."""

    encoder: str
    added: int
    known: int
    seconds: float


class TermsReport(BaseModel):
    """What was added, encoder by encoder."""

    encoders: list[TermsAdded]

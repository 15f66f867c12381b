"""What is told about terms."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.patterns import NO_NUL, PROMPT_BATCH, PROMPT_LENGTH, SAYS_SOMETHING

Text = Annotated[str, PROMPT_LENGTH, Field(min_length=1, pattern=SAYS_SOMETHING)]


class TermsWanted(BaseModel):
    """Texts that are to have a vector."""

    texts: Annotated[
        list[Text], PROMPT_BATCH, Field(min_length=1, examples=[["a photo of a face"]])
    ]
    dataset: Annotated[
        str | None,
        Field(
            description="Take the encoder of its current run; without it, all that are in use.",
            pattern=NO_NUL,
        ),
    ] = None


class TermsAdded(BaseModel):
    """What one encoder's terms gained."""

    encoder: str
    added: int
    known: int
    seconds: float
    warnings: list[str] = Field(
        default=[],
        description="What of the texts the encoder does not know or read, a sentence each.",
    )


class TermsReport(BaseModel):
    """What was added, encoder by encoder."""

    encoders: list[TermsAdded]

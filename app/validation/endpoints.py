"""Validation against localisers, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.dependencies import ReadingSession
from app.parameters import AtlasName, DatasetName, RunId, SubjectName
from app.patterns import PROMPT_LENGTH, SAYS_SOMETHING
from app.validation import service
from app.validation.schemas import ValidationAnswer

router = APIRouter(prefix="/validation", tags=["validation"])


@router.get("")
def validate(
    session: ReadingSession,
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    atlas: AtlasName = None,
    prompt: Annotated[
        str | None,
        PROMPT_LENGTH,
        Query(
            description="Hold what this finds against `atlas` instead.",
            min_length=1,
            pattern=SAYS_SOMETHING,
        ),
    ] = None,
) -> ValidationAnswer:
    """How concepts found by words lie on the regions that localisers found."""
    return service.validate(
        session, dataset=dataset, run=run, subject=subject, atlas=atlas, prompt=prompt
    )

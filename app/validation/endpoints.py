"""Validation against localisers, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.dependencies import ReadingSession
from app.immutable import UNCHANGED, tagged_answer
from app.parameters import AtlasName, DatasetName, RunId, SubjectName
from app.patterns import PROMPT_LENGTH, SAYS_SOMETHING
from app.validation import service
from app.validation.schemas import ValidationAnswer

router = APIRouter(prefix="/validation", tags=["validation"])


@router.get("", response_model=ValidationAnswer, responses=UNCHANGED)
def validate(
    session: ReadingSession,
    request: Request,
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
) -> Response:
    """How concepts found by words lie on the regions that localisers found."""
    answer = service.validate(
        session, dataset=dataset, run=run, subject=subject, atlas=atlas, prompt=prompt
    )
    return tagged_answer(request, answer)

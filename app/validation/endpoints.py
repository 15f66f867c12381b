"""Validation against localisers, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.dependencies import ReadingSession
from app.validation import service
from app.validation.schemas import ValidationAnswer

router = APIRouter(prefix="/validation", tags=["validation"])


@router.get("")
def validate(
    session: ReadingSession,
    dataset: Annotated[
        str | None, Query(description="Needed where several have a current run.")
    ] = None,
    run: Annotated[
        int | None, Query(description="An older run, instead of the current one.")
    ] = None,
    subject: Annotated[str | None, Query(description="This participant alone.")] = None,
    atlas: Annotated[str | None, Query(description="This atlas alone.")] = None,
    prompt: Annotated[
        str | None, Query(description="Hold what this finds against `atlas` instead.")
    ] = None,
) -> ValidationAnswer:
    """How concepts found by words lie on the regions that localisers found."""
    return service.validate(
        session, dataset=dataset, run=run, subject=subject, atlas=atlas, prompt=prompt
    )

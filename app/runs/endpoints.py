"""Runs, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.dependencies import ReadingSession
from app.runs import service
from app.runs.schemas import RunList

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("")
def list_runs(
    session: ReadingSession,
    dataset: Annotated[str | None, Query(description="Runs of this dataset alone.")] = None,
) -> RunList:
    """All published runs, newest first within each dataset."""
    return service.list_runs(session, dataset)

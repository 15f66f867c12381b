"""Runs, over HTTP."""

from fastapi import APIRouter

from app.dependencies import ReadingSession
from app.parameters import DatasetName
from app.runs import service
from app.runs.schemas import RunList

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("")
def list_runs(session: ReadingSession, dataset: DatasetName = None) -> RunList:
    """All published runs, newest first within each dataset."""
    return service.list_runs(session, dataset)

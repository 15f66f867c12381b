"""Runs, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.dependencies import AdminSession, ReadingSession
from app.keys.endpoints import ADMINISTRATION
from app.keys.service import actor_of
from app.parameters import DatasetName
from app.runs import service
from app.runs.schemas import RunAnswer, RunList

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("")
def list_runs(session: ReadingSession, dataset: DatasetName = None) -> RunList:
    """All published runs, newest first within each dataset."""
    return service.list_runs(session, dataset)


@router.post("/{run}/promote", tags=[ADMINISTRATION])
def promote_run(
    session: AdminSession, run: Annotated[int, Path(description="A run's id.")]
) -> RunAnswer:
    """Let a run answer for its dataset."""
    return service.promote_run(session, run, actor_of(session))

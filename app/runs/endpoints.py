"""Runs, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.dependencies import AdminSession, ReadingSession
from app.keys.endpoints import ADMINISTRATION
from app.keys.service import actor_of
from app.parameters import DatasetName
from app.runs import service
from app.runs.report import show_run as report_run
from app.runs.schemas import RunAnswer, RunList, RunReport

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("")
def list_runs(session: ReadingSession, dataset: DatasetName = None) -> RunList:
    """All published runs, newest first within each dataset."""
    return service.list_runs(session, dataset)


@router.get("/{run}")
def show_run(
    session: ReadingSession, run: Annotated[int, Path(description="A run's id.")]
) -> RunReport:
    """What a run is worth: its verdict, warnings, concepts counted, and each participant."""
    return report_run(session, run)


@router.post("/{run}/promote", tags=[ADMINISTRATION])
def promote_run(
    session: AdminSession, run: Annotated[int, Path(description="A run's id.")]
) -> RunAnswer:
    """Let a run answer for its dataset."""
    return service.promote_run(session, run, actor_of(session))

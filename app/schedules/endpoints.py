"""Schedules, over HTTP; a key with the scope ``ingest`` is needed for all of it."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.dependencies import IngestingSession
from app.keys.service import actor_of
from app.schedules import service
from app.schedules.schemas import ScheduleAnswer, ScheduleList, ScheduleWanted
from app.terms.endpoints import INGESTION

router = APIRouter(prefix="/schedules", tags=[INGESTION])

ScheduleId = Annotated[int, Path(description="A schedule's id.")]


@router.post("", status_code=201)
def make_schedule(session: IngestingSession, wanted: ScheduleWanted) -> ScheduleAnswer:
    """Ask for an ingestion again and again."""
    return service.make_schedule(session, wanted, actor_of(session))


@router.get("")
def list_schedules(session: IngestingSession) -> ScheduleList:
    """Schedules that the key made and that have not ended, the oldest first; all for `admin`."""
    return service.list_schedules(session)


@router.delete("/{schedule_id}")
def end_schedule(session: IngestingSession, schedule_id: ScheduleId) -> ScheduleAnswer:
    """End a schedule; what it has asked for already is not cancelled."""
    return service.end_schedule(session, schedule_id, actor_of(session))

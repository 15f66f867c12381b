"""Making schedules, ending them, and asking for what is due."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from app.access import access_of
from app.database.models import IngestionRequest, IngestionSchedule
from app.errors import NotFoundError
from app.ingestions.schemas import IngestionWanted
from app.ingestions.service import asked_of, checked, queue
from app.keys.repository import add_audit
from app.schedules import repository
from app.schedules.rhythm import next_time
from app.schedules.schemas import ScheduleAnswer, ScheduleList, ScheduleWanted


def make_schedule(session: Session, wanted: ScheduleWanted, actor: str) -> ScheduleAnswer:
    """Ask for an ingestion again and again; the caller commits.

    Raises
    ------
    InputError
        The rhythm is none, the source lies where it may not, or an option is none; nothing is made.
    """
    now = datetime.now(UTC)
    first = next_time(wanted.cron, wanted.every_s, wanted.timezone, now)
    work = IngestionWanted(**wanted.model_dump(include=set(IngestionWanted.model_fields)))
    schedule = IngestionSchedule(
        **checked(session, work, actor),
        cron=wanted.cron,
        every_s=wanted.every_s,
        timezone=wanted.timezone,
        next_at=first,
    )
    session.add(schedule)
    session.flush()
    detail = {"source": schedule.source, "cron": wanted.cron, "every_s": wanted.every_s}
    add_audit(session, actor, "make schedule", str(schedule.id), detail)
    return _told(schedule)


def list_schedules(session: Session) -> ScheduleList:
    """Schedules that have not ended, the oldest first; of a key, those that it made."""
    rows = repository.list_schedules(session, access_of(session))
    return ScheduleList(schedules=[_told(row) for row in rows])


def end_schedule(session: Session, schedule_id: int, actor: str) -> ScheduleAnswer:
    """End a schedule; what it has asked for already is not cancelled.

    Raises
    ------
    NotFoundError
        There is no such schedule.
    """
    schedule = None
    if 0 < schedule_id < 2**31:
        schedule = repository.find_schedule(session, schedule_id, access_of(session))
    if schedule is None:
        raise NotFoundError(
            f"there is no schedule {schedule_id}", hint="`sdc schedules` tells their ids"
        )
    if schedule.next_at is not None:
        schedule.next_at = None
        session.flush()
        add_audit(session, actor, "end schedule", str(schedule.id), {"source": schedule.source})
    return _told(schedule)


def ask_due(session: Session) -> list[int]:
    """Queue what schedules ask for whose time has come; the ids of these requests.

    Times that passed while nobody looked are made up for once. A schedule whose last ingestion
    has not ended lets a time pass.
    """
    asked = []
    for schedule in repository.due_schedules(session):
        if not repository.has_unfinished(session, schedule.id):
            request = IngestionRequest(
                trigger="schedule", schedule_id=schedule.id, **asked_of(schedule)
            )
            asked.append(queue(session, request).id)
        schedule.next_at = next_time(
            schedule.cron, schedule.every_s, schedule.timezone, datetime.now(UTC)
        )
    return asked


def _told(schedule: IngestionSchedule) -> ScheduleAnswer:
    return ScheduleAnswer.model_validate(schedule, from_attributes=True)

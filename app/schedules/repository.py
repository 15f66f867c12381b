"""Queries on schedules."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access import Access
from app.database.models import IngestionRequest, IngestionSchedule


def list_schedules(session: Session, access: Access | None) -> Sequence[IngestionSchedule]:
    """Schedules that have not ended and may be seen, the oldest first."""
    query = select(IngestionSchedule).where(IngestionSchedule.next_at.is_not(None))
    if access is not None and not access.sees_all:
        query = query.where(IngestionSchedule.actor == access.actor)
    return session.scalars(query.order_by(IngestionSchedule.id)).all()


def find_schedule(
    session: Session, schedule_id: int, access: Access | None
) -> IngestionSchedule | None:
    """A schedule by its id, where it may be seen, locked."""
    query = select(IngestionSchedule).where(IngestionSchedule.id == schedule_id)
    if access is not None and not access.sees_all:
        query = query.where(IngestionSchedule.actor == access.actor)
    return session.scalar(query.with_for_update())


def due_schedules(session: Session) -> Sequence[IngestionSchedule]:
    """Schedules whose time has come, locked; those that another process has are passed over."""
    return session.scalars(
        select(IngestionSchedule)
        .where(IngestionSchedule.next_at <= func.now())
        .order_by(IngestionSchedule.next_at)
        .with_for_update(skip_locked=True)
    ).all()


def has_unfinished(session: Session, schedule_id: int) -> bool:
    """Whether what a schedule asked for before has not ended."""
    return (
        session.scalar(
            select(IngestionRequest.id)
            .where(
                IngestionRequest.schedule_id == schedule_id,
                IngestionRequest.state.in_(("queued", "submitted", "running")),
            )
            .limit(1)
        )
        is not None
    )

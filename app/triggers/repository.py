"""Queries on triggers."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access import Access
from app.database.models import IngestionTrigger


def list_triggers(session: Session, access: Access | None) -> Sequence[IngestionTrigger]:
    """Triggers that have not ended and may be seen, the oldest first."""
    query = select(IngestionTrigger).where(IngestionTrigger.ended_at.is_(None))
    if access is not None and not access.sees_all:
        query = query.where(IngestionTrigger.actor == access.actor)
    return session.scalars(query.order_by(IngestionTrigger.id)).all()


def find_trigger(
    session: Session, trigger_id: int, access: Access | None
) -> IngestionTrigger | None:
    """A trigger by its id, where it may be seen."""
    query = select(IngestionTrigger).where(IngestionTrigger.id == trigger_id)
    if access is not None and not access.sees_all:
        query = query.where(IngestionTrigger.actor == access.actor)
    return session.scalar(query)


def next_to_watch(session: Session) -> IngestionTrigger | None:
    """A watched folder that is to be looked at now, locked; those locked are passed over."""
    return session.scalar(
        select(IngestionTrigger)
        .where(
            IngestionTrigger.kind == "watch",
            IngestionTrigger.ended_at.is_(None),
            IngestionTrigger.look_at <= func.now(),
        )
        .order_by(IngestionTrigger.look_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )

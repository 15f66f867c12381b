"""Queries on ingestions that were asked for."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.access import Access
from app.database.models import Dataset, IngestionLog, IngestionRequest


def visible_to(access: Access | None) -> ColumnElement[bool] | None:
    """What restricts requests to those that somebody may see; None where they see all.

    Their own, and those of data sets that are shown to them: a session that is restricted finds
    no other data set.
    """
    if access is None or access.sees_all:
        return None
    return or_(
        IngestionRequest.actor == access.actor,
        IngestionRequest.dataset.in_(select(Dataset.slug)),
    )


def find_request(
    session: Session, request_id: int, access: Access | None, *, lock: bool = False
) -> IngestionRequest | None:
    """A request by its id, where it may be seen; locked until the transaction ends, if asked."""
    query = select(IngestionRequest).where(IngestionRequest.id == request_id)
    if (visible := visible_to(access)) is not None:
        query = query.where(visible)
    return session.scalar(query.with_for_update() if lock else query)


def find_by_key(session: Session, key: str) -> IngestionRequest | None:
    """The request that was made with a key."""
    return session.scalar(select(IngestionRequest).where(IngestionRequest.key == key))


def list_requests(
    session: Session,
    access: Access | None,
    after: int,
    limit: int,
    *,
    state: str | None,
    dataset: str | None,
) -> tuple[Sequence[IngestionRequest], int]:
    """Requests before one, the newest first, and how many there are in all."""
    conditions: list[ColumnElement[bool]] = []
    if (visible := visible_to(access)) is not None:
        conditions.append(visible)
    if state is not None:
        conditions.append(IngestionRequest.state == state)
    if dataset is not None:
        conditions.append(IngestionRequest.dataset == dataset)
    total = session.scalar(select(func.count(IngestionRequest.id)).where(*conditions)) or 0
    if after:
        conditions.append(IngestionRequest.id < after)
    rows = session.scalars(
        select(IngestionRequest)
        .where(*conditions)
        .order_by(IngestionRequest.id.desc())
        .limit(limit)
    ).all()
    return rows, total


def last_lines(session: Session, request_id: int, count: int) -> Sequence[IngestionLog]:
    """The last lines that a request told, the oldest first."""
    rows = session.scalars(
        select(IngestionLog)
        .where(IngestionLog.request_id == request_id)
        .order_by(IngestionLog.id.desc())
        .limit(count)
    ).all()
    return rows[::-1]


def count_states(session: Session) -> dict[str, int]:
    """How many requests are in each state."""
    rows = session.execute(
        select(IngestionRequest.state, func.count().label("requests")).group_by(
            IngestionRequest.state
        )
    )
    return {row.state: row.requests for row in rows}

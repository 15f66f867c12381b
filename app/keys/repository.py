"""Queries on keys and on the audit."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.models import ApiKey, Audit


def find_by_hash(session: Session, sha256: str) -> ApiKey | None:
    """The key whose secret has this hash."""
    return session.scalar(select(ApiKey).where(ApiKey.sha256 == sha256))


def find_key(session: Session, key_id: int) -> ApiKey | None:
    """A key by its id."""
    return session.get(ApiKey, key_id)


def list_keys(session: Session) -> Sequence[ApiKey]:
    """All keys, the newest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id.desc())).all()


def add_audit(
    session: Session, actor: str, action: str, subject: str, detail: dict[str, Any]
) -> None:
    """Record a change, in the transaction that makes it."""
    session.add(Audit(actor=actor, action=action, subject=subject, detail=detail))
    session.flush()


def list_audit(session: Session, after: int, limit: int) -> tuple[Sequence[Audit], int]:
    """Changes behind one, the oldest first, and how many there are in all."""
    rows = session.scalars(
        select(Audit).where(Audit.id > after).order_by(Audit.id).limit(limit)
    ).all()
    return rows, session.scalar(select(func.count()).select_from(Audit)) or 0

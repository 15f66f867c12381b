"""Queries on encoders."""

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database.models import Dataset, Encoder, Run


def find_encoder(session: Session, name: str) -> Encoder | None:
    """The encoder of this name, or else of this spec."""
    return session.scalar(
        select(Encoder)
        .where(or_(Encoder.name == name, Encoder.spec == name))
        .order_by((Encoder.name == name).desc(), Encoder.id)
        .limit(1)
    )


def add_encoder(session: Session, columns: dict[str, Any]) -> Encoder | None:
    """Insert an encoder; None where one of its name came first."""
    return session.scalar(
        insert(Encoder)
        .values(**columns)
        .on_conflict_do_nothing(index_elements=[Encoder.name])
        .returning(Encoder)
    )


def list_encoders(session: Session) -> list[Encoder]:
    """All encoders, by name."""
    return list(session.scalars(select(Encoder).order_by(Encoder.name)))


def encoders_in_use(session: Session) -> list[Encoder]:
    """Encoders that a current run uses, by name."""
    used = select(Run.encoder_id).join(Dataset, Dataset.current_run_id == Run.id)
    return list(session.scalars(select(Encoder).where(Encoder.id.in_(used)).order_by(Encoder.name)))

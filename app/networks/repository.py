"""Queries on participants' networks."""

from collections.abc import Sequence

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from app.database.models import (
    Component,
    ComponentCommunity,
    ComponentEdge,
    ComponentSubject,
    Subject,
)


def nodes(
    session: Session, run_id: int, subject: str
) -> Sequence[Row[Component, ComponentCommunity, ComponentSubject]]:
    """Components of a participant's network with community and mask, the firmest first."""
    return session.execute(
        select(Component, ComponentCommunity, ComponentSubject)
        .join(ComponentCommunity, ComponentCommunity.component_id == Component.id)
        .join(Subject, Subject.id == ComponentCommunity.subject_id)
        .join(
            ComponentSubject,
            (ComponentSubject.component_id == Component.id)
            & (ComponentSubject.subject_id == Subject.id),
        )
        .where(Component.run_id == run_id, Subject.label == subject)
        .order_by(ComponentCommunity.community, ComponentCommunity.strength.desc(), Component.index)
    ).all()


def edges(session: Session, run_id: int, subject: str) -> Sequence[ComponentEdge]:
    """Edges of a participant's network, the heaviest first."""
    return session.scalars(
        select(ComponentEdge)
        .join(Component, Component.id == ComponentEdge.component_a_id)
        .join(Subject, Subject.id == ComponentEdge.subject_id)
        .where(Component.run_id == run_id, Subject.label == subject)
        .order_by(
            ComponentEdge.weight.desc(),
            ComponentEdge.component_a_id,
            ComponentEdge.component_b_id,
        )
    ).all()


def count_masks(session: Session, run_id: int, subject: str) -> int:
    """How many components of a run the participant has a mask of."""
    return (
        session.scalar(
            select(func.count())
            .select_from(ComponentSubject)
            .join(Component, Component.id == ComponentSubject.component_id)
            .join(Subject, Subject.id == ComponentSubject.subject_id)
            .where(
                Component.run_id == run_id,
                Subject.label == subject,
                ComponentSubject.n_voxels > 0,
            )
        )
        or 0
    )

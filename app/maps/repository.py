"""Queries on voxels and all masks of a run."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.database.models import Component, ComponentSubject, ComponentVoxel, Decoder, Subject, Voxel
from app.regions.schemas import Space


def run_subjects(session: Session, run_id: int) -> dict[int, str]:
    """Labels of a run's participants, by id."""
    rows = session.execute(
        select(Subject.id, Subject.label)
        .join(Decoder, Decoder.subject_id == Subject.id)
        .where(Decoder.run_id == run_id)
        .order_by(Subject.label)
    )
    return {row.id: row.label for row in rows}


def voxel_places(
    session: Session, subject_id: int, space: Space
) -> Sequence[Row[int, float, float, float]]:
    """Id and mm of a participant's voxels, by id; those of known place."""
    x, y, z = (
        (Voxel.mni_x, Voxel.mni_y, Voxel.mni_z) if space == "MNI" else (Voxel.x, Voxel.y, Voxel.z)
    )
    known = (x.is_not(None), y.is_not(None), z.is_not(None))
    query: Any = select(Voxel.id, x, y, z).where(Voxel.subject_id == subject_id, *known)
    return session.execute(query.order_by(Voxel.id)).all()


def mask_members(
    session: Session, run_id: int, first: int, last: int
) -> Sequence[Row[int, int, float]]:
    """Component, voxel and weight of members of a run's masks, of voxels from one id to another.

    A participant's voxels have neighbouring ids, and a join to find them would take longer than
    all the rest.
    """
    return session.execute(
        select(ComponentVoxel.component_id, ComponentVoxel.voxel_id, ComponentVoxel.weight)
        .join(Component, Component.id == ComponentVoxel.component_id)
        .where(Component.run_id == run_id, ComponentVoxel.voxel_id.between(first, last))
    ).all()


def mask_signs(session: Session, run_id: int) -> dict[tuple[int, str], int | None]:
    """Whether a run's masks respond more (1) or less (-1), by component and participant's label."""
    rows = session.execute(
        select(ComponentSubject.component_id, Subject.label, ComponentSubject.response_sign)
        .join(Component, Component.id == ComponentSubject.component_id)
        .join(Subject, Subject.id == ComponentSubject.subject_id)
        .where(Component.run_id == run_id)
    )
    return {(row.component_id, row.label): row.response_sign for row in rows}

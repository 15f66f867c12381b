"""Queries on masks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.database.models import ComponentSubject, ComponentVoxel, Subject, Voxel


def find_subject(
    session: Session, component_id: int, label: str
) -> Row[Subject, ComponentSubject] | None:
    """A participant of a component's run, with how its brain carries the component."""
    return session.execute(
        select(Subject, ComponentSubject)
        .join(ComponentSubject, ComponentSubject.subject_id == Subject.id)
        .where(ComponentSubject.component_id == component_id, Subject.label == label)
    ).one_or_none()


def component_subjects(session: Session, component_id: int) -> list[str]:
    """Labels of the participants of a component's run."""
    return list(
        session.scalars(
            select(Subject.label)
            .join(ComponentSubject, ComponentSubject.subject_id == Subject.id)
            .where(ComponentSubject.component_id == component_id)
            .order_by(Subject.label)
        )
    )


def voxels_with_weight(
    session: Session, component_id: int, subject_id: int, *, members: bool
) -> Sequence[Row[*tuple[Any, ...]]]:
    """A participant's voxels by i, j and k, with their weights in a mask (null outside it).

    Parameters
    ----------
    session : Session
    component_id, subject_id : int
    members : bool
        The mask's alone.
    """
    query = (
        select(
            Voxel.id.label("voxel_id"),
            *(Voxel.i, Voxel.j, Voxel.k, Voxel.x, Voxel.y, Voxel.z),
            *(Voxel.mni_x, Voxel.mni_y, Voxel.mni_z),
            *(Voxel.noise_ceiling, ComponentVoxel.weight, ComponentVoxel.needed),
        )
        .join(
            ComponentVoxel,
            (ComponentVoxel.voxel_id == Voxel.id) & (ComponentVoxel.component_id == component_id),
            isouter=not members,
        )
        .where(Voxel.subject_id == subject_id)
        .order_by(Voxel.i, Voxel.j, Voxel.k)
    )
    return session.execute(query).all()

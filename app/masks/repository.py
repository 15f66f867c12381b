"""Queries on masks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from app.database.models import (
    ComponentMap,
    ComponentSubject,
    ComponentVoxel,
    Region,
    Subject,
    Voxel,
    VoxelRegion,
)

# Places are stored in single precision.
SAME_MM = 1e-3


def find_subject(
    session: Session, component_id: int, label: str
) -> Row[Subject, ComponentSubject] | None:
    """A participant of a component's run, with how its brain carries the component."""
    return session.execute(
        select(Subject, ComponentSubject)
        .join(ComponentSubject, ComponentSubject.subject_id == Subject.id)
        .where(ComponentSubject.component_id == component_id, Subject.label == label)
    ).one_or_none()


def native_is_mni(session: Session, subject_id: int) -> bool:
    """Whether a participant's own mm are those of MNI152, at every voxel."""
    apart = [
        func.abs(own - mni) > SAME_MM
        for own, mni in ((Voxel.x, Voxel.mni_x), (Voxel.y, Voxel.mni_y), (Voxel.z, Voxel.mni_z))
    ]
    of_subject = Voxel.subject_id == subject_id
    # The first voxel of most participants tells.
    differs = exists().where(of_subject, or_(Voxel.mni_x.is_(None), *apart))
    return bool(session.scalar(select(and_(~differs, exists().where(of_subject)))))


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


def find_map(session: Session, component_id: int, subject_id: int) -> ComponentMap | None:
    """A component's maps in a participant; None of runs published before maps were stored."""
    return session.get(ComponentMap, (component_id, subject_id))


def regions_of_voxels(session: Session, subject_id: int) -> dict[int, list[str]]:
    """Names of the regions, each as atlas:region, of a participant's voxels that are in some."""
    name = func.concat(Region.atlas, ":", Region.name)
    rows = session.execute(
        select(VoxelRegion.voxel_id, func.array_agg(name).label("names"))
        .join(Region, Region.id == VoxelRegion.region_id)
        .join(Voxel, Voxel.id == VoxelRegion.voxel_id)
        .where(Voxel.subject_id == subject_id)
        .group_by(VoxelRegion.voxel_id)
    )
    # Sorted here, since the database's collation is its own.
    return {row.voxel_id: sorted(row.names) for row in rows}

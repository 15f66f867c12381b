"""Queries on validation: stored results, and how a component's masks lie on atlases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from app.database.models import (
    Component,
    ComponentAtlas,
    ComponentRegion,
    ComponentSubject,
    ComponentVoxel,
    Decoder,
    Region,
    Subject,
    Validation,
    Voxel,
    VoxelRegion,
)


@dataclass(frozen=True, eq=False)
class MaskView:
    """A participant's mask and a category's regions, for drawing.

    Attributes
    ----------
    places : ndarray
        (V, 3) mm of the voxels kept.
    is_mni : bool
        Whether these are MNI mm, else native.
    weight : ndarray
        (V,) members' weights in the mask, 0 elsewhere.
    inside : ndarray
        (V,) bool, the category's regions.
    """

    places: NDArray[np.float64]
    is_mni: bool
    weight: NDArray[np.float64]
    inside: NDArray[np.bool_]


def stored_results(
    session: Session, run_id: int
) -> Sequence[Row[Validation, Component | None, str | None, str | None]]:
    """A run's rows with component, participant and region, categories in their own order."""
    return session.execute(
        select(Validation, Component, Subject.label, Region.name)
        .outerjoin(Component, Component.id == Validation.component_id)
        .outerjoin(Subject, Subject.id == Validation.subject_id)
        .outerjoin(Region, Region.id == Validation.region_id)
        .where(Validation.run_id == run_id)
        .order_by(Validation.id)
    ).all()


def add_results(session: Session, rows: Sequence[Validation]) -> None:
    """Store a category's results; categories are read back in the order that they came in."""
    session.add_all(rows)
    session.flush()


def run_subjects(session: Session, run_id: int) -> dict[int, str]:
    """Labels of the participants of a run, by id, in the labels' order."""
    rows = session.scalars(
        select(Subject)
        .join(Decoder, Decoder.subject_id == Subject.id)
        .where(Decoder.run_id == run_id)
        .order_by(Subject.label)
    )
    return {row.id: row.label for row in rows}


def measured_atlases(session: Session, run_id: int) -> list[str]:
    """Atlases that a run's masks were held against."""
    return list(
        session.scalars(
            select(ComponentAtlas.atlas)
            .join(Component, Component.id == ComponentAtlas.component_id)
            .where(Component.run_id == run_id)
            .distinct()
            .order_by(ComponentAtlas.atlas)
        )
    )


def atlas_overlaps(session: Session, component_id: int, atlas: str) -> dict[int, ComponentAtlas]:
    """A component's masks against an atlas's regions together, by participant."""
    rows = session.scalars(
        select(ComponentAtlas).where(
            ComponentAtlas.component_id == component_id, ComponentAtlas.atlas == atlas
        )
    )
    return {row.subject_id: row for row in rows}


def region_overlaps(
    session: Session, component_id: int, atlas: str
) -> Sequence[Row[ComponentRegion, str]]:
    """A component's masks against each region of an atlas, with the region's name."""
    return session.execute(
        select(ComponentRegion, Region.name)
        .join(Region, Region.id == ComponentRegion.region_id)
        .where(ComponentRegion.component_id == component_id, Region.atlas == atlas)
        .order_by(ComponentRegion.subject_id, Region.name)
    ).all()


def region_sizes(session: Session, dataset_id: int, atlas: str) -> dict[tuple[int, int], int]:
    """Voxels of each region of an atlas, by participant and region."""
    rows = session.execute(
        select(Voxel.subject_id, VoxelRegion.region_id, func.count())
        .join(Voxel, Voxel.id == VoxelRegion.voxel_id)
        .join(Region, Region.id == VoxelRegion.region_id)
        .where(Region.dataset_id == dataset_id, Region.atlas == atlas)
        .group_by(Voxel.subject_id, VoxelRegion.region_id)
    )
    return {(subject, region): count for subject, region, count in rows}


def mask_faults(session: Session, component_id: int) -> dict[int, str]:
    """Why a component's mask counts for nothing, by participant; usable ones are left out."""
    rows = session.scalars(
        select(ComponentSubject).where(ComponentSubject.component_id == component_id)
    )
    return {row.subject_id: row.reason for row in rows if row.reason is not None}


def mask_view(session: Session, component_id: int, subject_id: int, atlas: str) -> MaskView:
    """What there is to draw of a participant's mask and an atlas's regions."""
    voxels = session.execute(
        select(
            *(Voxel.id, ComponentVoxel.weight),
            *(Voxel.x, Voxel.y, Voxel.z, Voxel.mni_x, Voxel.mni_y, Voxel.mni_z),
        )
        .outerjoin(
            ComponentVoxel,
            (ComponentVoxel.voxel_id == Voxel.id) & (ComponentVoxel.component_id == component_id),
        )
        .where(Voxel.subject_id == subject_id)
        .order_by(Voxel.i, Voxel.j, Voxel.k)
    ).all()
    members = session.scalars(
        select(VoxelRegion.voxel_id)
        .join(Voxel, Voxel.id == VoxelRegion.voxel_id)
        .join(Region, Region.id == VoxelRegion.region_id)
        .where(Voxel.subject_id == subject_id, Region.atlas == atlas)
    ).all()
    table = np.array([tuple(row) for row in voxels], dtype=np.float64).reshape(-1, 8)
    native, mni = table[:, 2:5], table[:, 5:8]
    known = np.isfinite(mni).all(axis=1)
    # A few voxels that the transform does not reach are no reason to leave MNI space.
    is_mni = bool(known.any())
    shown = known if is_mni else np.ones(len(table), dtype=bool)
    return MaskView(
        places=(mni if is_mni else native)[shown],
        is_mni=is_mni,
        weight=np.nan_to_num(table[shown, 1]),
        inside=np.isin(table[shown, 0].astype(np.int64), np.array(members, dtype=np.int64)),
    )

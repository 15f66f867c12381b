"""Queries on the overlap of masks with regions."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from app.database.models import (
    ComponentRegion,
    ComponentSubject,
    Dataset,
    Region,
    Subject,
    Voxel,
    VoxelRegion,
)
from app.masks.response import Response, response_of
from app.regions.schemas import Peak


@dataclass(frozen=True)
class Overlap:
    """One row of ``component_region`` with its names, and of the participant's mask as such."""

    component: int
    subject: str
    decodes: bool
    atlas: str
    region: str
    auc: float
    dice: float
    p_value: float
    q_value: float
    n_voxels: int
    peak: Peak
    auc_low: float | None = None
    auc_high: float | None = None
    responds: Response | None = None


def list_overlaps(
    session: Session,
    components: Sequence[int],
    *,
    subject: str | None = None,
    atlas: str | None = None,
    region: str | None = None,
) -> list[Overlap]:
    """Overlaps of some components' masks, in all participants, atlases and regions or in one."""
    query = (
        select(
            *(ComponentRegion, Subject.label, Region, Voxel),
            *(ComponentSubject.decodes, ComponentSubject.response_sign),
        )
        .join(Subject, Subject.id == ComponentRegion.subject_id)
        .join(Region, Region.id == ComponentRegion.region_id)
        .outerjoin(
            ComponentSubject,
            (ComponentSubject.component_id == ComponentRegion.component_id)
            & (ComponentSubject.subject_id == ComponentRegion.subject_id),
        )
        .outerjoin(Voxel, Voxel.id == ComponentRegion.peak_voxel_id)
        .where(ComponentRegion.component_id.in_(components))
        .order_by(ComponentRegion.component_id, Region.atlas, Region.name, Subject.label)
    )
    if subject is not None:
        query = query.where(Subject.label == subject)
    if atlas is not None:
        query = query.where(Region.atlas == atlas)
    if region is not None:
        query = query.where(Region.name == region)
    return [
        Overlap(
            component=overlap.component_id,
            subject=label,
            decodes=bool(decodes),
            atlas=place.atlas,
            region=place.name,
            auc=overlap.auc,
            dice=overlap.dice,
            p_value=overlap.p_value,
            q_value=overlap.q_value,
            n_voxels=overlap.n_voxels,
            peak=peak_of(voxel),
            auc_low=overlap.auc_low,
            auc_high=overlap.auc_high,
            responds=response_of(sign),
        )
        for overlap, label, place, voxel, decodes, sign in session.execute(query)
    ]


def peak_of(voxel: Voxel | None) -> Peak:
    """A voxel's place: MNI mm where it is known, else native mm."""
    if voxel is None:
        return Peak(peak_mm=None, space=None)
    if voxel.mni_x is not None and voxel.mni_y is not None and voxel.mni_z is not None:
        return Peak(peak_mm=(voxel.mni_x, voxel.mni_y, voxel.mni_z), space="MNI")
    return Peak(peak_mm=(voxel.x, voxel.y, voxel.z), space="native")


def list_regions(
    session: Session,
    *,
    dataset: str | None,
    atlas: str | None,
    subject: str | None,
    after: int,
    limit: int,
) -> tuple[Sequence[Row[Region, str]], int]:
    """Regions by id behind one, with their dataset, and how many there are in all.

    Of one dataset, of one atlas; `subject` has voxels there.
    """
    query = select(Region, Dataset.slug).join(Dataset, Dataset.id == Region.dataset_id)
    if dataset is not None:
        query = query.where(Dataset.slug == dataset)
    if atlas is not None:
        query = query.where(Region.atlas == atlas)
    if subject is not None:
        own = (
            select(VoxelRegion.region_id)
            .join(Voxel, Voxel.id == VoxelRegion.voxel_id)
            .join(Subject, Subject.id == Voxel.subject_id)
            .where(Subject.label == subject)
        )
        query = query.where(Region.id.in_(own))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.where(Region.id > after).order_by(Region.id).limit(limit)
    return session.execute(page).all(), total


def count_voxels(
    session: Session, regions: Sequence[int], subject: str | None
) -> dict[int, dict[str, int]]:
    """How many voxels each participant has in each region, by the region's id."""
    query = (
        select(VoxelRegion.region_id, Subject.label, func.count().label("voxels"))
        .join(Voxel, Voxel.id == VoxelRegion.voxel_id)
        .join(Subject, Subject.id == Voxel.subject_id)
        .where(VoxelRegion.region_id.in_(regions))
        .group_by(VoxelRegion.region_id, Subject.label)
        .order_by(VoxelRegion.region_id, Subject.label)
    )
    if subject is not None:
        query = query.where(Subject.label == subject)
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for region, label, voxels in session.execute(query):
        found[region][label] = voxels
    return found


def atlases(session: Session, dataset_id: int) -> list[str]:
    """Names of a dataset's atlases."""
    return list(
        session.scalars(
            select(Region.atlas)
            .where(Region.dataset_id == dataset_id)
            .distinct()
            .order_by(Region.atlas)
        )
    )


def regions(session: Session, dataset_id: int, atlas: str) -> list[str]:
    """Names of an atlas's regions."""
    return list(
        session.scalars(
            select(Region.name)
            .where(Region.dataset_id == dataset_id, Region.atlas == atlas)
            .order_by(Region.name)
        )
    )

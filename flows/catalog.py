"""What flows read from the catalog: a dataset as references that tasks can pass on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.database.models import Dataset, Region, Stimulus, Subject, Voxel, VoxelRegion
from app.errors import NotFoundError
from flows.stored_voxels import stored_voxels

Json = dict[str, Any]


@dataclass(frozen=True)
class SubjectTables:
    """A participant as the catalog has it.

    Attributes
    ----------
    id : int
    label : str
    artefacts : dict
        References to the sessions' betas, to the voxels kept, and, where there are some, to the
        localiser maps at these voxels.
    voxel_ids, voxel_index : ndarray
        (V,) row ids, and the numbers that vectors of voxels are stored by.
    native, mni : ndarray
        (V, 3) mm; MNI is NaN where it is not known.
    regions : ndarray
        (R, V) bool membership, for the regions of `region_ids`.
    region_ids : list of int
    region_atlases : list of str
        Atlas of each of these regions.
    mesh : ndarray, optional
        (V,) 0 for vertices of the left hemisphere's mesh, 1 for the right one's; of voxels none.
    """

    id: int
    label: str
    artefacts: Json
    voxel_ids: NDArray[np.int64]
    voxel_index: NDArray[np.int64]
    native: NDArray[np.float32]
    mni: NDArray[np.float32]
    regions: NDArray[np.bool_]
    region_ids: list[int]
    region_atlases: list[str]
    mesh: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class DatasetTables:
    """A dataset as the catalog has it.

    Attributes
    ----------
    stimulus_ids : list of int
        Row ids, in the order of keys that every artefact of a run uses.
    keys, folds : list of str
    captions : list of list of str
    rotation : list of int or None
        Where folds rotate, the group that each stimulus is tested with, from 0
        (`flows.science.splits.rotated_folds`); `folds` are those of the first rotation then.
    """

    id: int
    slug: str
    fingerprint: str
    source_uri: str
    configuration: Json
    subjects: list[SubjectTables]
    stimulus_ids: list[int]
    keys: list[str]
    folds: list[str]
    captions: list[list[str]]
    rotation: list[int] | None = None


def dataset_is_current(slug: str, fingerprint: str) -> bool:
    """Whether the catalog holds this very dataset already."""
    with open_session() as session:
        stored = session.scalar(select(Dataset.fingerprint).where(Dataset.slug == slug))
    return stored == fingerprint


def ingestion_reports(slug: str) -> dict[str, Json]:
    """What the newest ingestion of a dataset read, kept and dropped, by participant."""
    with open_session() as session:
        rows = session.execute(
            select(Subject.label, Subject.report)
            .join(Dataset, Dataset.id == Subject.dataset_id)
            .where(Dataset.slug == slug)
            .order_by(Subject.label)
        )
        return {row.label: row.report for row in rows}


def load_dataset(slug: str) -> DatasetTables:
    """The tables of a dataset.

    Raises
    ------
    NotFoundError
        No dataset of that name is in the catalog.
    """
    with open_session() as session:
        dataset = session.scalar(select(Dataset).where(Dataset.slug == slug))
        if dataset is None:
            known = ", ".join(session.scalars(select(Dataset.slug).order_by(Dataset.slug)))
            raise NotFoundError(
                f"no dataset {slug} is in the catalog",
                hint=f"known: {known}" if known else "ingest one: sdc ingest PATH",
            )
        stimuli = session.scalars(
            select(Stimulus).where(Stimulus.dataset_id == dataset.id).order_by(Stimulus.key)
        ).all()
        subjects = session.scalars(
            select(Subject).where(Subject.dataset_id == dataset.id).order_by(Subject.label)
        ).all()
        # Sorted here, since the database's collation is its own.
        ordered = sorted(stimuli, key=lambda stimulus: stimulus.key)
        return DatasetTables(
            id=dataset.id,
            slug=dataset.slug,
            fingerprint=dataset.fingerprint,
            source_uri=dataset.source_uri,
            configuration=dataset.configuration,
            subjects=[_subject_tables(session, subject) for subject in subjects],
            stimulus_ids=[stimulus.id for stimulus in ordered],
            keys=[stimulus.key for stimulus in ordered],
            folds=[stimulus.fold for stimulus in ordered],
            captions=[stimulus.captions for stimulus in ordered],
            rotation=_rotation(ordered),
        )


def _rotation(stimuli: Sequence[Stimulus]) -> list[int] | None:
    groups = [stimulus.rotation for stimulus in stimuli if stimulus.rotation is not None]
    return groups if groups and len(groups) == len(stimuli) else None


def _subject_tables(session: Session, subject: Subject) -> SubjectTables:
    voxels = stored_voxels(session, subject.id, kept=True)
    members = session.execute(
        select(VoxelRegion.region_id, Region.atlas, VoxelRegion.voxel_id)
        .join(Voxel, Voxel.id == VoxelRegion.voxel_id)
        .join(Region, Region.id == VoxelRegion.region_id)
        .where(Voxel.subject_id == subject.id, Voxel.kept)
        .order_by(Region.atlas, Region.name)
    ).all()
    atlas_of = {region: atlas for region, atlas, _ in members}
    region_ids = list(atlas_of)
    row_of = {region: row for row, region in enumerate(region_ids)}
    column_of = {voxel: column for column, voxel in enumerate(voxels.ids.tolist())}
    regions = np.zeros((len(region_ids), len(voxels.ids)), dtype=bool)
    for region, _, voxel in members:
        regions[row_of[region], column_of[voxel]] = True
    return SubjectTables(
        id=subject.id,
        label=subject.label,
        artefacts=subject.artefacts,
        voxel_ids=voxels.ids,
        voxel_index=voxels.index,
        native=voxels.native,
        mni=voxels.mni,
        regions=regions,
        region_ids=region_ids,
        region_atlases=list(atlas_of.values()),
        mesh=None if subject.surface is None else voxels.coordinates[:, 0],
    )

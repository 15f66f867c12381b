"""What the catalog has of a participant's voxels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import REAL, func, literal_column, select
from sqlalchemy.orm import Session

from app.database.copying import read_rows
from app.database.models import Region, Subject, Voxel, VoxelRegion

_COLUMNS = {"id": "i8", "index": "i4", "i": "i4", "j": "i4", "k": "i4", "kept": "?"}
_PLACES = ("x", "y", "z", "mni_x", "mni_y", "mni_z")


@dataclass(frozen=True)
class StoredVoxels:
    """All voxels that the catalog has of a participant, in C order of their indices.

    Attributes
    ----------
    ids : ndarray
        (V,) row ids.
    index : ndarray
        (V,) the numbers that vectors of voxels are stored by.
    coordinates : ndarray
        (V, 3) voxel indices i, j, k.
    native, mni : ndarray
        (V, 3) mm; MNI is NaN where it is not known.
    kept : ndarray
        (V,) bool, whether the newest ingestion keeps them: its artefacts have these, in this order.
    """

    ids: NDArray[np.int64]
    index: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    native: NDArray[np.float32]
    mni: NDArray[np.float32]
    kept: NDArray[np.bool_]


def stored_voxels(session: Session, subject_id: int, *, kept: bool = False) -> StoredVoxels:
    """A participant's voxels; with `kept`, those of the newest ingestion alone."""
    unknown = literal_column("CAST('NaN' AS real)", REAL)
    places = [func.coalesce(getattr(Voxel, name), unknown) for name in _PLACES]
    query = (
        select(*(getattr(Voxel, name) for name in _COLUMNS), *places)
        .where(Voxel.subject_id == subject_id, *([Voxel.kept] if kept else []))
        .order_by(Voxel.i, Voxel.j, Voxel.k)
    )
    rows = read_rows(session, query, _COLUMNS | dict.fromkeys(_PLACES, "f4"))
    return StoredVoxels(
        ids=rows["id"].astype(np.int64),
        index=rows["index"].astype(np.int64),
        coordinates=np.stack([rows[axis] for axis in "ijk"], axis=1).astype(np.int64),
        native=np.stack([rows[name] for name in _PLACES[:3]], axis=1).astype(np.float32),
        mni=np.stack([rows[name] for name in _PLACES[3:]], axis=1).astype(np.float32),
        kept=rows["kept"].astype(bool),
    )


def voxels_of_dataset(session: Session, dataset_id: int) -> dict[int, StoredVoxels]:
    """All voxels that the catalog has of a dataset, by the participants' ids."""
    subjects = session.scalars(select(Subject.id).where(Subject.dataset_id == dataset_id))
    return {subject: stored_voxels(session, subject) for subject in subjects.all()}


def stored_members(session: Session, subject_id: int) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Row ids of a participant's voxels in each region, sorted, by atlas and name."""
    rows = session.execute(
        select(Region.atlas, Region.name, func.array_agg(VoxelRegion.voxel_id))
        .join(VoxelRegion, VoxelRegion.region_id == Region.id)
        .join(Voxel, Voxel.id == VoxelRegion.voxel_id)
        .where(Voxel.subject_id == subject_id)
        .group_by(Region.atlas, Region.name)
    )
    return {(atlas, name): np.sort(np.array(ids, np.int64)) for atlas, name, ids in rows}

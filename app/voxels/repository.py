"""Queries on voxels' vectors, and the axes of runs that have many."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import BigInteger, Float, Integer, Row, cast, column, delete, func, select
from sqlalchemy.orm import Session

from app.database.copying import copy_rows, read_rows
from app.database.models import (
    SHORTS,
    Dataset,
    Decoder,
    Encoder,
    Region,
    Run,
    Subject,
    Voxel,
    VoxelAxis,
    VoxelBlock,
    VoxelRegion,
    VoxelVector,
)

# Any number that nothing else in the database locks.
_LOCK = 7_291_604


def nearest_voxels(
    session: Session,
    run_id: int,
    direction: NDArray[np.float32],
    k: int,
    subject_id: int | None,
    region_id: int | None,
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The k voxels of a run, a participant or a region nearest to a direction, the nearest first.

    Returns
    -------
    sequence of Row
        Voxel, its participant's label, similarity.
    """
    found = func.catalog.nearest_voxels(
        run_id, cast(direction, VECTOR), k, cast(subject_id, Integer), cast(region_id, Integer)
    ).table_valued(
        column("subject_id", Integer), column("index", Integer), column("similarity", Float)
    )
    return session.execute(
        select(Voxel, Subject.label, found.c.similarity)
        .join(found, (Voxel.subject_id == found.c.subject_id) & (Voxel.index == found.c.index))
        .join(Subject, Subject.id == Voxel.subject_id)
        .order_by(found.c.similarity.desc(), Voxel.id)
    ).all()


def regions_of(session: Session, voxels: Sequence[int]) -> dict[int, list[str]]:
    """Regions of voxels, each as atlas:region, by the voxels' ids."""
    rows = session.execute(
        select(VoxelRegion.voxel_id, Region.atlas, Region.name)
        .join(Region, Region.id == VoxelRegion.region_id)
        .where(VoxelRegion.voxel_id.in_(voxels))
        .order_by(Region.atlas, Region.name)
    )
    regions: dict[int, list[str]] = defaultdict(list)
    for voxel, atlas, name in rows:
        regions[voxel].append(f"{atlas}:{name}")
    return regions


def find_subject(session: Session, dataset_id: int, label: str) -> int | None:
    """Id of a dataset's participant."""
    return session.scalar(
        select(Subject.id).where(Subject.dataset_id == dataset_id, Subject.label == label)
    )


def find_region(session: Session, dataset_id: int, atlas: str, name: str) -> int | None:
    """Id of a dataset's region."""
    return session.scalar(
        select(Region.id).where(
            Region.dataset_id == dataset_id, Region.atlas == atlas, Region.name == name
        )
    )


def count_vectors(session: Session, *, above: int) -> dict[int, int]:
    """How many voxels' vectors the current runs have, by run; those that have more than `above`."""
    rows = session.execute(
        select(VoxelVector.run_id, func.count().label("voxels"))
        .where(VoxelVector.run_id.in_(select(Dataset.current_run_id)))
        .group_by(VoxelVector.run_id)
        .having(func.count() > above)
        .order_by(VoxelVector.run_id)
    )
    return {row.run_id: row.voxels for row in rows}


def indexed_runs(session: Session) -> set[int]:
    """Runs whose vectors have coordinates along their principal axes."""
    return set(session.scalars(select(VoxelAxis.run_id).distinct()))


def dimension_of(session: Session, run_id: int) -> int:
    """Dimension of a run's vectors."""
    return session.execute(
        select(Encoder.dimension).join(Run, Run.encoder_id == Encoder.id).where(Run.id == run_id)
    ).scalar_one()


def lock_indexes(session: Session) -> None:
    """Wait until no other transaction makes or removes axes of runs."""
    session.execute(select(func.pg_advisory_xact_lock(cast(_LOCK, BigInteger))))


def decoded_subjects(session: Session, run_id: int) -> list[int]:
    """Participants that have a decoder in a run."""
    query = select(Decoder.subject_id).where(Decoder.run_id == run_id).order_by(Decoder.subject_id)
    return list(session.scalars(query))


def read_vectors(
    session: Session, run_id: int, subject_id: int, dimension: int
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """A participant's vectors in a run: the voxels' indices (V,) and the vectors (V, D)."""
    query = select(VoxelVector.index, VoxelVector.vector).where(
        VoxelVector.run_id == run_id, VoxelVector.subject_id == subject_id
    )
    # Dimension and an unused int16 before the elements.
    rows = read_rows(session, query, {"index": "i4", "vector": f"V{4 + 2 * dimension}"})
    bytes_ = (
        np.ascontiguousarray(rows["vector"]).view(np.uint8).reshape(len(rows), 4 + 2 * dimension)
    )
    vectors = np.ascontiguousarray(bytes_[:, 4:]).view(">f2")
    return rows["index"].astype(np.int64), vectors.astype(np.float16)


def write_axes(
    session: Session, run_id: int, axes: NDArray[np.float32], squares: NDArray[np.float64]
) -> None:
    """Write the axes (A, D) of a run, and the mean squares (R,) of voxels along the last R."""
    first = len(axes) - len(squares)
    copy_rows(
        session,
        VoxelAxis,
        {
            "run_id": run_id,
            "axis": np.arange(len(axes)),
            "direction": axes,
            "rest_square": [None] * first + squares.tolist(),
        },
    )


def write_blocks(
    session: Session, run_id: int, subject_id: int, coordinates: NDArray[np.float16]
) -> None:
    """Write a participant's coordinates in a run, (blocks, 24, A), from the last to the first."""
    copy_rows(
        session,
        VoxelBlock,
        {"run_id": run_id, "subject_id": subject_id, "block": np.arange(len(coordinates))[::-1]}
        | {name: coordinates[::-1, place] for place, name in enumerate(SHORTS)},
    )


def drop_index(session: Session, run_id: int) -> None:
    """Remove the axes of a run and the coordinates along them."""
    session.execute(delete(VoxelAxis).where(VoxelAxis.run_id == run_id))
    session.execute(delete(VoxelBlock).where(VoxelBlock.__table__.c.run_id == run_id))

"""Queries on voxels' vectors, and the axes of runs that have many."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pgvector import Vector
from sqlalchemy import (
    delete,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import Session

from app.database.at_once import ask_at_once
from app.database.copying import copy_rows, read_rows
from app.database.models import (
    SCHEMA,
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

# Sent as it stands, with the driver's own vector, which goes in binary: building the query and
# writing a vector in digits would take as long as a search of few voxels.
_NEAREST = """
SELECT subject_id, index, similarity
FROM catalog.nearest_voxels(%(run)s, %(direction)s, %(k)s, %(subject)s, %(region)s)
"""


@dataclass(frozen=True)
class Part:
    """What of a run is searched: all of it, or a participant's or a region's voxels."""

    run_id: int
    subject_id: int | None = None
    region_id: int | None = None


@dataclass(frozen=True)
class NearVoxel:
    """A voxel by its participant's id and its index, and its cosine with what was asked."""

    run_id: int
    subject_id: int
    index: int
    similarity: float


def nearest_voxels(
    session: Session, parts: Sequence[Part], direction: NDArray[np.float32], k: int
) -> list[NearVoxel]:
    """The k voxels of parts of runs nearest to a direction, in the order of `nearness`."""
    to_all = {"direction": Vector(direction), "k": k}
    asked = [
        {"run": part.run_id, "subject": part.subject_id, "region": part.region_id} | to_all
        for part in parts
    ]
    answers = ask_at_once(session, _NEAREST, asked)
    found = [
        NearVoxel(part.run_id, *row)
        for part, rows in zip(parts, answers, strict=True)
        for row in rows
    ]
    return sorted(found, key=nearness)[:k]


def nearness(voxel: NearVoxel) -> tuple[float, int, int]:
    """What voxels are ordered by, the nearest first; of equals, by participant and index."""
    return -voxel.similarity, voxel.subject_id, voxel.index


def find_voxels(
    session: Session, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], tuple[Voxel, str]]:
    """Voxels and their participants' labels, by the participants' ids and the voxels' indices."""
    rows = session.execute(
        select(Voxel, Subject.label)
        .join(Subject, Subject.id == Voxel.subject_id)
        .where(tuple_(Voxel.subject_id, Voxel.index).in_(keys))
    )
    return {(voxel.subject_id, voxel.index): (voxel, label) for voxel, label in rows}


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
    # Of a table that readers have no right on: advisory locks are anybody's who may log in.
    table = VoxelAxis.__tablename__
    session.execute(text(f"LOCK TABLE {SCHEMA}.{table} IN SHARE ROW EXCLUSIVE MODE"))


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

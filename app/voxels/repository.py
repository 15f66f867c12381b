"""Queries on voxels' vectors, and the indexes of runs that have many."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import VECTOR
from psycopg import errors
from sqlalchemy import BigInteger, Float, Integer, Row, cast, column, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.database.models import (
    Dataset,
    Encoder,
    Region,
    Run,
    Subject,
    Voxel,
    VoxelRegion,
    VoxelVector,
)

# Of `catalog.voxel_vector`, found again by their names.
INDEX = "voxel_vector_run_"
# More than pgvector's defaults, whose index misses one in fifty of the hundred nearest.
LINKS, CANDIDATES = 24, 128
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
    """Runs whose vectors have an index."""
    names = session.scalars(
        text(
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'catalog'"
            " AND tablename = 'voxel_vector' AND starts_with(indexname, :prefix)"
        ),
        {"prefix": INDEX},
    )
    return {int(name.removeprefix(INDEX)) for name in names}


def dimension_of(session: Session, run_id: int) -> int:
    """Dimension of a run's vectors."""
    return session.execute(
        select(Encoder.dimension).join(Run, Run.encoder_id == Encoder.id).where(Run.id == run_id)
    ).scalar_one()


def lock_indexes(session: Session) -> None:
    """Wait until no other transaction makes or drops indexes of runs."""
    session.execute(select(func.pg_advisory_xact_lock(cast(_LOCK, BigInteger))))


def create_index(session: Session, run_id: int, memory_mb: int) -> None:
    """Index a run's vectors, in the session's transaction; writers of vectors wait meanwhile."""
    dimension = dimension_of(session, run_id)
    session.execute(select(func.set_config("maintenance_work_mem", f"{memory_mb}MB", True)))
    # Numbers alone, and an index takes no parameters.
    statement = text(
        f"CREATE INDEX {INDEX}{int(run_id)} ON catalog.voxel_vector"
        f" USING hnsw ((vector::halfvec({dimension})) halfvec_ip_ops)"
        f" WITH (m = {LINKS}, ef_construction = {CANDIDATES}) WHERE run_id = {int(run_id)}"
    )
    try:
        with session.begin_nested():
            session.execute(statement)
    except DBAPIError as error:
        if not isinstance(error.orig, errors.DiskFull):
            raise
        # Processes that build together share memory, which containers give little of.
        session.execute(select(func.set_config("max_parallel_maintenance_workers", "0", True)))
        session.execute(statement)


def drop_index(session: Session, run_id: int) -> None:
    """Drop a run's index."""
    session.execute(text(f"DROP INDEX catalog.{INDEX}{int(run_id)}"))


def rows_indexed(session: Session) -> int | None:
    """How far the index that is being made has come, in rows; None where none is made."""
    done: int | None = session.scalar(
        text(
            "SELECT max(tuples_done) FROM pg_stat_progress_create_index"
            " WHERE datname = current_database() AND relid = 'catalog.voxel_vector'::regclass"
        )
    )
    return done

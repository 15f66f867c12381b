"""Indexes of the runs that have many voxels: short vectors, along the run's principal axes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.database.models import SHORTS
from app.settings import get_settings
from app.voxels import repository

Progress = Callable[[str, int, int], object]

# Coordinates that are kept of each voxel (docs/benchmarks.md).
AXES = 80

# Further axes, along which it is known how far voxels are from the origin and no more.
MORE_AXES = 64


def index_runs(on_progress: Progress | None = None) -> list[int]:
    """Index the current runs of more voxels than the setting `index_from`, and no others.

    Each in a transaction of its own. Where it is interrupted, what is done stays, and a run
    without an index is asked voxel by voxel.

    Parameters
    ----------
    on_progress : callable, optional
        Called with (stage, participants done, participants in all).

    Returns
    -------
    list of int
        Runs that got an index.

    Raises
    ------
    UnavailableError
        The database is unreachable, or at another migration.
    """
    with open_session() as session, session.begin():
        repository.lock_indexes(session)
        wanted = repository.count_vectors(session, above=get_settings().index_from)
        known = repository.indexed_runs(session)
        for run in sorted(known - wanted.keys()):
            repository.drop_index(session, run)
    made = []
    for run in sorted(wanted.keys() - known):
        with open_session() as session, session.begin():
            repository.lock_indexes(session)
            if run in repository.indexed_runs(session):
                continue
            create_index(session, run, on_progress)
            made.append(run)
    return made


def create_index(session: Session, run: int, on_progress: Progress | None = None) -> None:
    """Write the principal axes of a run's voxels' vectors, and coordinates along the first.

    The axes are of the vectors about the origin, as prompts and voxels are compared by angle. At
    most one participant's vectors are in memory.
    """
    dimension = repository.dimension_of(session, run)
    subjects = repository.decoded_subjects(session, run)
    moments, voxels = np.zeros((dimension, dimension)), 0
    for subject in subjects:
        _, vectors = repository.read_vectors(session, run, subject, dimension)
        full = vectors.astype(np.float32)
        moments += full.T @ full
        voxels += len(full)
    # Sorted by their eigenvalues, the smallest first.
    squares, directions = np.linalg.eigh(moments / voxels)
    several = directions[:, ::-1].T[: AXES + MORE_AXES].astype(np.float32)
    repository.write_axes(session, run, several, squares[::-1][AXES : len(several)])
    axes = several[:AXES]
    for done, subject in enumerate(subjects):
        if on_progress is not None:
            on_progress(f"indexing voxels of run {run}", done, len(subjects))
        index, vectors = repository.read_vectors(session, run, subject, dimension)
        repository.write_blocks(session, run, subject, _blocks(index, vectors, axes))
    if on_progress is not None:
        on_progress(f"indexing voxels of run {run}", len(subjects), len(subjects))


def _blocks(
    index: NDArray[np.int64], vectors: NDArray[np.float16], axes: NDArray[np.float32]
) -> NDArray[np.float16]:
    """(blocks, 24, A) coordinates by the voxels' indices; zero where there is no vector."""
    blocks = 1 + index.max(initial=0) // len(SHORTS)
    coordinates = np.zeros((blocks * len(SHORTS), len(axes)), np.float16)
    coordinates[index] = vectors.astype(np.float32) @ axes.T
    return coordinates.reshape(blocks, len(SHORTS), len(axes))

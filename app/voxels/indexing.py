"""Indexes of the runs that have many voxels."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context

from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.settings import get_settings
from app.voxels import repository

Progress = Callable[[str, int, int], object]

# Seconds between two looks at how far it has come.
_LOOK_S = 2.0
# What a row takes while its index is made: its half-precision vector and its links, with room.
_BYTES_OF_LINKS = 512


def index_runs(on_progress: Progress | None = None) -> list[int]:
    """Index the current runs of more voxels than the setting `index_from`, and no others.

    Each in a transaction of its own. Where it is interrupted, what is done stays, and a run
    without an index is asked voxel by voxel. Writers of vectors wait meanwhile; who asks does not.

    Parameters
    ----------
    on_progress : callable, optional
        Called with (stage, rows done, rows in all).

    Returns
    -------
    list of int
        Runs that got an index.

    Raises
    ------
    UnavailableError
        The database is unreachable, or at another migration.
    """
    settings = get_settings()
    with open_session() as session, session.begin():
        repository.lock_indexes(session)
        wanted = repository.count_vectors(session, above=settings.index_from)
        known = repository.indexed_runs(session)
        for run in sorted(known - wanted.keys()):
            repository.drop_index(session, run)
    made = []
    for run in sorted(wanted.keys() - known):
        with (
            open_session() as session,
            session.begin(),
            _progress(on_progress, f"indexing voxels of run {run}", wanted[run]),
        ):
            repository.lock_indexes(session)
            if run in repository.indexed_runs(session):
                continue
            repository.create_index(
                session, run, _memory_mb(session, run, wanted[run], settings.index_memory_mb)
            )
            made.append(run)
    return made


def _memory_mb(session: Session, run: int, rows: int, most: int) -> int:
    size = 2 * repository.dimension_of(session, run) + _BYTES_OF_LINKS
    return max(64, min(most, rows * size // 2**20 + 1))


@contextmanager
def _progress(on_progress: Progress | None, stage: str, rows: int) -> Iterator[None]:
    """Tell how far the server has come, from a connection beside the one that waits for it."""
    if on_progress is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        with open_session() as session:
            while not done.wait(_LOOK_S):
                indexed = repository.rows_indexed(session)
                session.rollback()
                if indexed is not None:
                    on_progress(stage, min(indexed, rows - 1), rows)

    on_progress(stage, 0, rows)
    # Who listens may be told by the context, which a thread has one of its own of.
    watcher = threading.Thread(target=copy_context().run, args=(watch,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    on_progress(stage, rows, rows)

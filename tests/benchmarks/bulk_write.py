"""Bulk write of voxel vectors, against a bare binary COPY of the same rows."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database.copying import copy_rows
from app.database.embedded import start_server
from app.database.engine import make_engine
from app.database.migrate import upgrade
from app.database.models import Voxel, VoxelVector
from tests.benchmarks.bare_rows import (
    add_dataset,
    add_decoder,
    add_encoder,
    add_run,
    add_subject,
)

VOXELS, DIMENSION, ROUNDS = 20_000, 512, 7


def measure() -> Iterator[str]:
    """Rows a second of both, alternating, each round into fresh tables; the median ratio."""
    with TemporaryDirectory(prefix="sdc-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        url = start_server(Path(folder) / "home")
        engine = make_engine(url)
        upgrade(engine)
        vectors = np.random.default_rng(0).standard_normal((VOXELS, DIMENSION), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        with Session(engine) as session, session.begin():
            dataset, subject, encoder = _rows_to_refer_to(session)
        ratios, ours, theirs = [], [], []
        for number in range(ROUNDS):
            with Session(engine) as session, session.begin():
                run = _add_run(session, dataset, subject, encoder, number)
            keys = {
                "run_id": run,
                "subject_id": subject,
                "index": np.arange(VOXELS),
                "encoder_id": encoder,
            }
            steps = [
                lambda keys=keys: _ours(engine, keys, vectors),
                lambda run=run: _bare(url, (run, subject, encoder), vectors),
            ]
            # Whoever goes second finds warmer caches: they take turns.
            times = [0.0, 0.0]
            for which in (0, 1) if number % 2 else (1, 0):
                times[which] = _timed(steps[which])
            ours.append(VOXELS / times[0])
            theirs.append(VOXELS / times[1])
            ratios.append(times[1] / times[0])
        engine.dispose()
        yield f"{VOXELS} rows of {DIMENSION} halfvec, {ROUNDS} rounds"
        yield f"catalog {median(ours):,.0f} rows/s (keys, references and checks included)"
        yield f"bare COPY into a table without any {median(theirs):,.0f} rows/s"
        yield f"ratio: median {median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}"


def _timed(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def _ours(engine: Engine, keys: dict[str, object], vectors: np.ndarray) -> None:
    with Session(engine) as session, session.begin():
        copy_rows(session, VoxelVector, keys | {"vector": vectors})


def _bare(url: str, keys: tuple[int, int, int], vectors: np.ndarray) -> None:
    run, subject, encoder = keys
    with psycopg.connect(url) as connection:
        register_vector(connection)
        connection.execute(
            f"CREATE TABLE bare_{run}"
            " (run int, subject int, index int, encoder int, vector halfvec)"
        )
        connection.commit()
        with connection.cursor().copy(f"COPY bare_{run} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "int4", "int4", "int4", "halfvec"])
            for index, vector in enumerate(vectors):
                copy.write_row((run, subject, index, encoder, HalfVector(vector)))


def _rows_to_refer_to(session: Session) -> tuple[int, int, int]:
    dataset, encoder = add_dataset(session, "bench"), add_encoder(session, DIMENSION)
    subject = add_subject(session, dataset, "s", VOXELS)
    zeros = dict.fromkeys("ijkxyz", 0)
    copy_rows(session, Voxel, {"subject_id": subject, "index": np.arange(VOXELS)} | zeros)
    return dataset, subject, encoder


def _add_run(session: Session, dataset: int, subject: int, encoder: int, number: int) -> int:
    run = add_run(session, dataset, encoder, str(number))
    add_decoder(session, run, subject, encoder)
    return run

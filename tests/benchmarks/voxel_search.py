"""Search among 8 x 18,000 voxels' vectors, against a scan by numpy of the same in memory."""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.voxels.indexing import create_index
from app.voxels.repository import Part, nearest_voxels
from tests.benchmarks.voxel_catalog import (
    DIMENSION,
    REGION_VOXELS,
    SUBJECTS,
    Vectors,
    VoxelCatalog,
    voxel_catalog,
)

VOXELS, QUESTIONS, ROUNDS, BLOCK = 18_000, 100, 7, 20

Found = list[tuple[int, int]]
Search = Callable[[Vectors, int], Found]

QUERY = """
SELECT found.subject_id, found.index
FROM unnest(%(runs)s::int[]) AS run
CROSS JOIN LATERAL catalog.nearest_voxels(run, %(asked)s, %(k)s, %(subject)s, %(region)s) AS found
ORDER BY found.similarity DESC LIMIT %(k)s
"""


def measure(voxels: int = VOXELS) -> Iterator[str]:
    """Recall at 10 and 100, and times in turns of blocks, of each way to narrow a search."""
    with voxel_catalog(voxels) as catalog, psycopg.connect(catalog.url, autocommit=True) as link:
        register_vector(link)
        yield f"8 participants of {voxels:,} voxels in 2 datasets, {DIMENSION} dimensions"
        yield from _index(catalog)
        questions = catalog.questions(QUESTIONS)
        every = [each for subjects in catalog.subjects for each in subjects]
        inside = every[5]
        of_region = catalog.regions[0]
        yield from _compare(
            "inside a participant",
            _database(link, catalog.runs[1:], subject=inside),
            _numpy(catalog, [inside]),
            questions,
        )
        with Session(catalog.engine) as session:
            for name, search in (
                ("whole catalog, as the API asks", _catalog(session, catalog.runs)),
                ("whole catalog, in SQL", _database(link, catalog.runs)),
            ):
                yield from _compare(name, search, _numpy(catalog, every), questions)
        yield from _compare(
            "one dataset",
            _database(link, catalog.runs[:1]),
            _numpy(catalog, catalog.subjects[0]),
            questions,
        )
        yield from _compare(
            f"one region ({REGION_VOXELS:,} voxels of {SUBJECTS} participants)",
            _database(link, catalog.runs[:1], region=of_region),
            _numpy(catalog, catalog.subjects[0], REGION_VOXELS // SUBJECTS),
            questions,
        )


def _index(catalog: VoxelCatalog) -> Iterator[str]:
    for number, run in enumerate(catalog.runs):
        started = time.perf_counter()
        with Session(catalog.engine) as session, session.begin():
            create_index(session, run)
        took = time.perf_counter() - started
        size = text("SELECT pg_total_relation_size(:blocks), pg_table_size(:vectors)")
        tables = {"blocks": "catalog.voxel_block", "vectors": "catalog.voxel_vector"}
        with catalog.engine.connect() as connection:
            index, table = connection.execute(size, tables).one()
        yield (
            f"index of dataset {number}: {took:.1f} s; up to it {index / 2**20:,.0f} MB "
            f"(all vectors {table / 2**20:,.0f} MB)"
        )
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE catalog.voxel_axis, catalog.voxel_block")


def _database(
    link: psycopg.Connection,
    runs: Sequence[int],
    subject: int | None = None,
    region: int | None = None,
) -> Search:
    def search(question: Vectors, k: int) -> Found:
        asked = {
            "runs": list(runs),
            "asked": Vector(question),
            "k": k,
            "subject": subject,
            "region": region,
        }
        return link.execute(QUERY, asked).fetchall()

    return search


def _catalog(session: Session, runs: Sequence[int]) -> Search:
    """Runs at once, each on a connection of its own."""
    parts = [Part(run) for run in runs]

    def search(question: Vectors, k: int) -> Found:
        found = nearest_voxels(session, parts, question, k)
        return [(voxel.subject_id, voxel.index) for voxel in found]

    return search


def _numpy(catalog: VoxelCatalog, subjects: Sequence[int], voxels: int | None = None) -> Search:
    stored = np.concatenate([catalog.vectors[each][:voxels] for each in subjects])
    keys = [
        (each, index) for each in subjects for index in range(len(catalog.vectors[each][:voxels]))
    ]

    def search(question: Vectors, k: int) -> Found:
        similarity = stored @ question
        best = np.argpartition(-similarity, k)[:k]
        return [keys[each] for each in best[np.argsort(-similarity[best])]]

    return search


def _compare(name: str, ours: Search, theirs: Search, questions: Vectors) -> Iterator[str]:
    recalls = {
        k: np.mean([len({*ours(each, k)} & {*theirs(each, k)}) / k for each in questions])
        for k in (10, 100)
    }
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    ratios = []
    for number in range(ROUNDS):
        took = {}
        order = ("ours", "theirs") if number % 2 else ("theirs", "ours")
        for which in order:
            search = ours if which == "ours" else theirs
            # The threads of a product spin for a while when it is done.
            time.sleep(0.3)
            block = []
            for question in questions[number * BLOCK % QUESTIONS :][:BLOCK]:
                started = time.perf_counter()
                search(question, 10)
                block.append(time.perf_counter() - started)
            took[which] = median(block)
            times[which].append(took[which])
        ratios.append(took["ours"] / took["theirs"])
    ours_ms, theirs_ms = (1e3 * median(times[which]) for which in ("ours", "theirs"))
    yield (
        f"{name}: recall at 10 {recalls[10]:.3f}, at 100 {recalls[100]:.3f}; top 10 in"
        f" {ours_ms:.2f} ms, numpy {theirs_ms:.2f} ms, ratio median {median(ratios):.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f})"
    )

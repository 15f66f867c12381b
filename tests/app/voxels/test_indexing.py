"""Tests of the indexes of runs: when they come and go, and what they find."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from app.database import models
from app.database.copying import copy_rows
from app.database.engine import open_session
from app.settings import get_settings
from app.voxels import indexing, repository
from app.voxels.indexing import index_runs
from app.voxels.service import search_voxels
from tests.app.conftest import Sdc
from tests.app.published import REGIONS, SUBJECTS, VOXELS_A_REGION, Published

PLACES = len(models.SHORTS)
EVERY = len(SUBJECTS) * len(REGIONS) * VOXELS_A_REGION


@pytest.fixture
def indexed(own_published: Published, monkeypatch: pytest.MonkeyPatch) -> Published:
    """A run that has an index."""
    monkeypatch.setenv("SDC_INDEX_FROM", str(EVERY - 1))
    get_settings.cache_clear()
    assert index_runs() == [own_published.run]
    return own_published


def test_a_run_of_few_voxels_gets_none(own_session: Session, own_published: Published) -> None:
    assert index_runs() == []
    assert repository.indexed_runs(own_session) == set()


def test_the_index_is_used_and_finds_what_a_scan_finds(
    own_session: Session, indexed: Published
) -> None:
    scatter(own_session)
    repository.drop_index(own_session, indexed.run)
    indexing.create_index(own_session, indexed.run)
    through = search_voxels(own_session, "face", k=EVERY)
    assert not through.exact
    inside = search_voxels(own_session, "face", subject="subj01", k=EVERY)
    assert inside.exact
    repository.drop_index(own_session, indexed.run)
    scanned = search_voxels(own_session, "face", k=EVERY)
    assert scanned.exact
    assert through.voxels == scanned.voxels
    assert len(through.voxels) == EVERY


def scatter(session: Session) -> None:
    """Give every voxel a direction of its own."""
    random = np.random.default_rng(0)
    for row in session.scalars(select(models.VoxelVector)).all():
        vector = random.standard_normal(8)
        row.vector = vector / np.linalg.norm(vector)
    session.flush()


def test_blocks_hold_what_a_literal_projection_gives(
    own_session: Session, own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "AXES", 3)
    monkeypatch.setattr(indexing, "MORE_AXES", 2)
    scatter(own_session)
    gone = own_session.scalars(select(models.VoxelVector).where(models.VoxelVector.index == 7))
    for row in gone.all():
        own_session.delete(row)
    own_session.flush()
    indexing.create_index(own_session, own_published.run)
    stored = own_session.scalars(select(models.VoxelVector)).all()
    vectors = np.array([row.vector for row in stored])
    kept = own_session.scalars(select(models.VoxelAxis).order_by(models.VoxelAxis.axis)).all()
    several = np.array([axis.direction for axis in kept])
    np.testing.assert_allclose(several @ several.T, np.eye(5), atol=1e-6)
    # The first axes are those along which squares add up to most.
    _, _, rows = np.linalg.svd(vectors, full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(several * rows[:5], axis=1)), 1, atol=1e-3)
    squares = np.mean((vectors @ several.T) ** 2, axis=0)
    assert [axis.rest_square for axis in kept[:3]] == [None] * 3
    assert [axis.rest_square for axis in kept[3:]] == pytest.approx(squares[3:], rel=1e-2)
    axes = several[:3]
    table = models.VoxelBlock.__table__
    blocks = {
        (row.subject_id, row.block): np.array([getattr(row, name) for name in models.SHORTS])
        for row in own_session.execute(select(table))
    }
    for row in stored:
        short = blocks[row.subject_id, row.index // PLACES][row.index % PLACES]
        np.testing.assert_allclose(short, axes @ row.vector, atol=1e-3)
    held = {(row.subject_id, row.index) for row in stored}
    empty = [
        short
        for (subject, block), shorts in blocks.items()
        for place, short in enumerate(shorts)
        if (subject, PLACES * block + place) not in held
    ]
    assert len(empty) >= len(SUBJECTS)
    assert not np.any(empty)


def test_the_search_reads_the_index(own_session: Session, indexed: Published) -> None:
    scans = text("SELECT pg_stat_get_xact_numscans('catalog.pk_voxel_block'::regclass)")
    read = own_session.scalars(scans).one()
    assert read == 0
    subject = own_session.scalars(select(models.Decoder.subject_id)).first()
    for person in (None, subject):
        repository.nearest_voxels(
            own_session, [repository.Part(indexed.run, person)], np.eye(8, dtype=np.float32)[0], 3
        )
        before, read = read, own_session.scalars(scans).one()
        assert read > before


def test_blocks_of_a_run_are_copied_as_they_lie(own_session: Session, indexed: Published) -> None:
    """Were one column not used, PostgreSQL would take rows apart before it copies them."""
    blocks = import_module("migrations.versions.0020_copied_blocks").OF_RUN
    compared = ", ".join(f"{name} <#> '{[0.0] * 8}'" for name in models.SHORTS)
    asked = f"SELECT block, least({compared}) FROM {blocks.replace('of_run', str(indexed.run))}"  # noqa: S608
    for setting in ("enable_seqscan", "enable_bitmapscan"):
        own_session.execute(text(f"SET LOCAL {setting} = off"))
    plan = own_session.scalar(text(f"EXPLAIN (VERBOSE, FORMAT JSON) {asked}"))
    unique = plan[0]["Plan"]["Plans"][0]
    (scan,) = unique["Plans"]
    assert (unique["Node Type"], scan["Node Type"]) == ("Unique", "Index Scan")
    columns = [column.name for column in models.VoxelBlock.__table__.columns]
    assert [each.split(".")[-1] for each in scan["Output"]] == columns


@dataclass(frozen=True)
class Many:
    """A participant of a run with far more voxels than are compared in all dimensions."""

    run: int
    subject: int
    encoder: int

    def add(self, session: Session, vectors: NDArray[np.float64]) -> None:
        """Add voxels, of indices with gaps, and make the run's index."""
        index = 100 + np.random.default_rng(1).permutation(2 * len(vectors))[: len(vectors)]
        copy_rows(
            session,
            models.Voxel,
            {"subject_id": self.subject, "index": index, **dict.fromkeys("ijkxyz", 0)},
        )
        columns = {"run_id": self.run, "subject_id": self.subject, "encoder_id": self.encoder}
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        copy_rows(session, models.VoxelVector, columns | {"index": index, "vector": unit})
        indexing.create_index(session, self.run)

    def nearest(
        self, session: Session, direction: NDArray[np.float64], k: int, subject: int | None
    ) -> tuple[list[float], list[float]]:
        """Similarities of the k that are found, and of the k that are nearest of all."""
        direction = direction / np.linalg.norm(direction)
        stored = select(models.VoxelVector.vector).where(models.VoxelVector.run_id == self.run)
        if subject is not None:
            stored = stored.where(models.VoxelVector.subject_id == subject)
        every = np.array(session.scalars(stored).all())
        found = repository.nearest_voxels(
            session, [repository.Part(self.run, subject)], direction, k
        )
        return [row.similarity for row in found], list(np.sort(every @ direction)[: -k - 1 : -1])

    def compared(self, session: Session) -> int:
        """How many rows of vectors this transaction has read."""
        read = "SELECT pg_stat_get_xact_tuples_returned('catalog.pk_voxel_vector'::regclass)"
        return session.execute(text(read)).scalar_one()


@pytest.fixture
def many(own_session: Session, own_published: Published) -> Many:
    """The first participant of a run, whose own vectors are gone."""
    own_session.execute(delete(models.VoxelVector))
    key = select(models.Decoder.run_id, models.Decoder.subject_id, models.Decoder.encoder_id)
    row = own_session.execute(key).first()
    assert row is not None
    return Many(*row)


@pytest.mark.parametrize("inside", [False, True])
def test_of_many_voxels_the_nearest_are_found(
    own_session: Session, many: Many, inside: bool
) -> None:
    random = np.random.default_rng(2)
    many.add(own_session, random.standard_normal((6000, 8)))
    person = many.subject if inside else None
    for direction in random.standard_normal((20, 8)):
        before = many.compared(own_session)
        read = repository.nearest_voxels(
            own_session, [repository.Part(many.run, person)], direction, 5
        )
        assert len(read) == 5
        assert 64 <= many.compared(own_session) - before < 200
        found, nearest = many.nearest(own_session, direction, 5, person)
        np.testing.assert_allclose(found, nearest, atol=2e-3)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("k", [1, 7, 300, 7000])
def test_where_axes_tell_little_none_is_missed(
    own_session: Session, many: Many, monkeypatch: pytest.MonkeyPatch, inside: bool, k: int
) -> None:
    """Prompts lie across the axes, and the nearest are no nearer along these than others."""
    monkeypatch.setattr(indexing, "AXES", 2)
    random = np.random.default_rng(3)
    vectors = random.standard_normal((6000, 8)) * [3, 3, 1, 1, 1, 1, 1, 1]
    many.add(own_session, vectors)
    person = many.subject if inside else None
    for direction in random.standard_normal((5, 8)) * [0.3, 0.3, 1, 1, 1, 1, 1, 1]:
        found, nearest = many.nearest(own_session, direction, k, person)
        np.testing.assert_allclose(found, nearest, atol=2e-3)


@pytest.mark.parametrize("inside", [False, True])
def test_blocks_without_vectors_hide_none(own_session: Session, many: Many, inside: bool) -> None:
    """To a prompt that all are unlike, a place without a vector is the nearest of its block."""
    random = np.random.default_rng(4)
    many.add(own_session, random.uniform(0.5, 1, (6000, 8)))
    person = many.subject if inside else None
    found, nearest = many.nearest(own_session, -np.ones(8), 5, person)
    assert nearest[0] < 0
    np.testing.assert_allclose(found, nearest, atol=2e-3)


def test_an_index_goes_with_its_run(own_session: Session, indexed: Published) -> None:
    own_session.execute(delete(models.Run).where(models.Run.id == indexed.run))
    for model in (models.VoxelAxis, models.VoxelBlock):
        assert own_session.scalar(select(func.count()).select_from(model)) == 0


def test_indexing_again_does_nothing(own_session: Session, indexed: Published) -> None:
    assert index_runs() == []
    assert repository.indexed_runs(own_session) == {indexed.run}


def test_an_index_goes_when_its_run_is_not_the_current_one(
    own_session: Session, indexed: Published
) -> None:
    with open_session() as session, session.begin():
        session.execute(update(models.Dataset).values(current_run_id=None))
    assert index_runs() == []
    assert repository.indexed_runs(own_session) == set()


def test_progress_is_told(own_published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_INDEX_FROM", "0")
    get_settings.cache_clear()
    told: list[tuple[str, int, int]] = []
    index_runs(lambda *step: told.append(step))
    stage = f"indexing voxels of run {own_published.run}"
    people = len(SUBJECTS)
    assert told == [(stage, done, people) for done in range(people + 1)]


def test_where_it_is_interrupted_there_is_no_index(
    own_session: Session, own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_INDEX_FROM", "0")
    get_settings.cache_clear()

    def stop(_stage: str, done: int, _total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_runs(stop)
    assert repository.indexed_runs(own_session) == set()
    assert index_runs() == [own_published.run]


def test_the_command(own_published: Published, sdc: Sdc, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sdc("db", "index").stdout == "nothing to index\n"
    monkeypatch.setenv("SDC_INDEX_FROM", "0")
    get_settings.cache_clear()
    assert sdc("db", "index").stdout == f"indexed: run {own_published.run}\n"

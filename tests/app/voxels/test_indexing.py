"""Tests of the indexes of runs: when they come and go, and what they find."""

import numpy as np
import pytest
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
    scatter(own_session)
    gone = own_session.scalars(select(models.VoxelVector).where(models.VoxelVector.index == 7))
    for row in gone.all():
        own_session.delete(row)
    own_session.flush()
    indexing.create_index(own_session, own_published.run)
    stored = own_session.scalars(select(models.VoxelVector)).all()
    vectors = np.array([row.vector for row in stored])
    axes = np.array(
        own_session.scalars(
            select(models.VoxelAxis.direction).order_by(models.VoxelAxis.axis)
        ).all()
    )
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
    # The first axes are those along which squares add up to most.
    _, _, rows = np.linalg.svd(vectors, full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(axes * rows[:3], axis=1)), 1, atol=1e-3)
    table = models.VoxelBlock.__table__
    blocks = {
        (row.subject_id, row.block): np.array([getattr(row, name) for name in models.SHORTS])
        for row in own_session.execute(select(table))
    }
    for row in stored:
        short = blocks[row.subject_id, row.index // 16][row.index % 16]
        np.testing.assert_allclose(short, axes @ row.vector, atol=1e-3)
    held = {(row.subject_id, row.index) for row in stored}
    empty = [
        short
        for (subject, block), shorts in blocks.items()
        for place, short in enumerate(shorts)
        if (subject, 16 * block + place) not in held
    ]
    assert len(empty) >= len(SUBJECTS)
    assert not np.any(empty)


def test_the_search_reads_the_index(own_session: Session, indexed: Published) -> None:
    scans = text("SELECT pg_stat_get_xact_numscans('catalog.pk_voxel_block'::regclass)")
    before = own_session.scalar(scans)
    repository.nearest_voxels(own_session, indexed.run, np.eye(8)[0], 3, None, None)
    assert before == 0
    assert own_session.scalar(scans)


def test_of_many_voxels_the_nearest_are_found(
    own_session: Session, own_published: Published
) -> None:
    """Far more than are compared in all dimensions, of which there are as many as axes."""
    random = np.random.default_rng(1)
    key = own_session.execute(
        select(models.Decoder.run_id, models.Decoder.subject_id, models.Decoder.encoder_id)
    ).first()
    assert key is not None
    run, subject, encoder = key
    index = 100 + random.permutation(5000)[:3000]
    vectors = random.standard_normal((3000, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    copy_rows(
        own_session,
        models.Voxel,
        {"subject_id": subject, "index": index, **dict.fromkeys("ijkxyz", 0)},
    )
    columns = {"run_id": run, "subject_id": subject, "encoder_id": encoder}
    copy_rows(own_session, models.VoxelVector, columns | {"index": index, "vector": vectors})
    indexing.create_index(own_session, run)
    stored = own_session.scalars(
        select(models.VoxelVector.vector).where(models.VoxelVector.run_id == run)
    )
    every = np.array(stored.all())
    for direction in random.standard_normal((20, 8)):
        direction /= np.linalg.norm(direction)
        found = repository.nearest_voxels(own_session, run, direction, 5, None, None)
        nearest = np.sort(every @ direction)[:-6:-1]
        np.testing.assert_allclose([row.similarity for row in found], nearest, atol=2e-3)


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

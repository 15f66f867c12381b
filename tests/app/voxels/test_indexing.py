"""Tests of the indexes of runs: when they come and go, and what they find."""

import threading
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.database import models
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
    random = np.random.default_rng(0)
    rows = own_session.scalars(select(models.VoxelVector)).all()
    for row in rows:
        vector = random.standard_normal(8)
        row.vector = vector / np.linalg.norm(vector)
    own_session.flush()
    through = search_voxels(own_session, "face", k=EVERY)
    assert not through.exact
    inside = search_voxels(own_session, "face", subject="subj01", k=EVERY)
    assert inside.exact
    own_session.execute(text(f"DROP INDEX catalog.{repository.INDEX}{indexed.run}"))
    scanned = search_voxels(own_session, "face", k=EVERY)
    assert scanned.exact
    assert through.voxels == scanned.voxels
    assert len(through.voxels) == EVERY


def test_the_search_reads_the_index(own_session: Session, indexed: Published) -> None:
    name = f"catalog.{repository.INDEX}{indexed.run}"
    scans = text("SELECT pg_stat_get_xact_numscans(to_regclass(:name))")
    before = own_session.scalar(scans, {"name": name})
    repository.nearest_voxels(own_session, indexed.run, np.eye(8)[0], 3, None, None)
    assert (before, own_session.scalar(scans, {"name": name})) == (0, 1)


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
    assert told == [(stage, 0, EVERY), (stage, EVERY, EVERY)]


def test_progress_reaches_who_listens_in_this_context(
    own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between start and end it is told by a thread, and an index of sixty rows is made too soon."""
    monkeypatch.setenv("SDC_INDEX_FROM", "0")
    get_settings.cache_clear()
    listener: ContextVar[list[int]] = ContextVar("listener")
    told: list[int] = []
    listener.set(told)
    seen = threading.Event()
    monkeypatch.setattr(indexing, "_LOOK_S", 0.01)
    monkeypatch.setattr(repository, "rows_indexed", lambda _: 7)
    make = repository.create_index

    def slowly(*asked: Any) -> None:
        assert seen.wait(20)
        make(*asked)

    def report(_stage: str, done: int, _total: int) -> None:
        listener.get([]).append(done)
        if done == 7:
            seen.set()

    monkeypatch.setattr(repository, "create_index", slowly)
    index_runs(report)
    assert told[0] == 0
    assert set(told[1:-1]) == {7}
    assert told[-1] == EVERY


def test_where_shared_memory_is_short_it_is_built_alone(
    own_session: Session, own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a container without shared memory says, said by the database itself."""
    own_session.execute(
        text("""
        CREATE FUNCTION pg_temp.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('max_parallel_maintenance_workers') <> '0' THEN
                RAISE 'could not resize shared memory segment' USING ERRCODE = 'disk_full';
            END IF;
        END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
        EXECUTE FUNCTION pg_temp.refuse()
        """)
    )
    repository.create_index(own_session, own_published.run, 64)
    assert repository.indexed_runs(own_session) == {own_published.run}


def test_the_command(own_published: Published, sdc: Sdc, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sdc("db", "index").stdout == "nothing to index\n"
    monkeypatch.setenv("SDC_INDEX_FROM", "0")
    get_settings.cache_clear()
    assert sdc("db", "index").stdout == f"indexed: run {own_published.run}\n"

"""What SQL tells of runs' worth: what was said at their publication, and of older runs nothing."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.concepts.claims import CLAIMS
from app.database.engine import make_engine
from app.database.migrate import downgrade, upgrade
from app.runs.report import show_run
from app.runs.schemas import RunReport
from app.store import ArtefactStore
from tests.app.database.conftest import READER, login, new_database
from tests.app.published import SUBJECTS, publish, write_table
from tests.app.runs.judged import store_judgement

BEFORE, AFTER = "0025", "0026"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def judged(
    server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, RunReport, int]]:
    """A reader's URL of a judged run that is not current, its report, and an older run's id."""
    folder = tmp_path_factory.mktemp("judged")
    table, store = write_table(folder / "words.csv"), ArtefactStore(str(folder / "store"))
    with new_database(server_url) as url:
        engine = make_engine(url)
        upgrade(engine)
        with Session(engine) as session, session.begin():
            newer = publish(session, f"vectors:{table}", store, slug="lab-a")
            older = publish(session, f"vectors:{table}", store, slug="lab-b")
            hidden = publish(session, f"vectors:{table}", store, slug="lab-hidden")
            for one in (newer, hidden):
                run = store_judgement(session, one)
                run.metrics = run.metrics | {"held_back": "it decodes worse"}
            session.execute(
                text(
                    "UPDATE catalog.dataset SET current_run_id = NULL WHERE slug = 'lab-a';"
                    "UPDATE catalog.dataset SET embargoed = true WHERE slug = 'lab-hidden'"
                )
            )
            report = show_run(session, newer.run)
        engine.dispose()
        yield login(url, READER), report, older.run


def rows(url: str, query: str) -> list[Row]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query)
        names = [column.name for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def test_a_run_is_told_as_it_was_judged(judged: tuple[str, RunReport, int]) -> None:
    url, report, _ = judged
    (row,) = rows(url, "SELECT * FROM catalog.run_verdicts WHERE dataset = 'lab-a'")
    told = report.concepts
    assert (row["run_id"], row["current"]) == (report.run, False)
    assert (row["verdict"], row["warnings"]) == (report.verdict, report.warnings)
    assert (row["held_back"], row["reason"]) == ("it decodes worse", None)
    assert (row["found"], row["carried"], row["found_again"]) == (6, 6, 2)
    for claim in (*CLAIMS, "shared"):
        assert row[claim] == getattr(told, claim).holds
    for name in ("cosine", "cosine_by_chance", "start_cosine"):
        assert row[name] == pytest.approx(getattr(told, name))


def test_participants_are_told_as_they_were_judged(judged: tuple[str, RunReport, int]) -> None:
    url, report, _ = judged
    found = rows(url, "SELECT * FROM catalog.run_subjects WHERE dataset = 'lab-a' ORDER BY subject")
    assert [row["subject"] for row in found] == list(SUBJECTS)
    for row, one in zip(found, report.participants, strict=True):
        assert one.trials is not None
        assert one.voxels is not None
        assert one.decoder is not None
        assert one.decoder.pairwise is not None
        assert (row["trials"], row["test_trials"]) == (one.trials.development, one.trials.test)
        assert (row["voxels_in_mask"], row["voxels_kept"]) == (50, 30)
        assert row["voxels_dropped"] == one.voxels.dropped
        ceiling = one.noise_ceiling
        assert row["noise_ceiling"] == (None if ceiling is None else ceiling.median)
        assert row["above_threshold"] == (None if ceiling is None else ceiling.above)
        pairwise = one.decoder.pairwise
        assert (row["pairwise"], row["pairwise_low"], row["pairwise_high"]) == (
            *(pairwise.decoder, pairwise.low, pairwise.high),
        )
        assert row["above_chance"] is one.decoder.above_chance
        told = json.loads(one.model_dump_json())
        assert row["top"] == told["decoder"]["top"]
        assert row["learning_curve"] == told["learning_curve"]
        assert (row["masks"], row["masks_decoding"], row["concepts"]) == (
            *(one.masks.feasible, one.masks.decoding, one.masks.of),
        )
        assert row["missing"] == one.missing


def test_of_an_older_run_nothing_is_told_and_why(judged: tuple[str, RunReport, int]) -> None:
    url, _, older = judged
    (row,) = rows(url, "SELECT * FROM catalog.run_verdicts WHERE dataset = 'lab-b'")
    assert (row["run_id"], row["current"], row["verdict"], row["warnings"]) == (
        *(older, True, None, None),
    )
    assert row["reason"] == "published before runs were judged: `sdc runs RUN` tells what is known"
    found = rows(url, "SELECT * FROM catalog.run_subjects WHERE dataset = 'lab-b'")
    assert len(found) == 2
    for each in found:
        known = {"run_id", "dataset", "current", "subject", "missing"}
        assert {name for name, value in each.items() if value is not None} == known
        assert each["missing"] == {"report": row["reason"]}


def test_an_embargoed_run_is_told_to_nobody(judged: tuple[str, RunReport, int]) -> None:
    for view in ("run_verdicts", "run_subjects"):
        found = rows(judged[0], f"SELECT DISTINCT dataset FROM catalog.{view} ORDER BY 1")  # noqa: S608
        assert [row["dataset"] for row in found] == ["lab-a", "lab-b"]


def test_every_column_is_described(judged: tuple[str, RunReport, int]) -> None:
    query = """
    SELECT attrelid::regclass::text AS view, attname FROM pg_attribute
    WHERE attrelid IN ('catalog.run_verdicts'::regclass, 'catalog.run_subjects'::regclass)
      AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
    """
    assert rows(judged[0], query) == []


def test_the_views_come_and_go(empty_database: str) -> None:
    query = "SELECT relname FROM pg_class WHERE relname IN ('run_verdicts', 'run_subjects')"
    engine = make_engine(empty_database)
    for _ in range(2):
        upgrade(engine, AFTER)
        with engine.connect() as connection:
            assert len(connection.execute(text(query)).all()) == 2
        downgrade(engine, BEFORE)
        with engine.connect() as connection:
            assert connection.execute(text(query)).all() == []
    engine.dispose()

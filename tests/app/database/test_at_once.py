"""Tests of queries that are asked at once, on the connections that are idle."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from app.database.at_once import ask_at_once
from app.errors import CatalogError, TooSlowError
from app.failures import as_catalog_error
from app.observing.metrics import REGISTRY
from app.reading import reading_session
from tests.benchmarks.bare_rows import add_dataset

PROCESS = "SELECT pg_backend_pid(), %(number)s::int"
SLEEP = "SELECT clock_timestamp(), pg_sleep(%(seconds)s), clock_timestamp()"
LIMIT = "SELECT %(number)s::int, current_setting('statement_timeout')"
DIVIDE = "SELECT 12 / %(by)s::int"
END = "SELECT CASE WHEN %(end)s THEN pg_terminate_backend(pg_backend_pid()) END"
COUNT = "SELECT count(*), %(number)s::int FROM catalog.dataset"

# The session asks the first, as it has each time asked before.
ASKER, HELPER = [0, 1], [1, 0]


def numbers(number: int) -> list[dict[str, object]]:
    return [{"number": each} for each in range(number)]


def processes(session: Session, number: int) -> list[int]:
    """The database's processes that answer so many questions."""
    return [process for ((process, _),) in ask_at_once(session, PROCESS, numbers(number))]


def own_process(session: Session) -> int:
    return session.scalars(text("SELECT pg_backend_pid()")).one()


def hold(engine: Engine, number: int, held: ExitStack) -> None:
    """Take so many of an engine's connections; it keeps five."""
    for _ in range(number):
        held.enter_context(engine.connect())


def in_use(engine: Engine) -> int:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def test_queries_are_worked_at_at_one_time(session: Session) -> None:
    answers = ask_at_once(session, SLEEP, [{"seconds": 1}] * 3)
    spans: Sequence[tuple[datetime, datetime]] = [
        (since, until) for ((since, _, until),) in answers
    ]
    assert max(since for since, _ in spans) < min(until for _, until in spans)


def test_each_is_asked_on_a_connection_of_its_own(engine: Engine, session: Session) -> None:
    own = own_process(session)
    found = processes(session, 3)
    assert found[0] == own
    assert len({*found}) == 3
    assert in_use(engine) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(number=st.integers(0, 20), held=st.integers(0, 4))
def test_answers_come_in_the_order_of_the_questions(engine: Engine, number: int, held: int) -> None:
    with ExitStack() as others, Session(engine) as session:
        session.connection()
        hold(engine, held, others)
        answers = ask_at_once(session, PROCESS, numbers(number))
        assert [value for ((_, value),) in answers] == [*range(number)]
        assert len({process for ((process, _),) in answers}) == min(number, 5 - held)


def test_answers_of_no_row_and_of_many(session: Session) -> None:
    series = "SELECT * FROM generate_series(1, %(last)s::int) AS each"
    answers = ask_at_once(session, series, [{"last": last} for last in (2, 0, 3)])
    assert [[each for (each,) in rows] for rows in answers] == [[1, 2], [], [1, 2, 3]]


def test_a_connection_that_is_in_use_is_not_waited_for(engine: Engine, session: Session) -> None:
    own = own_process(session)
    with ExitStack() as held:
        hold(engine, 3, held)
        assert len({*processes(session, 4)}) == 2
        hold(engine, 1, held)
        assert processes(session, 3) == [own] * 3


def test_a_server_that_takes_no_more_connections_is_asked_on_the_one(
    engine: Engine, session: Session
) -> None:
    refused = []

    def refuse(*_: object) -> None:
        refused.append(1)
        raise psycopg.OperationalError("too many clients already")

    own = own_process(session)
    event.listen(engine, "do_connect", refuse)
    assert processes(session, 3) == [own] * 3
    assert refused
    assert in_use(engine) == 1


def test_what_is_not_committed_is_seen(session: Session) -> None:
    add_dataset(session, "new")
    assert [count for ((count, _),) in ask_at_once(session, COUNT, numbers(3))] == [1, 1, 1]


def test_a_session_on_one_connection_asks_alone(engine: Engine) -> None:
    with engine.connect() as connection, Session(connection) as session:
        assert processes(session, 3) == [own_process(session)] * 3


@pytest.mark.usefixtures("catalog")
def test_limits_hold_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_STATEMENT_TIMEOUT_S", "7")
    with reading_session() as session:
        assert ask_at_once(session, LIMIT, numbers(3)) == [[(each, "7s")] for each in range(3)]


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize("seconds", [ASKER, HELPER])
def test_a_query_that_takes_too_long_is_stopped(
    monkeypatch: pytest.MonkeyPatch, seconds: list[int]
) -> None:
    monkeypatch.setenv("SDC_STATEMENT_TIMEOUT_S", "0.2")
    with reading_session() as session, pytest.raises((DBAPIError, psycopg.Error)) as raised:
        ask_at_once(session, SLEEP, [{"seconds": 5 * (1 - each)} for each in seconds])
    assert isinstance(as_catalog_error(raised.value), TooSlowError)


@pytest.mark.parametrize("divisors", [ASKER, HELPER])
def test_what_goes_wrong_is_raised(engine: Engine, session: Session, divisors: list[int]) -> None:
    own_process(session)
    with pytest.raises((DBAPIError, psycopg.Error), match="division by zero"):
        ask_at_once(session, DIVIDE, [{"by": each} for each in [*divisors, 2]])
    assert in_use(engine) == 1
    session.rollback()
    assert ask_at_once(session, DIVIDE, [{"by": 3}, {"by": 4}]) == [[(4,)], [(3,)]]


@pytest.mark.parametrize("ended", [[True, False], [False, True]])
def test_a_connection_that_breaks_is_told_and_replaced(
    engine: Engine, session: Session, ended: list[bool]
) -> None:
    processes(session, 2)
    with pytest.raises((DBAPIError, psycopg.Error)) as raised:
        ask_at_once(session, END, [{"end": each} for each in ended])
    assert isinstance(as_catalog_error(raised.value), CatalogError)
    session.rollback()
    assert len({*processes(session, 2)}) == 2
    session.rollback()
    assert in_use(engine) == 0


def test_every_query_is_counted(session: Session) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("sdc_query_seconds_count", {"verb": "SELECT"}) or 0

    before = counted()
    processes(session, 4)
    # One more tells whether the session has written.
    assert counted() - before == 4 + 1

"""Tests of questions that are asked at once, on the connections that are idle."""

from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from threading import Barrier, current_thread

import psycopg
import pytest
from sqlalchemy import Engine, event, func, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from app.access import Access, access_of, restrict
from app.database.at_once import ask_at_once
from app.database.models import Dataset
from app.reading import reading_session
from tests.benchmarks.bare_rows import add_dataset

Question = Callable[[Session], int]


def process(session: Session) -> int:
    """The database's process that answers a session."""
    return session.scalars(select(func.pg_backend_pid())).one()


def meeting(number: int) -> list[Question]:
    """Questions that are answered where so many are asked at one time, and else give up."""
    barrier = Barrier(number)

    def meet(session: Session) -> int:
        found = process(session)
        barrier.wait(timeout=20)
        return found

    return [meet] * number


def hold(engine: Engine, number: int, held: ExitStack) -> None:
    """Take so many of an engine's connections; it keeps five."""
    for _ in range(number):
        held.enter_context(engine.connect())


def in_use(engine: Engine) -> int:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


def test_questions_are_asked_at_one_time_on_connections_of_their_own(engine: Engine) -> None:
    with Session(engine) as session:
        own = process(session)
        found = ask_at_once(session, meeting(3))
        assert own in found
        assert len({*found}) == 3
        assert in_use(engine) == 1


@pytest.mark.parametrize("number", [0, 1, 2, 20])
def test_answers_come_in_the_order_of_the_questions(engine: Engine, number: int) -> None:
    def question(value: int) -> Question:
        return lambda session: session.scalars(select(func.abs(-value))).one()

    with Session(engine) as session:
        assert ask_at_once(session, [question(n) for n in range(number)]) == [*range(number)]


def test_a_connection_that_is_in_use_is_not_waited_for(engine: Engine) -> None:
    with ExitStack() as held, Session(engine) as session:
        own = process(session)
        hold(engine, 3, held)
        assert own in ask_at_once(session, meeting(2))
        hold(engine, 1, held)
        assert ask_at_once(session, [process] * 3) == [own] * 3


def test_a_server_that_takes_no_more_connections_is_asked_on_the_one(engine: Engine) -> None:
    refused = []

    def refuse(*_: object) -> None:
        refused.append(1)
        raise psycopg.OperationalError("too many clients already")

    def slowly(session: Session) -> int:
        session.execute(select(func.pg_sleep(0.1)))
        return process(session)

    with Session(engine) as session:
        own = process(session)
        event.listen(engine, "do_connect", refuse)
        assert ask_at_once(session, [slowly] * 3) == [own] * 3
    assert refused


def test_what_is_not_committed_is_seen(engine: Engine) -> None:
    count = select(func.count(Dataset.id))
    with Session(engine) as session:
        add_dataset(session, "new")
        counted = ask_at_once(session, [lambda own: own.scalars(count).one()] * 3)
        assert counted == [1, 1, 1]


def test_a_session_on_one_connection_asks_alone(engine: Engine) -> None:
    with engine.connect() as connection, Session(connection) as session:
        assert {*ask_at_once(session, [process] * 3)} == {process(session)}


def test_rights_and_limits_hold_for_all(catalog: object) -> None:
    access = Access("somebody", frozenset({"read"}))
    barrier = Barrier(2)

    def told(session: Session) -> tuple[Access | None, str]:
        barrier.wait(timeout=20)
        return access_of(session), session.scalars(text("SHOW statement_timeout")).one()

    with reading_session() as session:
        restrict(session, access)
        (first, limit), (second, other) = ask_at_once(session, [told] * 2)
        assert first == second == access
        assert limit == other != "0"


def test_helpers_know_what_the_asker_does(engine: Engine) -> None:
    told: ContextVar[str] = ContextVar("told")
    told.set("this")
    barrier = Barrier(2)

    def question(_session: Session) -> tuple[str, str]:
        barrier.wait(timeout=20)
        return told.get(), current_thread().name

    with Session(engine) as session:
        (first, here), (second, there) = ask_at_once(session, [question] * 2)
    assert first == second == "this"
    assert here != there


@pytest.mark.parametrize("where", ["the asker", "a helper"])
def test_what_goes_wrong_is_raised_and_the_rest_is_left(engine: Engine, where: str) -> None:
    asker, barrier, later = current_thread(), Barrier(2), []

    def question(session: Session) -> int:
        barrier.wait(timeout=20)
        if (current_thread() is asker) == (where == "the asker"):
            raise LookupError(where)
        session.execute(select(func.pg_sleep(0.5)))
        return 0

    def next_question(_session: Session) -> int:
        later.append(1)
        return 0

    with ExitStack() as held, Session(engine) as session:
        hold(engine, 3, held)
        with pytest.raises(LookupError, match=where):
            ask_at_once(session, [question, question, next_question])
        assert not later
        assert in_use(engine) <= 1 + 3

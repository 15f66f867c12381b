"""One query about several things, asked of the database at once."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from threading import Lock
from typing import Any

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from app.observing.queries import observed

Driver = psycopg.Connection[tuple[Any, ...]]

# Whoever looks whether a connection is idle takes it before another looks.
_TAKING = Lock()

_WRITTEN = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"


def ask_at_once(
    session: Session, query: str, asked: Sequence[Mapping[str, object]]
) -> list[Sequence[Sequence[Any]]]:
    """The rows of one query for each of several sets of parameters.

    A query is worked at by one of the database's processes. Where the pool has connections that
    nobody uses, each is sent some of the queries, and the session's own the rest; else the session
    asks all, one after the other.

    Parameters
    ----------
    session : Session
        Asks alone where its transaction has written what others would not see. Others have its
        limits (`Session.info`).
    query : str
        As the driver takes it. Only reads.
    asked : sequence of mapping
        The query's parameters.

    Returns
    -------
    list of sequence of rows
        In the order of `asked`.

    Raises
    ------
    psycopg.Error, sqlalchemy.exc.DBAPIError
        Of the first query that failed.
    """
    with ExitStack() as until_answered:
        others = _others(session, len(asked) - 1, until_answered)
        askers = 1 + len(others)
        sent = {}
        for place, driver in enumerate(others, start=1):
            until_answered.enter_context(driver.pipeline())
            for number in range(place, len(asked), askers):
                until_answered.enter_context(observed(query))
                sent[number] = driver.execute(query, asked[number])
        answers: dict[int, Sequence[Sequence[Any]]] = {
            number: session.connection().exec_driver_sql(query, dict(asked[number])).all()
            for number in range(0, len(asked), askers)
        }
        answers |= {number: cursor.fetchall() for number, cursor in sent.items()}
    return [answers[number] for number in range(len(asked))]


def _others(session: Session, wanted: int, held: ExitStack) -> list[Driver]:
    """Connections that nobody uses, at most so many, and held as long as the stack is."""
    found: list[Driver] = []
    if wanted < 1 or _idle_connections(session) < 1 or _has_written(session):
        return found
    while len(found) < wanted:
        with _TAKING:
            if _idle_connections(session) < 1:
                return found
            own = held.enter_context(Session(session.get_bind(), info=session.info))
            try:
                driver: Driver = own.connection().connection.driver_connection  # type: ignore[assignment]
            except (OperationalError, PoolTimeout):
                # A server that takes no more is asked by those who are connected.
                return found
        found.append(driver)
    return found


def _idle_connections(session: Session) -> int:
    """How many connections the session's engine keeps, or may open and keep, beside those in use.

    Nobody is to wait for a connection who has one already: where all did, none would go on.
    """
    engine = session.get_bind()
    if not isinstance(engine, Engine) or not isinstance(engine.pool, QueuePool):
        return 0
    return max(0, engine.pool.size() - engine.pool.checkedout())


def _has_written(session: Session) -> bool:
    return bool(session.connection().exec_driver_sql(_WRITTEN).scalar())

"""Questions that do not depend on each other, asked of the database at once."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import lru_cache
from typing import TypeVar

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

R = TypeVar("R")

# Of this process, over all who ask.
_HELPERS = 4


def ask_at_once(session: Session, questions: Sequence[Callable[[Session], R]]) -> list[R]:
    """The answers of several questions, on as many connections as are idle.

    A query is worked at by one of the database's processes. Where the pool has connections that
    nobody uses, each takes some of the questions; else the session asks one after the other.

    Parameters
    ----------
    session : Session
        Asks as well, and alone where its transaction has written what others would not see.
        Others have its rights and limits (`Session.info`).
    questions : sequence of callable
        Each is called once, with a session, and only reads.

    Returns
    -------
    list
        In the order of the questions.

    Raises
    ------
    Exception
        What a question raised; questions that were not begun are left.
    """
    answers: dict[int, R] = {}
    left = deque(enumerate(questions))

    def ask(own: Session) -> None:
        while True:
            try:
                number, question = left.popleft()
            except IndexError:
                return
            try:
                answers[number] = question(own)
            except BaseException:
                left.clear()
                raise

    def help_out() -> None:
        with Session(session.get_bind(), info=session.info) as own:
            try:
                own.connection()
            except (OperationalError, PoolTimeout):
                # A server that takes no more leaves the questions to those who are connected.
                return
            ask(own)

    helpers = 0
    if len(questions) > 1 and not _has_written(session):
        helpers = min(len(questions) - 1, _idle_connections(session))
    helping = [_threads().submit(copy_context().run, help_out) for _ in range(helpers)]
    try:
        ask(session)
    finally:
        # Who has not begun yet finds nothing to do.
        begun = [helper for helper in helping if not helper.cancel()]
        wait(begun)
    for helper in begun:
        helper.result()
    return [answers[number] for number in range(len(questions))]


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_HELPERS, thread_name_prefix="ask-at-once")


def _idle_connections(session: Session) -> int:
    """How many connections the session's engine keeps, or may open and keep, beside those in use.

    Nobody is to wait for a connection who has one already: where all did, none would go on.
    """
    engine = session.get_bind()
    if not isinstance(engine, Engine) or not isinstance(engine.pool, QueuePool):
        return 0
    return max(0, engine.pool.size() - engine.pool.checkedout())


def _has_written(session: Session) -> bool:
    return bool(session.scalar(select(func.pg_current_xact_id_if_assigned().is_not(None))))

"""Sessions that answer questions: their queries stop in time."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event, func, select
from sqlalchemy.orm import Session, SessionTransaction

from app.database.engine import open_session
from app.settings import get_settings

_KEY = "statement_timeout"


@contextmanager
def reading_session() -> Iterator[Session]:
    """A session whose queries stop in time; what they did is kept where nothing failed.

    A question can write too: a new prompt is embedded once, and then kept.

    Raises
    ------
    UnavailableError
        The database is unreachable, or at another migration.
    TooSlowError
        By whoever tells its errors (`app.failures`): a query took longer than the setting
        ``statement_timeout_s``.
    """
    with open_session() as session:
        session.info[_KEY] = str(int(get_settings().statement_timeout_s * 1000))
        yield session
        session.commit()


# Who asks may commit on the way, and the limit ends with a transaction.
@event.listens_for(Session, "after_begin")
def _limit(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if _KEY in session.info:
        limit = func.set_config("statement_timeout", session.info[_KEY], True)
        connection.execute(select(limit))

"""Sessions that answer questions: their queries stop in time."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.settings import get_settings


@contextmanager
def reading_session() -> Iterator[Session]:
    """A session whose queries stop in time; what they did is kept where nothing failed.

    A question can write too: a new prompt is embedded once, and then kept.

    Raises
    ------
    UnavailableError
        The database is unreachable, or at another migration.
    """
    limit_ms = int(get_settings().statement_timeout_s * 1000)
    with open_session() as session, session.begin():
        session.execute(select(func.set_config("statement_timeout", str(limit_ms), True)))
        yield session

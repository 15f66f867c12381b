"""Sessions that answer questions: their queries stop in time."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event, func, select
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
    TooSlowError
        By whoever tells its errors (`app.failures`): a query took longer than the setting
        ``statement_timeout_s``.
    """
    limit = func.set_config(
        "statement_timeout", str(int(get_settings().statement_timeout_s * 1000)), True
    )
    with open_session() as session:
        # Who asks may commit on the way, and the limit ends with a transaction.
        event.listen(
            session,
            "after_begin",
            lambda _session, _transaction, connection: connection.execute(select(limit)),
        )
        yield session
        session.commit()

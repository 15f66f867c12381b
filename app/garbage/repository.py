"""What the catalog refers to in the store, and who works with the store now."""

from datetime import datetime

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database import references

# What is locked by those who work with the store. Advisory locks are anybody's who may log in; on
# this table, which a catalog always has, none but those who migrate have any right. Reading it goes
# on beside both locks, and migrating beside the first.
_TABLE = "public.alembic_version"
# A server's own limits would end the transaction that holds the lock, and with it the lock.
_ENDLESS = """
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout')
"""


def referred(session: Session) -> set[str]:
    """Addresses (sha256) of all that ingestions and runs, older ones too, refer to."""
    return (
        {artefact.sha256 for artefact in references.ingested_artefacts(session)}
        | references.decoder_artefacts(session)
        | references.parent_artefacts(session)
    )


def announce_work(connection: Connection) -> None:
    """Have this connection tell, until its transaction ends, that the store is worked with."""
    connection.execute(text(_ENDLESS))
    connection.execute(text(f"LOCK TABLE {_TABLE} IN ROW SHARE MODE"))


def keep_work_off(session: Session) -> bool:
    """Have those who would begin to work wait for this transaction's end; False where some do."""
    try:
        with session.begin_nested():
            session.execute(text(f"LOCK TABLE {_TABLE} IN EXCLUSIVE MODE NOWAIT"))
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        return False
    return True


def work_since(session: Session) -> datetime | None:
    """Since when the store is worked with at the longest; None where that is not to be known."""
    row = session.execute(
        text(
            "SELECT min(backend_start), count(*) = count(backend_start)"
            " FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
            " LEFT JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'relation' AND mode = 'RowShareLock' AND granted"
            " AND pg_database.datname = current_database()"
            " AND relation = CAST(:locked AS regclass)"
        ),
        {"locked": _TABLE},
    ).one()
    return row[0] if row[1] else None

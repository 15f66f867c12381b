"""What the catalog refers to in the store, and who works with the store now."""

from datetime import datetime

from sqlalchemy import BigInteger, Connection, cast, func, select, text
from sqlalchemy.orm import Session

from app.database import references

# Any number that no other advisory lock of this catalog has.
_LOCK = 7_345_211_902


def referred(session: Session) -> set[str]:
    """Addresses (sha256) of all that ingestions and runs, older ones too, refer to."""
    return (
        {artefact.sha256 for artefact in references.ingested_artefacts(session)}
        | references.decoder_artefacts(session)
        | references.parent_artefacts(session)
    )


def announce_work(connection: Connection) -> None:
    """Have this connection tell, for as long as it lives, that the store is worked with."""
    connection.execute(select(func.pg_advisory_lock_shared(cast(_LOCK, BigInteger))))


def keep_work_off(session: Session) -> bool:
    """Have those who would begin to work wait for this transaction's end; False where some do."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(cast(_LOCK, BigInteger)))))


def work_since(session: Session) -> datetime | None:
    """Since when the store is worked with at the longest; None where that is not to be known."""
    row = session.execute(
        text(
            "SELECT min(backend_start), count(*) = count(backend_start)"
            " FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
            " LEFT JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
            " AND pg_database.datname = current_database()"
            " AND (classid::bigint << 32) + objid::bigint = :lock"
        ),
        {"lock": _LOCK},
    ).one()
    return row[0] if row[1] else None

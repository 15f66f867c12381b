"""What the catalog refers to in the store, and who works with the store now."""

from datetime import datetime

from sqlalchemy import BigInteger, Connection, cast, func, select, text
from sqlalchemy.orm import Session

from app.database.models import Decoder, Run, Subject
from app.store import artefacts_in

# Any number that no other advisory lock of this catalog has.
_LOCK = 7_345_211_902


def referred(session: Session) -> set[str]:
    """Addresses (sha256) of all that ingestions and runs, older ones too, refer to."""
    found = {
        artefact.sha256
        for tree in session.scalars(select(Subject.artefacts))
        for artefact in artefacts_in(tree)
    }
    for row in session.execute(select(Decoder.artefact_sha256, Decoder.masks_sha256)):
        found.update(row)
    for parents in session.scalars(select(Run.parents)):
        found.update(_strings(parents))
    return found


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


def _strings(tree: object) -> set[str]:
    if isinstance(tree, dict):
        return {each for value in tree.values() for each in _strings(value)}
    return {tree} if isinstance(tree, str) else set()

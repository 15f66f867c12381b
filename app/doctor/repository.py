"""Queries on the state of the server and of the catalog."""

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from app.database.models import Dataset, Decoder, Json, Subject


def server_version(connection: Connection) -> tuple[int, str]:
    """PostgreSQL's major version, and the version in full."""
    number = int(connection.scalar(text("SHOW server_version_num")) or 0)
    return number // 10000, str(connection.scalar(text("SHOW server_version")))


def pgvector_version(connection: Connection) -> str | None:
    """The version of pgvector in this database; None where it is not created."""
    version = connection.scalar(
        text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    )
    return None if version is None else str(version)


def run_artefacts(session: Session) -> list[str]:
    """Addresses (sha256) of what the current runs left in the store."""
    rows = session.execute(
        select(Decoder.artefact_sha256, Decoder.masks_sha256).join(
            Dataset, Dataset.current_run_id == Decoder.run_id
        )
    )
    return sorted({address for row in rows for address in row if address})


def subject_artefacts(session: Session) -> list[Json]:
    """References to what ingestion left in the store, participant by participant."""
    return list(session.scalars(select(Subject.artefacts)))

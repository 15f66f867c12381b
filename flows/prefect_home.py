"""Where Prefect keeps its state: set before Prefect is imported for the first time."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from app.database.embedded import PREFECT_DATABASE, make_database, start_server
from app.errors import InputError, StorageError, UnavailableError
from app.files import file_aside
from app.loopback import never_proxy_loopback
from app.private import FILE_MODE, private_folder
from app.settings import Settings
from flows.prefect_server import LOOPBACK

PREFECT_DATABASE_URL = "PREFECT_API_DATABASE_CONNECTION_URL"
LOGIN_FILE = "prefect.auth"
USER = "sdc"
# Whose pages may ask a server: none but its own. An empty list would be Prefect's default, all.
NO_ORIGIN = "https://none.invalid"
# A server that is up answers within it, even where it is busy.
_ANSWER_S = 10.0
# The log of a temporary server begins anew when it is larger.
_LOG_BYTES = 1_000_000
# Prefect reports usage through two channels, and each has its own switch.
QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def serve_prefect_on(settings: Settings) -> None:
    """Let a Prefect server of this process keep its state on the catalog's own server.

    Nothing is done for the embedded one, see `configure_prefect`, or where the environment names a
    database.

    Raises
    ------
    InputError
        ``SDC_DATABASE_URL`` is no PostgreSQL URL.
    UnavailableError
        The server is unreachable, or the role may make no database there.
    """
    if settings.database_url is None or PREFECT_DATABASE_URL in os.environ:
        return
    # Loaded by who serves alone: help is told without a database.
    import psycopg
    from sqlalchemy import make_url

    from app.database.engine import postgres_url

    url = postgres_url(settings.database_url, "SDC_DATABASE_URL")
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            make_database(connection, PREFECT_DATABASE)
    except psycopg.Error as error:
        raise UnavailableError(
            f"the database {PREFECT_DATABASE} cannot be made: {str(error).strip()}",
            hint=f"make it by hand, or name another in {PREFECT_DATABASE_URL}",
        ) from error
    beside = make_url(url).set(drivername="postgresql+asyncpg", database=PREFECT_DATABASE)
    os.environ[PREFECT_DATABASE_URL] = beside.render_as_string(hide_password=False)


def configure_prefect(settings: Settings, *, verbose: bool = False) -> None:
    """Point Prefect at the home folder and at the embedded PostgreSQL, and let it call nobody.

    What the environment already says stands, so that a lab's own Prefect server
    (``PREFECT_API_URL``) or database is used where it is named.

    Parameters
    ----------
    settings : Settings
        Its home holds Prefect's state.
    verbose : bool
        Whether Prefect's own log goes to the terminal.

    Raises
    ------
    UnavailableError
        The embedded server does not start.
    """
    never_proxy_loopback()
    folder = private_folder(private_folder(settings.home) / "prefect")
    login = prefect_login(settings)
    defaults = QUIET | {
        "PREFECT_HOME": str(folder),
        "PREFECT_LOGGING_LEVEL": "INFO" if verbose else "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "WARNING" if verbose else "CRITICAL",
        # The first start migrates Prefect's own database, up to a minute on a slow disk.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }
    if login is not None:
        # The one is asked for by servers that this process starts, the other given by clients.
        defaults |= dict.fromkeys(
            ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"), login
        )
        defaults["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = NO_ORIGIN
    needs_database = not {"PREFECT_API_URL", PREFECT_DATABASE_URL} & set(os.environ)
    if needs_database:
        # SQLite, Prefect's default, locks up under concurrent tasks.
        url = start_server(settings.home, PREFECT_DATABASE)
        defaults[PREFECT_DATABASE_URL] = url.replace("postgresql://", "postgresql+asyncpg://")
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def prefect_login(settings: Settings) -> str | None:
    """The login of this catalog's Prefect server, ``user:password``; made where there is none.

    None where the environment names a server elsewhere, and no login for it: the home's own is told
    to nobody else.

    Raises
    ------
    InputError
        The setting is no login.
    StorageError
        The home's can be neither read nor written.
    """
    if settings.prefect_auth is not None:
        login = settings.prefect_auth.get_secret_value().strip()
        user, _, password = login.partition(":")
        if not (user and password and login.isascii() and login.isprintable()):
            raise InputError(
                "SDC_PREFECT_AUTH is no login of Prefect's", hint="it looks like user:password"
            )
        return login
    url = os.environ.get("PREFECT_API_URL")
    if url and urlsplit(url).hostname not in LOOPBACK:
        return None
    file = private_folder(settings.home) / LOGIN_FILE
    try:
        # Linked when it is whole: who comes second takes the first one's.
        if not file.exists():
            fresh = file.with_name(f"{LOGIN_FILE}.{os.getpid()}")
            try:
                with file_aside(fresh, mode=FILE_MODE) as aside:
                    aside.write_text(f"{USER}:{secrets.token_urlsafe(32)}")
                with suppress(FileExistsError):
                    os.link(fresh, file)
            finally:
                fresh.unlink(missing_ok=True)
        return file.read_text().strip()
    except OSError as error:
        raise StorageError(
            f"{file} can be neither read nor made: {error.strerror}",
            hint="make SDC_HOME writable, or set SDC_PREFECT_AUTH",
        ) from error


@contextmanager
def unwatched() -> Iterator[None]:
    """Flows of the block end as soon as they are done, where this process has a server of its own.

    A flow that ends waits up to a second for the thread that tells that it is alive, and nobody
    listens there. A server that others use may watch it (``PREFECT_API_URL``).

    Raises
    ------
    UnavailableError
        ``PREFECT_API_URL`` names a server that does not answer, or takes another login.
    """
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    from flows.worker import require_login, require_server

    if url := PREFECT_API_URL.value():
        # Prefect itself would try for minutes, and end with a traceback.
        require_server(url, _ANSWER_S)
        require_login(url)
        yield
        return
    _guard_temporary_server()
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _guard_temporary_server() -> None:
    """Let the server that Prefect starts for flows be ours, which ends with this process.

    What it has to say of its own end, or of events that nobody reads, is in ``server.log`` of
    Prefect's folder: it is no word on the flow.
    """
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_HOME, get_current_settings

    def start(server: SubprocessASGIServer) -> "subprocess.Popen[bytes]":
        command = [
            *(sys.executable, "-m", "flows.prefect_server", "--host", "127.0.0.1", "--temporary"),
            *("--port", str(server.port), "--parent", str(os.getpid())),
        ]
        told = get_current_settings().to_environment_variables(exclude_unset=True)
        kind = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
        log = PREFECT_HOME.value() / "server.log"
        mode = "ab" if log.exists() and log.stat().st_size < _LOG_BYTES else "wb"
        with log.open(mode) as written:
            return subprocess.Popen(  # noqa: S603 - this Python, and a module of the product
                command,
                env={**os.environ, **kind, "PREFECT__SERVER_FINAL": "1", **told},
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            )

    setattr(SubprocessASGIServer, "_run_uvicorn_command", start)  # noqa: B010 - it is no part of ours

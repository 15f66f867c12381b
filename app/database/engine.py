"""Where the database is, and how to talk to it."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from app.capacity import connections
from app.errors import InputError, UnavailableError
from app.observing.queries import observe_queries
from app.settings import Settings, get_settings

CONNECT_TIMEOUT_S = 5


def _connect_again(engine: Engine, home: Path) -> None:
    """Let connections start the embedded server again, which may have been killed meanwhile."""

    @event.listens_for(engine, "do_connect")
    def connect(
        dialect: Dialect, _entry: ConnectionPoolEntry, words: Any, named: dict[str, Any]
    ) -> Any:
        from app.database.embedded import server_answers, start_server

        try:
            return dialect.connect(*words, **named)
        except psycopg.OperationalError:
            url = engine.url.set(drivername="postgresql")
            if server_answers(url.render_as_string(hide_password=False)):
                raise
        start_server(home)
        return dialect.connect(*words, **named)


def database_url(settings: Settings) -> str:
    """URL of the catalog's database; starts the embedded server where none is given.

    Raises
    ------
    InputError
        ``SDC_DATABASE_URL`` is no PostgreSQL URL.
    UnavailableError
        The embedded server does not start.
    """
    if settings.database_url is None:
        from app.database.embedded import start_server

        return start_server(settings.home)
    return postgres_url(settings.database_url, "SDC_DATABASE_URL")


def postgres_url(secret: SecretStr, name: str) -> str:
    """A setting's URL as libpq takes it.

    Parameters
    ----------
    secret : SecretStr
    name : str
        The setting's name, for the message.

    Raises
    ------
    InputError
        It is no PostgreSQL URL.
    """
    url = secret.get_secret_value()
    try:
        known = make_url(url).drivername in {"postgresql", "postgres", "postgresql+psycopg"}
    except (ArgumentError, ValueError):
        known = False
    if not known:
        # The value itself may hold a password.
        raise InputError(
            f"{name} is no PostgreSQL URL",
            hint="it looks like postgresql://user@host:5432/database",
        ) from None
    return url.replace("postgresql+psycopg://", "postgresql://").replace(
        "postgres://", "postgresql://"
    )


def make_engine(url: str, connections: int = 5) -> Engine:
    """An engine on the catalog, with pgvector's types known to every connection.

    Parameters
    ----------
    url : str
        ``postgresql://`` URL.
    connections : int
        How many it has at most; who asks beyond them waits.
    """
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_size=connections,
        max_overflow=0,
        # An error that is logged would tell prompts, and hashes of keys.
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )

    observe_queries(engine)

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        driver = connection.driver_connection if hasattr(connection, "driver_connection") else None
        _register_vector(driver or connection)  # type: ignore[arg-type]

    return engine


def _register_vector(connection: "psycopg.Connection[object]") -> None:
    # A database that has not been migrated yet has no vector type; `sdc doctor` and the migrations
    # must be able to talk to it all the same.
    exists = connection.execute("SELECT to_regtype('vector') IS NOT NULL").fetchone()
    if exists and exists[0]:  # type: ignore[index]
        register_vector(connection)
    connection.rollback()


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """The process's engine, made once from the settings."""
    settings = get_settings()
    engine = make_engine(database_url(settings), connections())
    if settings.database_url is None:
        _connect_again(engine, settings.home)
    return engine


def open_session() -> Session:
    """A session on a database that is reachable and at this code's migration.

    Raises
    ------
    UnavailableError
        The database is unreachable, has no pgvector, or is at another migration.
    """
    from app.database.migrate import require_current

    engine = get_engine()
    require_current(engine)
    return Session(engine, expire_on_commit=False)


def unreachable(error: Exception, engine: Engine) -> UnavailableError:
    """The error for a server that does not answer, naming host and database and no secret."""
    url = engine.url
    where = f"{url.host or url.query.get('host', 'localhost')}/{url.database}"
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return UnavailableError(
        f"the database {where} cannot be reached: {reason}",
        hint="start it, or mend SDC_DATABASE_URL; `sdc doctor` tells more",
    )

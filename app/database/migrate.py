"""The schema's versions: where the database stands, and how to move it."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

import migrations
from app.database.engine import unreachable
from app.database.models import SCHEMA
from app.errors import UnavailableError

PGVECTOR_AT_LEAST = (0, 8, 4)
POSTGRES_AT_LEAST = 15

if TYPE_CHECKING:
    from alembic.config import Config

# Of a migration's file. Alembic itself is loaded by who migrates alone: every session asks where
# the database stands, and a command that reads is to begin soon.
_REVISION = re.compile(r'^(revision|down_revision)\b[^=\n]*= (?:None|"([^"\n]*)")', re.MULTILINE)


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a revision, in one transaction.

    Raises
    ------
    UnavailableError
        The server is unreachable, too old, or offers no pgvector of the version needed.
    """
    from alembic import command

    require_server(engine)
    _run(engine, lambda config: command.upgrade(config, revision))


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take the database back to a revision; ``base`` leaves nothing of the catalog."""
    from alembic import command

    _run(engine, lambda config: command.downgrade(config, revision))


def current_revision(engine: Engine) -> str | None:
    """The revision that the database is at; None before the first migration.

    Raises
    ------
    UnavailableError
        The server is unreachable.
    """
    try:
        with engine.connect() as connection:
            if connection.scalar(text("SELECT to_regclass('public.alembic_version')")) is None:
                return None
            found = connection.scalar(text("SELECT version_num FROM public.alembic_version"))
            return None if found is None else str(found)
    except OperationalError as error:
        raise unreachable(error, engine) from error


@cache
def head_revision() -> str:
    """The newest revision that this code knows; read once, since every session asks for it."""
    revisions = _revisions()
    if not revisions:
        raise UnavailableError("this installation has no migrations", hint="install it again")
    return revisions[0]


def knows(revision: str) -> bool:
    """Whether this code has a revision, newest or not."""
    return revision in _revisions()


def bring_to(engine: Engine, revision: str) -> None:
    """Bring the database to a revision that this code has, from before it or from beyond it.

    Raises
    ------
    UnavailableError
        As `upgrade`.
    """
    known, found = _revisions(), current_revision(engine)
    beyond = found is not None and known.index(found) < known.index(revision)
    (downgrade if beyond else upgrade)(engine, revision)


def require_current(engine: Engine) -> None:
    """Refuse a database that is at another revision than this code's.

    Raises
    ------
    UnavailableError
        The server is unreachable, or at another migration.
    """
    found, wanted = current_revision(engine), head_revision()
    if found == wanted:
        return
    raise UnavailableError(
        f"the database is at migration {found or 'none'}, this code needs {wanted}",
        hint="run `sdc db upgrade`"
        if found is None or knows(found)
        else "it was made by a newer version: upgrade this installation",
    )


def require_server(engine: Engine) -> None:
    """Refuse a server that cannot hold the catalog.

    Raises
    ------
    UnavailableError
        Unreachable, older than PostgreSQL 15, or without pgvector 0.8.4 or later.
    """
    try:
        with engine.connect() as connection:
            server = connection.scalar(text("SHOW server_version_num"))
            offered = connection.scalar(
                text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
            )
    except OperationalError as error:
        raise unreachable(error, engine) from error
    if int(server or 0) // 10000 < POSTGRES_AT_LEAST:
        raise UnavailableError(
            f"the server is PostgreSQL {int(server or 0) // 10000}",
            hint=f"the catalog needs PostgreSQL {POSTGRES_AT_LEAST} or later",
        )
    wanted = ".".join(map(str, PGVECTOR_AT_LEAST))
    if offered is None:
        raise UnavailableError(
            "the database server has no pgvector",
            hint=f"install the extension `vector` {wanted} or later on the server",
        )
    if tuple(int(part) for part in offered.split(".")) < PGVECTOR_AT_LEAST:
        raise UnavailableError(
            f"the database server has pgvector {offered}",
            hint=f"install {wanted} or later: earlier ones corrupt indexes",
        )


@cache
def _revisions() -> list[str]:
    """All revisions, the newest first."""
    after: dict[str, str] = {}
    for file in (_folder() / "versions").glob("*.py"):
        named = dict(_REVISION.findall(file.read_text()))
        after[named["down_revision"]] = named["revision"]
    # The first comes after none.
    chain = [""]
    while (following := after.get(chain[-1])) is not None:
        chain.append(following)
    return chain[:0:-1]


def _folder() -> Path:
    return Path(migrations.__file__).parent


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    # Alembic fills in what follows a percent sign.
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _run(engine: Engine, step: "Callable[[Config], None]") -> None:
    config = _config()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            step(config)
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise UnavailableError(
            f"the schema {SCHEMA} cannot be migrated: {str(error.orig).strip().splitlines()[0]}",
            hint="the role needs CREATE on the database, and the right to create extensions",
        ) from error
    engine.dispose()

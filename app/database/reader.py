"""SQL of others: one statement, read-only, logged in as a role that reads the catalog alone."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
from psycopg import errors
from pydantic import BaseModel, Field, JsonValue
from sqlalchemy import make_url

from app.database.engine import CONNECT_TIMEOUT_S, get_engine, postgres_url
from app.database.json_values import as_json, load_json_values
from app.errors import BusyError, CatalogError, InputError, TooSlowError, UnavailableError
from app.settings import Settings, get_settings

READER = "catalog_reader"
FORMS = "give one SELECT, WITH, VALUES or TABLE"

MOST_BYTES = 4_000_000
# For a place among the statements that are run at once, in seconds.
WAIT_S = 5

# The lower of the role's own limit and ours; the first query also takes the snapshot, after which
# PostgreSQL refuses to make the transaction one that writes.
LIMIT = """
SELECT least(nullif(setting::bigint, 0), %s), set_config('datestyle', 'ISO', true)
FROM pg_settings WHERE name = 'statement_timeout'
"""
WRITES = """
SELECT current_user, EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'catalog' AND relkind IN ('r', 'p')
    AND has_table_privilege(pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
)
"""


class SqlColumn(BaseModel):
    """A column of what a statement reads."""

    name: str
    type: str = Field(description="PostgreSQL's name of the type.")


class SqlAnswer(BaseModel):
    """What a statement reads: its first rows."""

    columns: list[SqlColumn]
    rows: list[list[JsonValue]] = Field(description="Values in the columns' order.")
    truncated: bool = Field(description="Whether there are more rows than are told.")


def reader_url(settings: Settings) -> str:
    """URL that logs in to the catalog's database as its reader.

    Raises
    ------
    InputError
        ``SDC_READER_URL`` is no PostgreSQL URL.
    UnavailableError
        ``SDC_DATABASE_URL`` names a server, and nothing tells how its reader logs in; or the
        embedded server does not start.
    """
    if settings.reader_url is not None:
        return postgres_url(settings.reader_url, "SDC_READER_URL")
    if settings.database_url is not None:
        raise UnavailableError(
            f"nothing tells how {READER} logs in to the server of SDC_DATABASE_URL",
            hint=f"set SDC_READER_URL, such as postgresql://{READER}:PASSWORD@host:5432/database",
        )
    url = get_engine().url.set(drivername="postgresql", username=READER, password=None)
    return url.render_as_string(hide_password=False)


def read_sql(statement: str, *, rows: int) -> SqlAnswer:
    """The first rows of a statement that the catalog's reader may run.

    Parameters
    ----------
    statement : str
        One statement that reads; it runs in a read-only transaction of its own connection, for
        ``SDC_STATEMENT_TIMEOUT_S`` at most.
    rows : int
        How many rows at most, and 4 MB of them; no more are brought here.

    Raises
    ------
    InputError
        The statement is none, is several, PostgreSQL refuses it, or one row is too large.
    UnavailableError
        The reader cannot log in, or may write.
    TooSlowError
        The statement took too long.
    BusyError
        As many statements are run already as the setting ``sql_connections`` lets.
    """
    query = _clean(statement)
    settings = get_settings()
    with _places(settings.sql_connections), closing(_connect(reader_url(settings))) as connection:
        try:
            limit_s = _restrict(connection, settings)
            return _read(connection, query, rows, limit_s)
        except psycopg.Error as error:
            raise _failure(error, settings) from error


class _Places:
    """As many as may be taken at once; each waits a little for one."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken = 0

    @contextmanager
    def __call__(self, most: int) -> Iterator[None]:
        with self._free:
            if not self._free.wait_for(lambda: self._taken < most, WAIT_S):
                raise BusyError(
                    f"{most} statements are run already, the setting SDC_SQL_CONNECTIONS",
                    hint=f"send it again in {WAIT_S} s",
                    retry_after_s=WAIT_S,
                )
            self._taken += 1
        try:
            yield
        finally:
            with self._free:
                self._taken -= 1
                self._free.notify()


_places = _Places()


def _connect(url: str) -> psycopg.Connection:
    try:
        connection = psycopg.connect(
            url, connect_timeout=CONNECT_TIMEOUT_S, application_name="sdc sql"
        )
    except psycopg.Error as error:
        parsed = make_url(url)
        where = f"{parsed.host or parsed.query.get('host', 'localhost')}/{parsed.database}"
        reason = str(error).strip().splitlines()[-1]
        raise UnavailableError(
            f"the database {where} cannot be reached as {parsed.username}: {reason}",
            hint=f"`sdc db upgrade` makes {READER}; mend SDC_READER_URL where it is set",
        ) from error
    connection.read_only = True
    return connection


def _restrict(connection: psycopg.Connection, settings: Settings) -> float:
    """Take a connection for a reader's, and tell how long it may read, in seconds."""
    ours_ms = settings.statement_timeout_s * 1000
    limit_ms, _ = connection.execute(LIMIT, [ours_ms]).fetchone() or (ours_ms, None)
    user, writes = connection.execute(WRITES).fetchone() or ("", True)
    if writes:
        raise UnavailableError(
            f"SDC_READER_URL logs in as {user}, who may write the catalog",
            hint=f"log in as {READER}, or as a member of it alone",
        )
    load_json_values(connection)
    return float(limit_ms) / 1000


def _read(connection: psycopg.Connection, query: str, rows: int, limit_s: float) -> SqlAnswer:
    deadline = time.monotonic() + limit_s
    found: list[list[JsonValue]] = []
    size = 0
    # A cursor takes one statement that reads, and no other.
    with connection.cursor(name="others") as cursor:
        _limit(connection, deadline)
        cursor.execute(query.encode())
        columns = [
            SqlColumn(name=column.name, type=column.type_display)
            for column in cursor.description or ()
        ]
        # Row by row, for one alone may be huge; and what the statement does to the limit of the
        # next fetch is undone before it.
        while True:
            _limit(connection, deadline)
            row = cursor.fetchone()
            if row is None:
                return SqlAnswer(columns=columns, rows=found, truncated=False)
            values = [as_json(value) for value in row]
            size += len(json.dumps(values))
            if size > MOST_BYTES and not found:
                raise InputError(
                    f"the first row has {size:,} bytes",
                    hint=f"read less of it: {MOST_BYTES:,} are the most",
                )
            if size > MOST_BYTES or len(found) == rows:
                return SqlAnswer(columns=columns, rows=found, truncated=True)
            found.append(values)


def _limit(connection: psycopg.Connection, deadline: float) -> None:
    left_ms = max(1, int((deadline - time.monotonic()) * 1000))
    connection.execute(
        "SELECT pg_catalog.set_config('statement_timeout', %s, true)", [str(left_ms)]
    )


def _clean(statement: str) -> str:
    query = statement.strip()
    if not query:
        raise InputError("the statement is empty", hint=FORMS)
    try:
        query.encode()
    except UnicodeEncodeError:
        valid = False
    else:
        valid = "\0" not in query
    if not valid:
        raise InputError("the statement is not valid text", hint="use UTF-8 without NUL")
    return query


def _failure(error: psycopg.Error, settings: Settings) -> CatalogError:
    reason = " ".join((error.diag.message_primary or str(error)).split())
    match error:
        case errors.QueryCanceled():
            return TooSlowError(
                "the statement took too long and was stopped",
                hint=f"ask for less: {settings.statement_timeout_s:g} s are the most "
                "(SDC_STATEMENT_TIMEOUT_S), unless the reader's role has less",
            )
        case errors.SyntaxError() if "multiple commands" in reason:
            return InputError("there are several statements", hint=FORMS)
        case errors.SyntaxError():
            hint = FORMS
        case errors.InsufficientPrivilege():
            hint = "the catalog's views and search functions can be read, and nothing else"
        case errors.ProtocolViolation():
            hint = "write values into the statement"
        case psycopg.OperationalError():
            return UnavailableError(f"the database server: {reason}", hint="run `sdc doctor`")
        case _:
            hint = "mend the statement"
    given = " ".join((error.diag.message_hint or "").split())
    return InputError(f"the statement cannot be run: {reason}", hint=given or hint)

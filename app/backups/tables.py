"""Rows of whole tables to files and back, by COPY alone: no SQL leaves or enters a backup.

What a backup says decides neither a statement's form nor a name in it. Names are those of the
catalog's own tables, which the backup's are held against; rows are data of COPY, which knows
nothing but values.
"""

import gzip
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from app.backups.schemas import SequenceState, TableRows
from app.database.models import SCHEMA
from app.errors import InputError, UnavailableError

_BLOCK = 1 << 20
# The fastest level: backups are written often and read seldom.
_LEVEL = 1
_COLUMNS = """
SELECT relname, array_agg(attname::text ORDER BY attnum)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = to_regnamespace(:schema) AND relkind = 'r'
  AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
GROUP BY relname ORDER BY relname
"""
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = :schema ORDER BY 1"
# Of every value one text, on every server and in every locale; rows in the order they lie in.
_PLAIN = (
    "SET LOCAL synchronize_seqscans = off",
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL datestyle = 'ISO, YMD'",
    "SET LOCAL intervalstyle = 'postgres'",
    "SET LOCAL extra_float_digits = 3",
    "SET LOCAL bytea_output = 'hex'",
)


def write_tables(
    connection: Connection, folder: Path, on_progress: Callable[[int, int], object]
) -> list[tuple[TableRows, Path]]:
    """Write every table of the catalog to a file of its own, gzipped text of COPY.

    Parameters
    ----------
    connection : Connection
        Its snapshot decides which rows.
    folder : Path
    on_progress : callable
        Called with (tables done, tables in all).

    Returns
    -------
    list of (TableRows, Path)
    """
    written = []
    columns = _columns(connection)
    _read_plainly(connection)
    for done, (name, names) in enumerate(columns.items()):
        on_progress(done, len(columns))
        path = folder / name
        statement = sql.SQL("COPY {} ({}) TO STDOUT").format(_table(name), _listed(names))
        with (
            gzip.open(path, "wb", compresslevel=_LEVEL) as file,
            _driver(connection).cursor() as cursor,
        ):
            with cursor.copy(statement) as copy:
                for block in copy:
                    file.write(block)
            rows = cursor.rowcount
        written.append((TableRows(name=name, columns=names, rows=rows), path))
    on_progress(len(columns), len(columns))
    return written


def sequence_states(connection: Connection) -> list[SequenceState]:
    """Where the numbers of new rows go on, for each sequence of the catalog."""
    found = []
    for name in connection.scalars(text(_SEQUENCES), {"schema": SCHEMA}).all():
        row = _driver(connection).execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(_table(name))
        )
        last, is_called = cast(tuple[int, bool], row.fetchone())
        found.append(SequenceState(name=name, last=last, is_called=is_called))
    return found


def read_tables(
    connection: Connection,
    tables: Sequence[TableRows],
    sequences: Sequence[SequenceState],
    open_rows: Callable[[TableRows], AbstractContextManager[IO[bytes]]],
    on_progress: Callable[[int, int], object],
) -> None:
    """Fill the catalog's tables, all of which are empty, in the connection's transaction.

    Where this user is a superuser rows are taken in as a role that may write rows and nothing else.

    Parameters
    ----------
    connection : Connection
        The caller commits.
    tables, sequences : sequence
        What a backup says that it holds.
    open_rows : callable
        A table's rows, as `write_tables` wrote them.
    on_progress : callable
        As in `write_tables`.

    Raises
    ------
    InputError
        Tables, columns or sequences are not the catalog's own, or rows are other than the backup
        says.
    UnavailableError
        The database refuses rows.
    """
    own = _columns(connection)
    said = {table.name: table for table in tables}
    same = len(said) == len(tables) and said.keys() == own.keys()
    if not same or any(sorted(said[name].columns) != sorted(own[name]) for name in own):
        raise InputError(
            "the backup's tables are not those of its migration", hint="take another backup"
        )
    numbered = connection.scalars(text(_SEQUENCES), {"schema": SCHEMA}).all()
    if sorted(each.name for each in sequences) != sorted(numbered):
        raise InputError(
            "the backup's sequences are not those of its migration", hint="take another backup"
        )
    _read_plainly(connection)
    with _as_who_may_write_rows_alone(connection):
        for done, table in enumerate(tables):
            on_progress(done, len(tables))
            with open_rows(table) as source:
                rows = _fill(connection, table, source)
            if rows != table.rows:
                raise InputError(
                    f"the backup says that {table.name} has {table.rows} rows, it has {rows}",
                    hint="take another backup",
                )
    for state in sequences:
        connection.execute(
            text("SELECT setval(CAST(:name AS regclass), :last, :is_called)"),
            {
                "name": f"{SCHEMA}.{state.name}",
                "last": state.last,
                "is_called": state.is_called,
            },
        )
    on_progress(len(tables), len(tables))


def _fill(connection: Connection, table: TableRows, source: IO[bytes]) -> int:
    """Rows that a table was given."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        _table(table.name), _listed(table.columns)
    )
    try:
        with _driver(connection).cursor() as cursor:
            with cursor.copy(statement) as copy:
                while block := source.read(_BLOCK):
                    copy.write(block)
            return cursor.rowcount
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise
        reason = str(error).splitlines()[0]
        raise UnavailableError(
            f"the database cannot take the backup: {reason}",
            hint="nothing of it was restored; mend that, and restore again",
        ) from error


@contextmanager
def _as_who_may_write_rows_alone(connection: Connection) -> Iterator[None]:
    """Act as a role of this transaction alone, where this user is a superuser."""
    mighty = connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    if not mighty:
        yield
        return
    role = sql.Identifier(f"sdc_restore_{secrets.token_hex(8)}")
    driver = _driver(connection)
    # What it may write is told by its membership, which leaves no trace in any table's rights.
    for statement in (
        "CREATE ROLE {} NOLOGIN INHERIT",
        "GRANT pg_write_all_data TO {}",
        "SET LOCAL ROLE {}",
    ):
        driver.execute(sql.SQL(statement).format(role))
    yield
    # Where the block fails the transaction is rolled back, and the role with it.
    driver.execute("RESET ROLE")
    driver.execute(sql.SQL("DROP ROLE {}").format(role))


def _columns(connection: Connection) -> dict[str, list[str]]:
    """Columns of each table that hold values of their own."""
    found = connection.execute(text(_COLUMNS), {"schema": SCHEMA})
    return {row[0]: row[1] for row in found}


def _read_plainly(connection: Connection) -> None:
    for statement in _PLAIN:
        connection.execute(text(statement))


def _table(name: str) -> sql.Composable:
    return sql.Identifier(SCHEMA, name)


def _listed(names: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _driver(connection: Connection) -> "psycopg.Connection[Any]":
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - a checked-out connection has its driver's
    return cast("psycopg.Connection[Any]", driver)

"""Queries on the catalog as a whole: its runs, whether it is empty, what guards it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Row, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, load_only

from app.database.models import SCHEMA, Dataset, Encoder, Run
from app.errors import UnavailableError

# Qualified by the empty path: what is read here is written into statements.
_QUALIFIED = "SELECT set_config('search_path', 'pg_catalog', true)"
_TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = :schema ORDER BY 1
"""
_REFERENCES = """
SELECT conrelid::regclass::text AS owner, quote_ident(conname) AS name,
       pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE contype = 'f' AND connamespace = to_regnamespace(:schema)
ORDER BY 1, 2
"""


def list_runs(session: Session) -> Sequence[Row[Run, Dataset, Encoder]]:
    """All runs, with dataset and encoder; of a run, what tells where its rows come from."""
    return session.execute(
        select(Run, Dataset, Encoder)
        .options(load_only(Run.id, Run.method, Run.code_version))
        .join(Dataset, Dataset.id == Run.dataset_id)
        .join(Encoder, Encoder.id == Run.encoder_id)
        .order_by(Run.id)
    ).all()


def tables(connection: Connection) -> list[str]:
    """Names of the catalog's tables, quoted; none before the first migration."""
    return list(connection.scalars(text(_TABLES), {"schema": SCHEMA}))


def first_filled(connection: Connection) -> str | None:
    """The first table that has a row; None where the catalog is empty."""
    for table in tables(connection):
        if connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table})")):  # noqa: S608
            return table
    return None


@contextmanager
def unguarded(connection: Connection, store_url: str) -> Iterator[None]:
    """Let rows be loaded in any order, and put the guards back behind them.

    Parameters
    ----------
    connection : Connection
        On an empty catalog at the revision of the rows; the caller commits.
    store_url : str
        Where the decoders' artefacts lie from now on.

    Raises
    ------
    UnavailableError
        A row refers to one that is not there.
    """
    connection.execute(text(_QUALIFIED))
    references = connection.execute(text(_REFERENCES), {"schema": SCHEMA}).all()
    names = tables(connection)
    _run(connection, [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in names])
    _run(
        connection, [f"ALTER TABLE {each.owner} DROP CONSTRAINT {each.name}" for each in references]
    )
    yield
    moved = text(
        f"UPDATE {SCHEMA}.decoder SET artefact_uri = CAST(:store AS text) || '/'"  # noqa: S608
        " || left(artefact_sha256, 2) || '/' || artefact_sha256 || '.safetensors'"
    )
    connection.execute(moved, {"store": store_url})
    try:
        _run(
            connection,
            [
                f"ALTER TABLE {each.owner} ADD CONSTRAINT {each.name} {each.definition}"
                for each in references
            ],
        )
    except IntegrityError as error:
        raise UnavailableError(
            f"the database cannot take the backup: {str(error.orig).splitlines()[0]}",
            hint="nothing of it was restored; take another backup",
        ) from error
    _run(connection, [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in names])
    _run(connection, [f"ANALYZE {table}" for table in names])


def _run(connection: Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)

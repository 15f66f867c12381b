"""Queries on the catalog as a whole: its runs, whether it is empty, what guards it."""

from collections.abc import Sequence

from psycopg import sql
from sqlalchemy import Connection, Row, func, select, text
from sqlalchemy.orm import Session, load_only

from app.database.models import SCHEMA, Dataset, Encoder, Run

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


def export_snapshot(session: Session) -> str:
    """Name of the session's snapshot, by which another connection sees the same rows."""
    return str(session.scalar(select(func.pg_export_snapshot())))


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


def loading_statements(connection: Connection, store_url: str) -> tuple[list[str], list[str]]:
    """What lets rows be loaded in any order, and what puts the guards back behind them.

    Parameters
    ----------
    connection : Connection
        On an empty catalog at the revision of the rows.
    store_url : str
        Where the decoders' artefacts lie from now on.

    Returns
    -------
    before, after : list of str
        SQL statements; references are checked when they come back.
    """
    connection.execute(text(_QUALIFIED))
    references = connection.execute(text(_REFERENCES), {"schema": SCHEMA}).all()
    names = tables(connection)
    before = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in names]
    before += [f"ALTER TABLE {each.owner} DROP CONSTRAINT {each.name}" for each in references]
    moved = sql.SQL(
        "UPDATE {}.decoder SET artefact_uri = {} || '/' || left(artefact_sha256, 2) || '/'"
        " || artefact_sha256 || '.safetensors'"
    ).format(sql.Identifier(SCHEMA), sql.Literal(store_url))
    after = [moved.as_string()]
    after += [
        f"ALTER TABLE {each.owner} ADD CONSTRAINT {each.name} {each.definition}"
        for each in references
    ]
    after += [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in names]
    after += [f"ANALYZE {table}" for table in names]
    return before, after

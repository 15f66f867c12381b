"""What one login as the catalog's reader may take of the server.

Connections, memory and temporary files of the role are bounded, where they are not already; locks
by numbers, of which a server has only so many, are taken from PUBLIC, and in a server of the
catalog's own so is logging in to the databases beside it.
"""

import logging
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from psycopg import errors

from app.settings import get_settings

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

log = logging.getLogger("app.database.migrate")

READER = "catalog_reader"
CONNECTIONS = 20
# Whoever is logged in may set the others anew for themselves; `temp_file_limit` holds.
LIMITS = {
    "work_mem": "'16MB'",
    "hash_mem_multiplier": "1",
    "temp_file_limit": "'1GB'",
    "idle_in_transaction_session_timeout": "'60s'",
}


def upgrade() -> None:
    connection = op.get_bind()
    known, limit, is_superuser = connection.execute(
        sa.text(
            "SELECT ARRAY(SELECT split_part(unnest(setconfig), '=', 1) FROM pg_db_role_setting"
            "             WHERE setrole = pg_roles.oid AND setdatabase = 0), rolconnlimit,"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            " FROM pg_roles WHERE rolname = :name"
        ),
        {"name": READER},
    ).one()
    wanted = [
        f"ALTER ROLE {READER} SET {name} = {value}"
        for name, value in LIMITS.items()
        if name not in known
    ]
    if limit < 0:
        wanted.append(f"ALTER ROLE {READER} CONNECTION LIMIT {CONNECTIONS}")
    locks = connection.scalar(
        sa.text(
            "SELECT string_agg(oid::regprocedure::text, ', ' ORDER BY oid) FROM pg_proc"
            " WHERE pronamespace = 'pg_catalog'::regnamespace"
            " AND proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'"
            " AND has_function_privilege(:name, oid, 'EXECUTE')"
        ),
        {"name": READER},
    )
    if locks:
        wanted.append(f"REVOKE EXECUTE ON FUNCTION {locks} FROM PUBLIC")
    # In a server of others' it is theirs to say who logs in where.
    if is_superuser and get_settings().database_url is None:
        wanted.append("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
    left = [statement for statement in wanted if not _is_done(statement, is_superuser)]
    if left:
        log.warning(
            "what %s may take of the server is not this user's to limit; an administrator runs: %s",
            READER,
            "; ".join(left),
        )


def downgrade() -> None:
    """Nothing: the role is the whole server's, and who had what before is not known."""


def _is_done(statement: str, is_superuser: bool) -> bool:
    if statement.startswith("REVOKE") and not is_superuser:
        # It would be ignored, with a warning of the server's.
        return False
    try:
        with op.get_bind().begin_nested():
            op.execute(statement)
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, errors.InsufficientPrivilege):
            raise
        return False
    return True

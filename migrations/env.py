"""How alembic meets the database: always over the connection that the application hands it."""

from alembic import context

from app.database.models import SCHEMA, Base

connection = context.config.attributes["connection"]


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "schema" or name == SCHEMA


context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table_schema="public",
    include_schemas=True,
    include_name=_ours,
)
with context.begin_transaction():
    context.run_migrations()

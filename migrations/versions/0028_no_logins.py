"""Users and passwords of URLs are taken out of what earlier versions stored.

Since then they are refused before anything is stored; what stood in the addresses of sources is
shown by views and answers. The processes that read such a source are given its login in ~/.netrc,
or in the variables of its service.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Also of a chain of URLs; inside of JSON it ends with its string.
LOGIN = r'://[^/?#\s"]*@'
TEXTS = {
    "dataset": ("source_uri",),
    "ingestion": ("source_uri",),
    "ingestion_schedule": ("source",),
    "ingestion_trigger": ("source",),
    "ingestion_request": ("source", "error", "hint"),
    "ingestion_log": ("message",),
    "audit": ("subject",),
}
VALUES = {
    "dataset": ("configuration",),
    "ingestion": ("report",),
    "ingestion_schedule": ("options", "run_options"),
    "ingestion_trigger": ("options", "run_options", "seen"),
    "ingestion_request": ("options", "run_options"),
    "audit": ("detail",),
}


def upgrade() -> None:
    """Take them out, and leave what has none untouched."""
    for columns, kind in ((TEXTS, "text"), (VALUES, "jsonb")):
        for table, names in columns.items():
            for name in names:
                op.execute(
                    f"UPDATE catalog.{table} SET {name} = CAST("  # noqa: S608 - names of our own
                    f"regexp_replace(CAST({name} AS text), '{LOGIN}', '://', 'g') AS {kind})"
                    f" WHERE CAST({name} AS text) ~ '{LOGIN}'"
                )


def downgrade() -> None:
    """What was taken out is nowhere."""

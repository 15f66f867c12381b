"""How far other seeds find each component again."""

from collections.abc import Sequence
from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = {
    "stability_cosine": sa.Float(),
    "stability_dice": sa.Float(),
    "stability_seeds": sa.Integer(),
}
COMMENT = "Components of current runs: label, nearest terms, whether participants share them"


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("component", sa.Column(name, kind, nullable=True), schema="catalog")
    last = "component.negations"
    further = ", ".join(f"component.{name}" for name in COLUMNS)
    query = _concepts().replace(last, f"{last}, {further}")
    op.execute(f"CREATE OR REPLACE VIEW catalog.concepts AS {query}")
    op.execute(f"COMMENT ON VIEW catalog.concepts IS $${COMMENT}, whether other seeds find them.$$")


def downgrade() -> None:
    # A view loses a column only by being made anew.
    op.execute("DROP VIEW catalog.concepts")
    op.execute(f"CREATE VIEW catalog.concepts AS {_concepts()}")
    op.execute(f"COMMENT ON VIEW catalog.concepts IS $${COMMENT}.$$")
    for name in reversed(COLUMNS):
        op.drop_column("component", name, schema="catalog")


def _concepts() -> str:
    """The view as it was until here."""
    return str(import_module("migrations.versions.0006_methods").VIEWS["concepts"])

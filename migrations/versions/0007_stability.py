"""How far other seeds find each component again."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = ("stability_cosine", "stability_dice", "stability_seeds")

CONCEPTS = """
    SELECT component.id AS component_id, dataset.slug AS dataset, run.id AS run_id,
           encoder.name AS encoder, run.method, component.index, component.label,
           component.terms, component.shared, component.p_value, component.q_value,
           component.agreement,
           ARRAY(SELECT subject.label FROM catalog.component_subject
                 JOIN catalog.subject ON subject.id = component_subject.subject_id
                 WHERE component_id = component.id AND decodes ORDER BY 1) AS subjects
           {further}
    FROM catalog.component
    JOIN catalog.dataset ON dataset.current_run_id = component.run_id
    JOIN catalog.run ON run.id = component.run_id
    JOIN catalog.encoder ON encoder.id = run.encoder_id
"""
COMMENT = "Components of current runs: label, nearest terms, whether participants share them"


def upgrade() -> None:
    for name, kind in zip(COLUMNS, (sa.Float(), sa.Float(), sa.Integer()), strict=True):
        op.add_column("component", sa.Column(name, kind, nullable=True), schema="catalog")
    further = ", ".join(f"component.{name}" for name in COLUMNS)
    op.execute(
        f"CREATE OR REPLACE VIEW catalog.concepts AS {CONCEPTS.format(further=f', {further}')}"
    )
    op.execute(f"COMMENT ON VIEW catalog.concepts IS $${COMMENT}, whether other seeds find them.$$")


def downgrade() -> None:
    # A view loses a column only by being made anew.
    op.execute("DROP VIEW catalog.concepts")
    op.execute(f"CREATE VIEW catalog.concepts AS {CONCEPTS.format(further='')}")
    op.execute(f"COMMENT ON VIEW catalog.concepts IS $${COMMENT}.$$")
    for name in reversed(COLUMNS):
        op.drop_column("component", name, schema="catalog")

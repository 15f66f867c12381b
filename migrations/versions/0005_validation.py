"""Masks held against localisers: every component against every atlas, and the chosen ones."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "component_atlas",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("atlas", sa.Text(), nullable=False),
        sa.Column("auc", sa.Float(), nullable=True),
        sa.Column("dice", sa.Float(), nullable=True),
        sa.Column("p_value", sa.Float(), nullable=True),
        sa.Column("n_voxels", sa.Integer(), nullable=False),
        sa.Column("n_region", sa.Integer(), nullable=False),
        sa.Column("map", sa.Text(), nullable=True),
        sa.Column("rho", sa.Float(), nullable=True),
        _reference("component_atlas", "component_id", "component"),
        _reference("component_atlas", "subject_id", "subject"),
        sa.PrimaryKeyConstraint(
            "component_id", "subject_id", "atlas", name=op.f("pk_component_atlas")
        ),
        schema="catalog",
    )
    op.create_table(
        "validation",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("atlas", sa.Text(), nullable=False),
        sa.Column("component_id", sa.Integer(), nullable=True),
        sa.Column("similarity", sa.Float(), nullable=True),
        sa.Column("subject_id", sa.Integer(), nullable=True),
        sa.Column("region_id", sa.Integer(), nullable=True),
        sa.Column("auc", sa.Float(), nullable=True),
        sa.Column("dice", sa.Float(), nullable=True),
        sa.Column("p_value", sa.Float(), nullable=True),
        sa.Column("q_value", sa.Float(), nullable=True),
        sa.Column("n_voxels", sa.Integer(), nullable=True),
        sa.Column("n_region", sa.Integer(), nullable=True),
        sa.Column("map", sa.Text(), nullable=True),
        sa.Column("rho", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        _reference("validation", "run_id", "run"),
        _reference("validation", "component_id", "component"),
        _reference("validation", "subject_id", "subject"),
        _reference("validation", "region_id", "region"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_validation")),
        sa.UniqueConstraint(
            "run_id",
            "category",
            "subject_id",
            "region_id",
            name=op.f("uq_validation_run_id_category_subject_id_region_id"),
            postgresql_nulls_not_distinct=True,
        ),
        schema="catalog",
    )


def downgrade() -> None:
    op.drop_table("validation", schema="catalog")
    op.drop_table("component_atlas", schema="catalog")


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"catalog.{other}.id"],
        name=op.f(f"fk_{table}_{column}_{other}"),
        ondelete="CASCADE",
    )

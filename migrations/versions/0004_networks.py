"""Each participant's semantic network: linked components, and their communities."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "component_edge",
        sa.Column("component_a_id", sa.Integer(), nullable=False),
        sa.Column("component_b_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("dice", sa.Float(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=False),
        sa.Column("q_value", sa.Float(), nullable=False),
        sa.Column("cosine", sa.Float(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.CheckConstraint(
            "component_a_id < component_b_id", name=op.f("ck_component_edge_ordered")
        ),
        sa.ForeignKeyConstraint(
            ["component_a_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_edge_component_a_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["component_b_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_edge_component_b_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["catalog.subject.id"],
            name=op.f("fk_component_edge_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "component_a_id", "component_b_id", "subject_id", name=op.f("pk_component_edge")
        ),
        schema="catalog",
    )
    op.create_index(
        op.f("ix_component_edge_component_b_id"),
        "component_edge",
        ["component_b_id"],
        unique=False,
        schema="catalog",
    )
    op.create_table(
        "component_community",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("community", sa.Integer(), nullable=False),
        sa.Column("strength", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_community_component_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["catalog.subject.id"],
            name=op.f("fk_component_community_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("component_id", "subject_id", name=op.f("pk_component_community")),
        schema="catalog",
    )


def downgrade() -> None:
    op.drop_table("component_community", schema="catalog")
    op.drop_table("component_edge", schema="catalog")

"""What asks for ingestions by itself: watched folders, and webhooks of other systems."""

from collections.abc import Sequence
from importlib import import_module

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    work = import_module("migrations.versions.0013_ingestion_queue")._work()
    op.create_table(
        "ingestion_trigger",
        *work,
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("settle_s", sa.Integer(), nullable=False),
        sa.Column("seen", JSONB(), server_default="{}", nullable=False),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('watch', 'webhook')", name=op.f("ck_ingestion_trigger_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestion_trigger")),
        schema="catalog",
    )


def downgrade() -> None:
    op.drop_table("ingestion_trigger", schema="catalog")

"""Ingestions that were asked for: the queue, its schedules, and what each one told."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOW = sa.func.now()
TIME = sa.DateTime(timezone=True)


def _work() -> list[sa.Column]:
    """What is to be done, and for whom."""
    return [
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("options", JSONB(), nullable=False),
        sa.Column("replace", sa.Boolean(), nullable=False),
        sa.Column("then_run", sa.Boolean(), nullable=False),
        sa.Column("run_options", JSONB(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("confined", sa.Boolean(), nullable=False),
        sa.Column("datasets", ARRAY(sa.Text()), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "ingestion_schedule",
        *_work(),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("every_s", sa.Integer(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.CheckConstraint(
            "(cron IS NULL) <> (every_s IS NULL)", name=op.f("ck_ingestion_schedule_one_rhythm")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestion_schedule")),
        schema="catalog",
    )
    op.create_table(
        "ingestion_request",
        *_work(),
        sa.Column("schedule_id", sa.Integer(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="1", nullable=False),
        sa.Column("not_before", TIME, server_default=NOW, nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("cancel_asked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("flow_run", sa.Text(), nullable=True),
        sa.Column("progress", sa.Text(), server_default="", nullable=False),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("changed", sa.Boolean(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'submitted', 'running', 'done', 'failed', 'cancelled')",
            name=op.f("ck_ingestion_request_state"),
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["catalog.ingestion_schedule.id"],
            name=op.f("fk_ingestion_request_schedule_id_ingestion_schedule"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["catalog.run.id"],
            name=op.f("fk_ingestion_request_run_id_run"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestion_request")),
        sa.UniqueConstraint("key", name=op.f("uq_ingestion_request_key")),
        schema="catalog",
    )
    op.create_index(
        op.f("ix_ingestion_request_state"), "ingestion_request", ["state"], schema="catalog"
    )
    op.create_table(
        "ingestion_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("request_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", TIME, server_default=NOW, nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["catalog.ingestion_request.id"],
            name=op.f("fk_ingestion_log_request_id_ingestion_request"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestion_log")),
        schema="catalog",
    )
    op.create_index(
        op.f("ix_ingestion_log_request_id"), "ingestion_log", ["request_id"], schema="catalog"
    )


def downgrade() -> None:
    op.drop_table("ingestion_log", schema="catalog")
    op.drop_table("ingestion_request", schema="catalog")
    op.drop_table("ingestion_schedule", schema="catalog")

"""Folds that rotate: the group of stimuli with which each stimulus is tested."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("stimulus", sa.Column("rotation", sa.SmallInteger()), schema="catalog")
    op.create_check_constraint(
        op.f("ck_stimulus_rotation"), "stimulus", "rotation >= 0", schema="catalog"
    )


def downgrade() -> None:
    """The version before reads `fold` alone, which is one rotation's."""
    op.drop_constraint(op.f("ck_stimulus_rotation"), "stimulus", schema="catalog")
    op.drop_column("stimulus", "rotation", schema="catalog")

"""Voxels that newer data do not keep, and runs were computed on."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.errors import UnavailableError

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "voxel",
        sa.Column("kept", sa.Boolean(), server_default=sa.true(), nullable=False),
        schema="catalog",
    )


def downgrade() -> None:
    """Refused while a dataset has voxels that its newest data do not keep."""
    left = op.get_bind().scalar(sa.text("SELECT count(*) FROM catalog.voxel WHERE NOT kept"))
    if left:
        raise UnavailableError(
            f"{left:,} voxels are there for older runs alone, which the version before cannot tell",
            hint="ingest the data again with --replace, which deletes these runs",
        )
    op.drop_column("voxel", "kept", schema="catalog")

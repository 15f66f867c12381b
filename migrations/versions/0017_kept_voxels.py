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


# The version before reads voxels in the order of their numbers, and takes that for the artefacts'.
AMISS = """
SELECT count(*) FROM (
    SELECT kept, row_number() OVER (PARTITION BY subject_id ORDER BY index) AS by_number,
           row_number() OVER (PARTITION BY subject_id ORDER BY i, j, k, index) AS by_place
    FROM catalog.voxel
) AS voxel WHERE NOT kept OR by_number <> by_place
"""


def downgrade() -> None:
    """Refused while a participant has voxels that came, or are no longer kept, with newer data."""
    if amiss := op.get_bind().scalar(sa.text(AMISS)):
        raise UnavailableError(
            f"data have grown: {amiss:,} voxels are not where the version before looks for them",
            hint="restore a backup that the version before made",
        )
    op.drop_column("voxel", "kept", schema="catalog")

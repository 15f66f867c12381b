"""Indexes by which the peaks of a voxel are found: whoever deletes voxels asks for each of them."""

from collections.abc import Sequence

from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = ("component_subject", "component_region")


def upgrade() -> None:
    for table in TABLES:
        op.create_index(
            op.f(f"ix_{table}_peak_voxel_id"), table, ["peak_voxel_id"], schema="catalog"
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_peak_voxel_id"), table, schema="catalog")

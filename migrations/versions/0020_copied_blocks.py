"""Blocks of voxels that are copied before they are compared: fewer waits for memory."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Where a row's next value begins is told by the value before it, so that a row that lies outside
# of the processor's caches is waited for once a value. What DISTINCT lets through it copies, as one
# piece that the processor fetches ahead. Keys are unique: nothing is left out.
# Every column has to be used, if only as one that is distinct: where one is not, PostgreSQL takes
# rows apart before they are copied.
# Blocks of one participant are few enough to stay in the caches, where a copy only costs.
OF_RUN = """(
                                SELECT DISTINCT ON (run_id, subject_id, block) *
                                FROM catalog.voxel_block WHERE run_id = of_run
                            ) AS copied"""
KEY = "subject_id, block"
SAME = """(block.run_id, block.subject_id, block.block)
                         = (of_run, best.subject_id, best.block)"""


def upgrade() -> None:
    # Loads the library: settings of an extension that is not loaded are a superuser's to make.
    op.execute("SELECT '[1]'::vector")
    before = _surer_search()
    before._make_search(before._by_axes(OF_RUN, KEY, SAME))


def downgrade() -> None:
    op.execute("SELECT '[1]'::vector")
    before = _surer_search()
    before._make_search(before._by_axes(before.OF_RUN))


def _surer_search() -> Any:
    return import_module("migrations.versions.0019_surer_search")

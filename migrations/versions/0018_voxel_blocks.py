"""Voxels of a whole run by their first principal axes, sixteen in a row."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC, VECTOR

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEY = ("run_id", "subject_id", "block")
PLACES = range(16)

# A vector of 64 coordinates takes less time to compare than its row takes to read, so that rows
# hold sixteen. The best rows are found by their own best voxel, the best voxels among these by
# their coordinates, and the answer among these by all dimensions.
# Sorted are keys alone: a sort copies what it sorts.
OF_RUN = """
        SELECT array_agg(-(voxel_axis.direction <#> nearest_voxels.direction) ORDER BY axis)
               ::real[]::vector::halfvec
        INTO short FROM catalog.voxel_axis WHERE run_id = of_run;
        IF short IS NOT NULL THEN
            RETURN QUERY
            SELECT near.subject_id, near.index, -near.distance
            FROM (
                SELECT stored.subject_id, stored.index, stored.vector <#> asked AS distance
                FROM (
                    SELECT block.subject_id, 16 * block.block + place.number AS index
                    FROM (
                        SELECT subject_id, block FROM catalog.voxel_block WHERE run_id = of_run
                        ORDER BY least({distances})
                        LIMIT greatest({least_wanted}, {wanted} * nearest_voxels.k)
                    ) AS best
                    JOIN catalog.voxel_block AS block
                      ON (block.run_id, block.subject_id, block.block)
                         = (of_run, best.subject_id, best.block)
                    CROSS JOIN LATERAL (VALUES {places}) AS place(number, coordinates)
                    ORDER BY place.coordinates <#> short
                    LIMIT greatest({least_wanted}, {wanted} * nearest_voxels.k)
                ) AS wanted
                JOIN catalog.voxel_vector AS stored
                  ON (stored.run_id, stored.subject_id, stored.index)
                     = (of_run, wanted.subject_id, wanted.index)
                ORDER BY distance, stored.subject_id, stored.index
                LIMIT nearest_voxels.k
            ) AS near
            ORDER BY near.distance, near.subject_id, near.index;
        ELSE
            RETURN QUERY {of_all}
        END IF;"""
OF_ALL = """FROM catalog.voxel_vector AS stored
            WHERE stored.run_id = of_run"""

# Scans of bitmaps and of the whole table would read the rows in an order that memory is slow at,
# and processes that scan together take longer to start than one takes to scan.
NEAREST_VOXELS = """
CREATE OR REPLACE FUNCTION catalog.nearest_voxels(
    of_run int, direction vector, k int, of_subject int DEFAULT NULL, of_region int DEFAULT NULL
) RETURNS TABLE (subject_id int, index int, similarity double precision)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = {path}
SET enable_bitmapscan = off
SET enable_seqscan = off
SET max_parallel_workers_per_gather = 0
AS $$
#variable_conflict use_column
DECLARE
    asked halfvec := l2_normalize(direction)::halfvec;
    short halfvec;
BEGIN
    IF of_region IS NOT NULL THEN
        RETURN QUERY {of_region}
    ELSIF of_subject IS NOT NULL THEN
        RETURN QUERY {of_subject}
    ELSE
        {of_run}
    END IF;
END $$
"""
# Of each run, for each of the k: coordinates along 64 axes order voxels less well than all
# dimensions do (docs/benchmarks.md).
WANTED, LEAST_WANTED = 8, 100


def upgrade() -> None:
    # Loads the library: settings of an extension that is not loaded are a superuser's to make.
    op.execute("SELECT '[1]'::vector")
    _migration("0011_voxel_search")._drop_indexes()
    op.create_table(
        "voxel_axis",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("catalog.run.id", ondelete="CASCADE")),
        sa.Column("axis", sa.Integer(), nullable=False),
        sa.Column("direction", VECTOR(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "axis"),
        schema="catalog",
    )
    _make_blocks(len(PLACES))
    _make_search()


def _make_blocks(places: int) -> None:
    shorts = [f"short_{number}" for number in range(places)]
    op.create_table(
        "voxel_block",
        *(sa.Column(name, sa.Integer(), nullable=False) for name in KEY),
        *(sa.Column(name, HALFVEC(), nullable=False) for name in shorts),
        sa.PrimaryKeyConstraint(*KEY),
        sa.ForeignKeyConstraint(
            ["run_id", "subject_id"],
            ["catalog.decoder.run_id", "catalog.decoder.subject_id"],
            ondelete="CASCADE",
        ),
        schema="catalog",
    )
    for name in shorts:
        op.execute(f"ALTER TABLE catalog.voxel_block ALTER {name} SET STORAGE PLAIN")


def _make_search() -> None:
    inside = _migration("0012_voxels_compared_once")
    op.execute(
        NEAREST_VOXELS.format(
            path=_migration("0011_voxel_search")._path(),
            of_region=inside.INSIDE.format(rows=inside.OF_REGION),
            of_subject=inside.INSIDE.format(rows=inside.OF_SUBJECT),
            of_run=OF_RUN.format(
                distances=", ".join(f"short_{n} <#> short" for n in PLACES),
                places=", ".join(f"({n}, block.short_{n})" for n in PLACES),
                wanted=WANTED,
                least_wanted=LEAST_WANTED,
                of_all=inside.INSIDE.format(rows=OF_ALL),
            ),
        )
    )


def downgrade() -> None:
    op.execute("SELECT '[1]'::vector")
    inside, search = _migration("0012_voxels_compared_once"), _migration("0011_voxel_search")
    made = inside.NEAREST_VOXELS.format(
        path=search._path(),
        ef_search=search.EF_SEARCH,
        of_region=inside.INSIDE.format(rows=inside.OF_REGION),
        of_subject=inside.INSIDE.format(rows=inside.OF_SUBJECT),
    )
    op.execute(made)
    op.drop_table("voxel_block", schema="catalog")
    op.drop_table("voxel_axis", schema="catalog")


def _migration(name: str) -> Any:
    return import_module(f"migrations.versions.{name}")

"""Voxels of a participant or a region: one inner product each."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


# The similarity is made of the distance that the rows were ordered by: told as an expression of
# its own it would be computed beside it, for every voxel, before they are sorted.
INSIDE = """
        SELECT near.subject_id, near.index, -near.distance
        FROM (
            SELECT stored.subject_id, stored.index, stored.vector <#> asked AS distance
            {rows}
            ORDER BY distance, stored.subject_id, stored.index
            LIMIT nearest_voxels.k
        ) AS near
        ORDER BY near.distance, near.subject_id, near.index;
"""
OF_REGION = """FROM catalog.voxel_region
            JOIN catalog.voxel ON voxel.id = voxel_region.voxel_id
            JOIN catalog.voxel_vector AS stored
              ON (stored.run_id, stored.subject_id, stored.index)
                 = (of_run, voxel.subject_id, voxel.index)
            WHERE voxel_region.region_id = of_region
              AND (of_subject IS NULL OR voxel.subject_id = of_subject)"""
OF_SUBJECT = """FROM catalog.voxel_vector AS stored
            WHERE stored.run_id = of_run AND stored.subject_id = of_subject"""

# The index of a run is found by its literal number and dimension, so the statement is made up of
# them. Scans of bitmaps and of the whole table would read the rows in an order that memory is
# slow at.
NEAREST_VOXELS = """
CREATE OR REPLACE FUNCTION catalog.nearest_voxels(
    of_run int, direction vector, k int, of_subject int DEFAULT NULL, of_region int DEFAULT NULL
) RETURNS TABLE (subject_id int, index int, similarity double precision)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = {path}
SET enable_bitmapscan = off
SET enable_seqscan = off
SET hnsw.iterative_scan = strict_order
SET hnsw.ef_search = {ef_search}
AS $$
#variable_conflict use_column
DECLARE
    asked halfvec := l2_normalize(direction)::halfvec;
BEGIN
    IF of_region IS NOT NULL THEN
        RETURN QUERY {of_region}
    ELSIF of_subject IS NOT NULL THEN
        RETURN QUERY {of_subject}
    ELSE
        PERFORM set_config(
            'hnsw.ef_search', least(1000, greatest({ef_search}, 40 * k))::text, true
        );
        RETURN QUERY EXECUTE format(
            'SELECT subject_id, index, -(vector::halfvec(%1$s) <#> $1) FROM catalog.voxel_vector'
            ' WHERE run_id = %2$s ORDER BY vector::halfvec(%1$s) <#> $1 LIMIT $2',
            vector_dims(direction), of_run
        ) USING asked, k;
    END IF;
END $$
"""


def upgrade() -> None:
    # Loads the library: settings of an extension that is not loaded are a superuser's to make.
    op.execute("SELECT '[1]'::vector")
    before = _before()
    op.execute(
        NEAREST_VOXELS.format(
            path=before._path(),
            ef_search=before.EF_SEARCH,
            of_region=INSIDE.format(rows=OF_REGION),
            of_subject=INSIDE.format(rows=OF_SUBJECT),
        )
    )


def downgrade() -> None:
    before = _before()
    op.execute("SELECT '[1]'::vector")
    made = before.NEAREST_VOXELS.format(path=before._path(), ef_search=before.EF_SEARCH)
    op.execute(made.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def _before() -> Any:
    return import_module("migrations.versions.0011_voxel_search")

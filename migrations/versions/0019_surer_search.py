"""Voxels of a participant by principal axes too, and how sure that is."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Rows of so many fit a page of 8 kB in twos, with 80 coordinates each.
PLACES = range(24)

# A voxel's similarity is that along the axes that it has coordinates along, and a rest. Its mean
# square over voxels is known for any prompt, from the voxels' mean squares along the next axes and,
# as no axis after these has a larger one, the last of them. Voxels that are not compared in all
# dimensions are less near along the axes than those that are: to be among the nearest, their rest
# would have to be so many times its root mean square.
# Of participants every one of the nearest is wanted, and of runs nearly every one.
SURE_OF_SUBJECT, SURE_OF_RUN = 4, 2

# Candidates for each of the k, and the least of them.
CANDIDATES_OF_SUBJECT, LEAST_OF_SUBJECT = 6, 100
CANDIDATES_OF_RUN, LEAST_OF_RUN = 4, 64

# The best blocks are found by their own best voxel; each holds one candidate at least, so that
# all that are as near as the last block's best are candidates, and these are few more than asked.
# Candidates are looked up one by one also before a first ANALYZE, when the planner takes voxels for
# few.
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
    unit vector := l2_normalize(direction);
    asked halfvec := unit::halfvec;
    short halfvec;
    rest double precision;
    candidates int;
    sure double precision;
    subjects int[];
    indices int[];
    distances double precision[];
    gap double precision;
BEGIN
    IF of_region IS NOT NULL THEN
        RETURN QUERY {of_region}
        RETURN;
    END IF;
    SELECT (array_agg(along ORDER BY axis) FILTER (WHERE rest_square IS NULL))
           ::real[]::vector::halfvec,
           sqrt(coalesce(
               sum(rest_square * along ^ 2) + min(rest_square) * greatest(0, 1 - sum(along ^ 2)), 0
           ))
    INTO short, rest
    FROM (
        SELECT axis, rest_square, -(voxel_axis.direction <#> unit) AS along
        FROM catalog.voxel_axis WHERE run_id = of_run
    ) AS axes;
    IF short IS NOT NULL AND of_subject IS NOT NULL THEN
        candidates := greatest({least_of_subject}, {candidates_of_subject} * k);
        sure := {sure_of_subject};
        {by_axes_of_subject}
    ELSIF short IS NOT NULL THEN
        candidates := greatest({least_of_run}, {candidates_of_run} * k);
        sure := {sure_of_run};
        {by_axes_of_run}
    END IF;
    IF gap >= 0 THEN
        RETURN QUERY SELECT * FROM unnest(subjects, indices, distances) LIMIT k;
    ELSIF of_subject IS NOT NULL THEN
        RETURN QUERY {of_subject}
    ELSE
        RETURN QUERY {of_run}
    END IF;
END $$
"""
BY_AXES = """
        SELECT array_agg(each.subject_id), array_agg(each.index), array_agg(-each.distance),
               min(each.farthest) - max(each.distance) FILTER (WHERE each.place = k) - sure * rest
        INTO subjects, indices, distances, gap
        FROM (
            SELECT wanted.subject_id, wanted.index, wanted.farthest, stored.distance,
                   row_number() OVER (
                       ORDER BY stored.distance, wanted.subject_id, wanted.index
                   ) AS place
            FROM (
                SELECT block.subject_id, {places} * block.block + unnest(numbers) AS index,
                       farthest
                FROM (
                    SELECT block.subject_id, block.block, best.farthest,
                           array_remove(ARRAY[{numbers}], NULL) AS numbers
                    FROM (
                        SELECT {key}, max(nearest) OVER () AS farthest
                        FROM (
                            SELECT {key}, least({distances}) AS nearest
                            FROM {blocks}
                            ORDER BY nearest LIMIT candidates
                        ) AS first
                    ) AS best
                    JOIN catalog.voxel_block AS block ON {same}
                    OFFSET 0
                ) AS block
            ) AS wanted
            CROSS JOIN LATERAL (
                SELECT vector <#> asked AS distance FROM catalog.voxel_vector
                WHERE (run_id, subject_id, index) = (of_run, wanted.subject_id, wanted.index)
                OFFSET 0
            ) AS stored
            ORDER BY place
        ) AS each;"""
OF_SUBJECT = "catalog.voxel_block WHERE run_id = of_run AND subject_id = of_subject"
OF_RUN = "catalog.voxel_block WHERE run_id = of_run"

# Rows of more than 2 kB are otherwise written elsewhere in pieces, and take five times as long to
# read as to compare: 512 dimensions in single precision, 1,024 in half.
LONG = (("voxel_axis", "direction"), ("voxel_vector", "vector"))


def upgrade() -> None:
    # Loads the library: settings of an extension that is not loaded are a superuser's to make.
    op.execute("SELECT '[1]'::vector")
    before = _migration("0018_voxel_blocks")
    _drop_index()
    before._make_blocks(len(PLACES))
    for table, column in LONG:
        op.execute(f"ALTER TABLE catalog.{table} ALTER {column} SET STORAGE MAIN")
    op.add_column("voxel_axis", sa.Column("rest_square", sa.REAL()), schema="catalog")
    _make_search(_by_axes(OF_RUN))


def downgrade() -> None:
    op.execute("SELECT '[1]'::vector")
    before = _migration("0018_voxel_blocks")
    _drop_index()
    op.drop_column("voxel_axis", "rest_square", schema="catalog")
    for table, column in LONG:
        op.execute(f"ALTER TABLE catalog.{table} ALTER {column} SET STORAGE EXTERNAL")
    before._make_blocks(len(before.PLACES))
    before._make_search()


def _make_search(by_axes_of_run: str) -> None:
    inside = _migration("0012_voxels_compared_once")
    op.execute(
        NEAREST_VOXELS.format(
            path=_migration("0011_voxel_search")._path(),
            of_region=inside.INSIDE.format(rows=inside.OF_REGION),
            of_subject=inside.INSIDE.format(rows=inside.OF_SUBJECT),
            of_run=inside.INSIDE.format(rows=_migration("0018_voxel_blocks").OF_ALL),
            by_axes_of_subject=_by_axes(OF_SUBJECT),
            by_axes_of_run=by_axes_of_run,
            sure_of_subject=SURE_OF_SUBJECT,
            sure_of_run=SURE_OF_RUN,
            candidates_of_subject=CANDIDATES_OF_SUBJECT,
            candidates_of_run=CANDIDATES_OF_RUN,
            least_of_subject=LEAST_OF_SUBJECT,
            least_of_run=LEAST_OF_RUN,
        )
    )


def _by_axes(blocks: str, key: str = "ctid", same: str = "block.ctid = best.ctid") -> str:
    number = "CASE WHEN block.short_{0} <#> short <= farthest THEN {0} END"
    return BY_AXES.format(
        places=len(PLACES),
        distances=", ".join(f"short_{n} <#> short" for n in PLACES),
        numbers=", ".join(number.format(n) for n in PLACES),
        blocks=blocks,
        key=key,
        same=same,
    )


def _drop_index() -> None:
    """Both have to be made anew, as the axes are others."""
    op.drop_table("voxel_block", schema="catalog")
    op.execute("DELETE FROM catalog.voxel_axis")


def _migration(name: str) -> Any:
    return import_module(f"migrations.versions.{name}")

"""Voxels by prompt in a participant or a region, and an index of each run that has many."""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

READER = "catalog_reader"
GUARD = "catalog.may_read(dataset.embargoed)"

# Inner products of unit vectors are cosines, in half of the arithmetic. A half has no precision
# left for small weights, and their length says nothing that is asked here.
# Checked by the same product: the norm's own function would take a third of a bulk write's time.
UNIT = "CHECK ((vector <#> vector) BETWEEN -1.02 AND -0.98)"

# A page's rows lie backwards in memory, the first one last. Written from the last voxel to the
# first, they are read from front to back by a scan of the key, which memory is quick at: a scan of
# all voxels of a participant then takes little more than half of the time.
REWRITE = """
CREATE TEMPORARY TABLE moved ON COMMIT DROP AS
SELECT run_id, subject_id, index, encoder_id, l2_normalize(vector) AS vector
FROM catalog.voxel_vector WHERE l2_norm(vector) > 0;
TRUNCATE catalog.voxel_vector;
ALTER TABLE catalog.voxel_vector ADD CONSTRAINT ck_voxel_vector_unit {unit};
INSERT INTO catalog.voxel_vector
SELECT run_id, subject_id, index, encoder_id, vector FROM moved
ORDER BY run_id, subject_id, index DESC;
"""

# The index of a run is found by its literal number and dimension, so the statement is made up of
# them. Inside of a participant or a region every voxel is compared: an index of the whole run
# would have to be read far beyond k to find enough of theirs. Scans of bitmaps and of the whole
# table would read the rows in an order that memory is slow at.
NEAREST_VOXELS = """
CREATE FUNCTION catalog.nearest_voxels(
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
        RETURN QUERY
        SELECT stored.subject_id, stored.index, -(stored.vector <#> asked)
        FROM catalog.voxel_region
        JOIN catalog.voxel ON voxel.id = voxel_region.voxel_id
        JOIN catalog.voxel_vector AS stored
          ON (stored.run_id, stored.subject_id, stored.index)
             = (of_run, voxel.subject_id, voxel.index)
        WHERE voxel_region.region_id = of_region
          AND (of_subject IS NULL OR voxel.subject_id = of_subject)
        ORDER BY stored.vector <#> asked, stored.subject_id, stored.index
        LIMIT nearest_voxels.k;
    ELSIF of_subject IS NOT NULL THEN
        RETURN QUERY
        SELECT stored.subject_id, stored.index, -(stored.vector <#> asked)
        FROM catalog.voxel_vector AS stored
        WHERE stored.run_id = of_run AND stored.subject_id = of_subject
        ORDER BY stored.vector <#> asked, stored.index
        LIMIT nearest_voxels.k;
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
# Voxels' weights fill many dimensions, and a prompt is near to none of them: fewer candidates miss
# one in ten of the nearest (docs/benchmarks.md).
EF_SEARCH = 400

OF_DATASET = "search_voxels(prompt text, k int, of_dataset text)"
OF_PLACE = "search_voxels(prompt text, k int, of_dataset text, of_subject text, of_region text)"
SEARCH_VOXELS = """
RETURNS TABLE (voxel_id bigint, dataset text, run_id int, subject text,
               similarity double precision, x real, y real, z real,
               mni_x real, mni_y real, mni_z real, method text)
{kind} AS $$
    SELECT voxel.id, dataset.slug, run.id, subject.label, found.similarity,
           voxel.x, voxel.y, voxel.z, voxel.mni_x, voxel.mni_y, voxel.mni_z, run.method
    FROM catalog.prompt_vectors(prompt, of_dataset) AS asked
    JOIN catalog.run ON run.encoder_id = asked.encoder_id
    JOIN catalog.dataset ON dataset.current_run_id = run.id AND {guard}
    LEFT JOIN catalog.subject AS wanted
      ON wanted.dataset_id = dataset.id AND wanted.label = of_subject
    LEFT JOIN catalog.region
      ON region.dataset_id = dataset.id AND region.atlas || ':' || region.name = of_region
    CROSS JOIN LATERAL catalog.nearest_voxels(
        run.id, asked.direction, search_voxels.k, wanted.id, region.id
    ) AS found
    JOIN catalog.voxel ON (voxel.subject_id, voxel.index) = (found.subject_id, found.index)
    JOIN catalog.subject ON subject.id = voxel.subject_id
    WHERE (of_dataset IS NULL OR dataset.slug = of_dataset)
      AND (of_subject IS NULL OR wanted.id IS NOT NULL)
      AND (of_region IS NULL OR region.id IS NOT NULL)
    ORDER BY found.similarity DESC, voxel.id
    LIMIT search_voxels.k
$$
"""
COMMENTS = {
    OF_PLACE: "The k voxels of a dataset, of its participant of_subject and its region of_region"
    " (told as atlas:region) alone where these are not null, whose decoder weights point nearest to"
    " a prompt, best first; as search_voxels(prompt, k). Inside of a participant or a region all"
    " voxels are compared.",
    "nearest_voxels(of_run int, direction vector, k int, of_subject int, of_region int)": "The k"
    " voxels of a run, of one participant or one region alone where these are not null, whose"
    " vectors point nearest to a direction, best first. similarity: cosine, -1 to 1. Where the"
    " whole run is asked and has an index, nearly all of the nearest are found, and else all.",
}


def upgrade() -> None:
    # Loads the library: settings of an extension that is not loaded are a superuser's to make.
    op.execute("SELECT '[1]'::vector")
    op.execute(REWRITE.format(unit=UNIT))
    path = _path()
    op.execute(NEAREST_VOXELS.format(path=path, ef_search=EF_SEARCH))
    # The one of three parameters would fit the same calls.
    op.execute(f"DROP FUNCTION catalog.{OF_DATASET}")
    kind = f"LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {path}"
    signature = re.sub("(of_subject|of_region) text", r"\1 text DEFAULT NULL", OF_PLACE)
    body = SEARCH_VOXELS.format(kind=kind, guard=GUARD)
    op.execute(f"CREATE FUNCTION catalog.{signature} {body}")
    for bare, comment in COMMENTS.items():
        op.execute(f"COMMENT ON FUNCTION catalog.{bare} IS $${comment}$$")
        op.execute(f"REVOKE EXECUTE ON FUNCTION catalog.{bare} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION catalog.{OF_PLACE} TO {READER}")


def downgrade() -> None:
    """Everything but the vectors' length and order, which nothing before depends on."""
    _drop_indexes()
    for bare in COMMENTS:
        op.execute(f"DROP FUNCTION catalog.{bare}")
    import_module("migrations.versions.0010_one_encoder").make_search("search_voxels")
    op.drop_constraint(op.f("ck_voxel_vector_unit"), "voxel_vector", schema="catalog")


def _drop_indexes() -> None:
    op.execute("""
        DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT indexname FROM pg_indexes
                        WHERE schemaname = 'catalog' AND tablename = 'voxel_vector'
                          AND indexname LIKE 'voxel\\_vector\\_run\\_%'
            LOOP EXECUTE format('DROP INDEX catalog.%I', name); END LOOP;
        END $$
    """)


def _path() -> str:
    return f"pg_catalog, {_migration('0008_reader')._schema_of_vectors()}, pg_temp"


def _migration(name: str) -> Any:
    return import_module(f"migrations.versions.{name}")

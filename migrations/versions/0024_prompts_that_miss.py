"""A prompt can miss, and regions that carry a concept come before those that do not.

`catalog.match_prompt` tells whether any concept of a current run is near to a prompt, as
`app.search.best_match` does. `catalog.search_regions` keeps its columns; of a participant's region
it tells a concept that the region carries before others, and such regions before others.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

READER = "catalog_reader"
LEVEL = "coalesce(CAST(run.configuration #>> '{statistics,level}' AS double precision), 0.05)"

SEARCH_REGIONS = """
CREATE OR REPLACE FUNCTION catalog.search_regions(prompt text, k int, of_dataset text)
    RETURNS TABLE (dataset text, run_id int, subject text, atlas text, region text,
                   component_id int, score double precision, auc double precision,
                   p_value double precision, q_value double precision, n_voxels int, method text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {path} AS $$
{body}
$$
"""
CARRYING_FIRST = f"""
    SELECT best.slug, best.run_id, best.label, best.atlas, best.name, best.component_id,
           best.score, best.auc, best.p_value, best.q_value, best.n_voxels, best.method
    FROM (
        SELECT DISTINCT ON (dataset.id, subject.id, region.id)
               dataset.slug, found.run_id, subject.label, region.atlas, region.name,
               found.component_id, found.similarity * (2 * overlap.auc - 1) AS score,
               overlap.auc, overlap.p_value, overlap.q_value, overlap.n_voxels, found.method,
               overlap.q_value <= {LEVEL} AS carries
        FROM catalog.search_concepts(prompt, 10, of_dataset) AS found
        JOIN catalog.run ON run.id = found.run_id
        JOIN catalog.component_region AS overlap ON overlap.component_id = found.component_id
        JOIN catalog.subject ON subject.id = overlap.subject_id
        JOIN catalog.region ON region.id = overlap.region_id
        JOIN catalog.dataset ON dataset.id = subject.dataset_id
        WHERE found.similarity > 0
        ORDER BY dataset.id, subject.id, region.id, carries DESC, score DESC
    ) AS best
    ORDER BY best.carries DESC, best.score DESC, 1, 3, 4, 5
    LIMIT k
"""  # noqa: S608
BY_SCORE = """
            SELECT * FROM (
                SELECT DISTINCT ON (dataset.id, subject.id, region.id)
                       dataset.slug, found.run_id, subject.label, region.atlas, region.name,
                       found.component_id, found.similarity * (2 * overlap.auc - 1) AS score,
                       overlap.auc, overlap.p_value, overlap.q_value, overlap.n_voxels,
                       found.method
                FROM catalog.search_concepts(prompt, 10, of_dataset) AS found
                JOIN catalog.component_region AS overlap
                  ON overlap.component_id = found.component_id
                JOIN catalog.subject ON subject.id = overlap.subject_id
                JOIN catalog.region ON region.id = overlap.region_id
                JOIN catalog.dataset ON dataset.id = subject.dataset_id
                WHERE found.similarity > 0
                ORDER BY dataset.id, subject.id, region.id, score DESC
            ) AS best
            ORDER BY best.score DESC, 1, 3, 4, 5
            LIMIT k
"""

UNKNOWN = "An unknown prompt is an error whose hint names the command that adds it."
OF_DATASET = (
    " The same of one dataset, which must be named where datasets of several encoders have a "
    "current run; null is all."
)
SCORED = (
    "score: similarity x (2 AUC - 1), -1 to 1; auc: {auc}, 0 to 1; p_value and q_value: of the "
    "AUC, 0 to 1; n_voxels: members of the mask inside the region. " + UNKNOWN
)
# What was said of search_regions until here, and from here on.
REGION_COMMENTS = (
    "The k regions that carry the ten concepts nearest to a prompt, best first. "
    + SCORED.format(auc="of the concept's mask as a guess at the region's voxels"),
    "The k regions by how well they carry the ten concepts nearest to a prompt: first those that "
    "carry one, whose q_value is at most the run's level (0.05 if it was not set), then others, "
    "which are no finding; the best first of either. "
    + SCORED.format(
        auc="area under the curve, the voxels in the order of their responses as a guess at the "
        "region's"
    ),
)

MATCH = "match_prompt(prompt text, of_dataset text)"
MATCH_PROMPT = f"""
CREATE FUNCTION catalog.match_prompt(prompt text, of_dataset text DEFAULT NULL)
    RETURNS TABLE (dataset text, run_id int, encoder text, matched boolean,
                   p_value double precision, reason text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {{path}} AS $$
    WITH asked AS MATERIALIZED (
        SELECT encoder.id, encoder.name, encoder.text_mean, found.direction
        FROM catalog.prompt_vectors(prompt, of_dataset) AS found
        JOIN catalog.encoder ON encoder.id = found.encoder_id
    ),
    runs AS MATERIALIZED (
        SELECT run.id, dataset.slug, {LEVEL} AS level
        FROM asked
        JOIN catalog.run ON run.encoder_id = asked.id
        JOIN catalog.dataset ON dataset.current_run_id = run.id
         AND (of_dataset IS NULL OR dataset.slug = of_dataset)
         AND catalog.may_read(dataset.embargoed)
    ),
    words AS MATERIALIZED (
        SELECT oldest.id, oldest.vector - asked.text_mean AS vector
        FROM (
            SELECT term.id, term.vector FROM catalog.term
            WHERE term.encoder_id = (SELECT asked.id FROM asked) AND term.in_vocabulary
            ORDER BY term.id LIMIT 1000
        ) AS oldest, asked
        WHERE vector_norm(oldest.vector - asked.text_mean) > 1e-6
    ),
    near AS MATERIALIZED (
        SELECT runs.id AS run, component.id AS component, words.id AS word,
               1 - (component.vector <=> words.vector) AS similarity
        FROM runs JOIN catalog.component ON component.run_id = runs.id CROSS JOIN words
    ),
    medians AS MATERIALIZED (
        SELECT near.component,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY near.similarity) AS middle
        FROM near GROUP BY near.component
    ),
    mirrored AS MATERIALIZED (
        SELECT near.run, near.word, max(medians.middle - near.similarity) AS best
        FROM near JOIN medians USING (component) GROUP BY near.run, near.word
    ),
    told AS (
        SELECT runs.id, max(1 - (component.vector <=> asked.direction) - medians.middle) AS best
        FROM asked, runs
        JOIN catalog.component ON component.run_id = runs.id
        JOIN medians ON medians.component = component.id
        GROUP BY runs.id
    ),
    counted AS (SELECT count(*) AS words FROM words)
    SELECT runs.slug, runs.id, asked.name, measured.p_value <= runs.level, measured.p_value,
           CASE WHEN measured.p_value IS NOT NULL THEN NULL
                WHEN NOT EXISTS (SELECT FROM catalog.component WHERE component.run_id = runs.id)
                THEN 'the run has no concepts'
                ELSE format('the encoder''s vocabulary has %s words, and at least 100 are needed '
                            'to tell what unrelated prompts get', counted.words)
           END
    FROM asked, counted, runs
    LEFT JOIN told ON told.id = runs.id
    LEFT JOIN LATERAL (
        SELECT (1 + count(*) FILTER (WHERE mirrored.best >= told.best))
               / (1 + count(*))::double precision AS p_value
        FROM mirrored WHERE mirrored.run = runs.id HAVING count(*) >= 100
    ) AS measured ON true
    ORDER BY measured.p_value, runs.slug
    $$
"""  # noqa: S608
MATCH_COMMENT = (
    "Whether any concept of a current run is near to a prompt, a row for each run. p_value: of the "
    "best similarity, against the best that unrelated words get, the encoder's 1,000 oldest words "
    "mirrored at each concept's median, 0 to 1; matched: whether it is at most the run's level "
    "(0.05 if it was not set); reason: why it was not measured, null where it was. of_dataset must "
    "be named where datasets of several encoders have a current run; null is all. " + UNKNOWN
)


def upgrade() -> None:
    path = _path()
    op.execute(SEARCH_REGIONS.format(path=path, body=CARRYING_FIRST))
    _comment(1)
    op.execute(MATCH_PROMPT.replace("{path}", path))
    op.execute(f"COMMENT ON FUNCTION catalog.{MATCH} IS $${MATCH_COMMENT}$$")
    op.execute(f"REVOKE EXECUTE ON FUNCTION catalog.{MATCH} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION catalog.{MATCH} TO {READER}")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION catalog.{MATCH}")
    op.execute(SEARCH_REGIONS.format(path=_path(), body=BY_SCORE))
    _comment(0)


def _comment(when: int) -> None:
    """Describe search_regions as it was until here (0), or from here on (1)."""
    told = REGION_COMMENTS[when]
    name = "catalog.search_regions(prompt text, k int"
    op.execute(f"COMMENT ON FUNCTION {name}) IS $${told}$$")
    op.execute(f"COMMENT ON FUNCTION {name}, of_dataset text) IS $${told}{OF_DATASET}$$")


def _path() -> str:
    schema = op.get_bind().scalar(
        sa.text(
            "SELECT quote_ident(nspname) FROM pg_extension"
            " JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
        )
    )
    return f"pg_catalog, {schema}, pg_temp"

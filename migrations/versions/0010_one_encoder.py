"""Searches in SQL answer from one encoder's space, and from one dataset where it is named."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SEARCHES = ("search_concepts", "search_regions", "search_voxels")
# A function of its own: one that got a further argument would be another to the views of labs
# that call it.
OF_DATASET = "(prompt text, k int, of_dataset text)"
PROMPT_VECTORS = "prompt_vectors(prompt text, of_dataset text)"

# How near a prompt is in one space says nothing of how near it is in another.
ONE_ENCODER = """
RETURNS TABLE (encoder_id int, direction vector)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    asked record;
BEGIN
    SELECT array_agg(DISTINCT run.encoder_id) AS encoders,
           string_agg(place.slug, ', ' ORDER BY place.slug) AS names
    INTO asked
    FROM catalog.dataset AS place JOIN catalog.run ON run.id = place.current_run_id
    WHERE catalog.may_read(place.embargoed) AND (of_dataset IS NULL OR place.slug = of_dataset);
    IF of_dataset IS NOT NULL AND asked.encoders IS NULL THEN
        RAISE EXCEPTION 'no dataset "%" has a published run', left(of_dataset, 80)
        USING HINT = 'SELECT dataset FROM catalog.runs tells those that have',
              ERRCODE = 'no_data_found';
    ELSIF cardinality(asked.encoders) > 1 THEN
        RAISE EXCEPTION 'datasets of several encoders can answer, and none is named'
        USING HINT = format('name one as the third argument: %s', asked.names),
              ERRCODE = 'ambiguous_parameter';
    END IF;
    RETURN QUERY
    SELECT term.encoder_id, term.vector - encoder.text_mean
    FROM catalog.term JOIN catalog.encoder ON encoder.id = term.encoder_id
    WHERE term.encoder_id = ANY (asked.encoders)
      AND term.text = btrim(prompt) AND term.template = '{}';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the prompt "%" has no vector yet', left(prompt, 80)
        USING HINT = format('run: sdc terms add %L', left(prompt, 80)),
              ERRCODE = 'no_data_found';
    END IF;
END $$
"""

COMMENT = (
    "The same of one dataset, which must be named where datasets of several encoders have a "
    "current run; null is all."
)


def upgrade() -> None:
    older = _reader()
    bodies = older.guarded_functions()
    op.execute(f"CREATE FUNCTION catalog.{PROMPT_VECTORS} {ONE_ENCODER}")
    _own(
        PROMPT_VECTORS,
        "A prompt in the space of the encoder that the current runs use, its mean taken off; no "
        f"unit vector. {older.PROMPT}",
    )
    for name in SEARCHES:
        make_search(name)
        bare = f"{name}{older.ARGUMENTS}"
        head, _, _ = bodies[bare].partition("AS $$")
        all_datasets = f"SELECT * FROM catalog.{name}(prompt, k, NULL)"  # noqa: S608
        _replace(bare, f"{head} AS $$ {all_datasets} $$")
    op.execute(f"DROP FUNCTION catalog.{older.PROMPT_VECTORS}")


def make_search(name: str) -> None:
    """Make the function of that name that searches one dataset."""
    older = _reader()
    bare = f"{name}{older.ARGUMENTS}"
    condition, comment = older.CONTRACT[bare]
    narrowed = (
        older.guarded_functions()[bare]
        .replace("_vectors(prompt)", "_vectors(prompt, of_dataset)")
        .replace("search_concepts(prompt, 10)", "search_concepts(prompt, 10, of_dataset)")
    )
    if condition is not None:
        named = "(of_dataset IS NULL OR dataset.slug = of_dataset)"
        narrowed = narrowed.replace(condition, f"{condition} AND {named}")
    op.execute(f"CREATE FUNCTION catalog.{name}{OF_DATASET} {narrowed}")
    _own(f"{name}{OF_DATASET}", f"{comment} {COMMENT}")
    op.execute(f"GRANT EXECUTE ON FUNCTION catalog.{name}{OF_DATASET} TO {older.READER}")


def downgrade() -> None:
    older = _reader()
    bodies = older.guarded_functions()
    op.execute(f"CREATE FUNCTION catalog.{older.PROMPT_VECTORS} {bodies[older.PROMPT_VECTORS]}")
    _own(older.PROMPT_VECTORS, older.OTHERS[older.PROMPT_VECTORS])
    for name in SEARCHES:
        bare = f"{name}{older.ARGUMENTS}"
        _replace(bare, bodies[bare])
    for name in reversed(SEARCHES):
        op.execute(f"DROP FUNCTION catalog.{name}{OF_DATASET}")
    op.execute(f"DROP FUNCTION catalog.{PROMPT_VECTORS}")


def _own(bare: str, comment: str) -> None:
    """Describe a new function, and keep it from others."""
    op.execute(f"COMMENT ON FUNCTION catalog.{bare} IS $${comment}$$")
    op.execute(f"REVOKE EXECUTE ON FUNCTION catalog.{bare} FROM PUBLIC")


def _replace(bare: str, body: str) -> None:
    signature = bare.replace("k int", "k int DEFAULT 10")
    op.execute(f"CREATE OR REPLACE FUNCTION catalog.{signature} {body}")


def _reader() -> Any:
    return import_module("migrations.versions.0008_reader")

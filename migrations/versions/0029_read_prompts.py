"""What of a prompt its encoder reads is stored with it, and told in SQL.

Prompts that were stored before have null there: `sdc terms add` looks at them.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0029"
down_revision: str | None = "0028"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

READER = "catalog_reader"
READ = "read_prompt(prompt text, of_dataset text)"
# prompt_vectors chooses the encoder, and refuses a prompt that is not stored.
READ_PROMPT = """
CREATE FUNCTION catalog.read_prompt(prompt text, of_dataset text DEFAULT NULL)
    RETURNS TABLE (encoder text, tokens int, tokens_read int, unknown_words text[],
                   spelt_words text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {path} AS $$
    SELECT encoder.name, term.tokens, term.tokens_read, term.unknown_words, term.spelt_words
    FROM catalog.prompt_vectors(prompt, of_dataset) AS found
    JOIN catalog.encoder ON encoder.id = found.encoder_id
    JOIN catalog.term ON term.encoder_id = found.encoder_id
     AND term.text = btrim(prompt) AND term.template = '{}'
    $$
"""
COMMENT = (
    "What of a prompt its encoder reads, one row. tokens: of the whole prompt, with those that the "
    "encoder puts around it; tokens_read: of these, those that count, the first; unknown_words: "
    "words with a part that it has no token for, any others of which would give the same answer; "
    "spelt_words: words that it reads by letters alone. Null of words of the vocabulary, which it "
    "knows, and of prompts stored by earlier versions until sdc terms add is given them again. "
    "of_dataset must be named where datasets of several encoders have a current run; null is all. "
    "An unknown prompt is an error whose hint names the command that adds it."
)
COLUMNS = {
    "tokens": "integer",
    "tokens_read": "integer",
    "unknown_words": "text[]",
    "spelt_words": "text[]",
}


def upgrade() -> None:
    """Add columns, and the function that tells them to readers."""
    for name, kind in COLUMNS.items():
        op.execute(f"ALTER TABLE catalog.term ADD COLUMN {name} {kind}")
    op.execute(READ_PROMPT.replace("{path}", _path()))
    op.execute(f"COMMENT ON FUNCTION catalog.{READ} IS $${COMMENT}$$")
    op.execute(f"REVOKE EXECUTE ON FUNCTION catalog.{READ} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION catalog.{READ} TO {READER}")


def downgrade() -> None:
    """Take both off."""
    op.execute(f"DROP FUNCTION catalog.{READ}")
    for name in COLUMNS:
        op.execute(f"ALTER TABLE catalog.term DROP COLUMN {name}")


def _path() -> str:
    schema = op.get_bind().scalar(
        sa.text(
            "SELECT quote_ident(nspname) FROM pg_extension"
            " JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
        )
    )
    return f"pg_catalog, {schema}, pg_temp"

"""A voxel's vector belongs to a decoder; what it refers to is checked once a statement."""

from collections.abc import Sequence

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Foreign keys look each row up on its own, which takes most of a bulk COPY's time: joins once a
# statement say the same. The decoders are locked as a foreign key would lock them, so that none
# goes before the vectors are committed; what removes voxels meanwhile is a subject's removal, and
# that waits for the decoder.
CHECK_VECTORS = """
CREATE FUNCTION catalog.check_vectors() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lost record;
BEGIN
    PERFORM FROM catalog.decoder
    WHERE (run_id, subject_id, encoder_id)
        IN (SELECT DISTINCT run_id, subject_id, encoder_id FROM fresh)
    FOR KEY SHARE;
    SELECT told.* INTO lost
    FROM (SELECT DISTINCT run_id, subject_id, encoder_id FROM fresh) AS told
    LEFT JOIN catalog.decoder USING (run_id, subject_id, encoder_id)
    WHERE decoder.id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a vector belongs to a decoder of run %, subject % and encoder %, which '
            'does not exist', lost.run_id, lost.subject_id, lost.encoder_id
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    SELECT fresh.subject_id, fresh.index INTO lost
    FROM fresh LEFT JOIN catalog.voxel
      ON voxel.subject_id = fresh.subject_id AND voxel.index = fresh.index
    WHERE voxel.id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a vector belongs to voxel % of subject %, which does not exist',
            lost.index, lost.subject_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$
"""

# What ON DELETE CASCADE would do, were there foreign keys. Of a voxel through decoder, since the
# vectors' key begins with the run.
REMOVE_VECTORS = {
    "decoder": """
        DELETE FROM catalog.voxel_vector USING gone
        WHERE voxel_vector.run_id = gone.run_id AND voxel_vector.subject_id = gone.subject_id;
    """,
    "voxel": """
        DELETE FROM catalog.voxel_vector USING gone, catalog.decoder
        WHERE decoder.subject_id = gone.subject_id AND voxel_vector.run_id = decoder.run_id
          AND voxel_vector.subject_id = gone.subject_id AND voxel_vector.index = gone.index;
    """,
}

KEEP_DECODER = """
CREATE FUNCTION catalog.keep_decoder() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'run, subject and encoder of a decoder stay as they are'
        USING ERRCODE = 'foreign_key_violation';
END $$;
CREATE TRIGGER keep_decoder BEFORE UPDATE ON catalog.decoder FOR EACH ROW
WHEN ((OLD.run_id, OLD.subject_id, OLD.encoder_id)
    IS DISTINCT FROM (NEW.run_id, NEW.subject_id, NEW.encoder_id))
EXECUTE FUNCTION catalog.keep_decoder()
"""

CHECKS_OF_VECTORS = """
CREATE TRIGGER {function}{suffix} AFTER {event} ON catalog.voxel_vector
REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION catalog.{function}()
"""

SEARCH_VOXELS = """
        RETURNS TABLE (voxel_id bigint, dataset text, run_id int, subject text,
                       similarity double precision, x real, y real, z real,
                       mni_x real, mni_y real, mni_z real)
        LANGUAGE sql STABLE AS $$
            SELECT voxel.id, dataset.slug, found.run_id, subject.label, found.similarity,
                   voxel.x, voxel.y, voxel.z, voxel.mni_x, voxel.mni_y, voxel.mni_z
            FROM (
                SELECT {key}, voxel_vector.run_id,
                       1 - (voxel_vector.vector <=> asked.direction::halfvec) AS similarity
                FROM catalog.prompt_vectors(prompt) AS asked
                JOIN catalog.voxel_vector ON voxel_vector.encoder_id = asked.encoder_id
                JOIN catalog.dataset ON dataset.current_run_id = voxel_vector.run_id
                ORDER BY voxel_vector.vector <=> asked.direction::halfvec
                LIMIT k
            ) AS found
            JOIN catalog.voxel ON {voxel}
            JOIN catalog.subject ON subject.id = voxel.subject_id
            JOIN catalog.dataset ON dataset.id = subject.dataset_id
            ORDER BY found.similarity DESC, voxel.id
        $$
        """


def upgrade() -> None:
    op.add_column("decoder", sa.Column("encoder_id", sa.Integer()), schema="catalog")
    op.execute(
        "UPDATE catalog.decoder SET encoder_id = run.encoder_id"
        " FROM catalog.run WHERE run.id = decoder.run_id"
    )
    op.alter_column("decoder", "encoder_id", nullable=False, schema="catalog")
    op.drop_constraint(op.f("fk_decoder_run_id_run"), "decoder", schema="catalog")
    op.create_foreign_key(
        op.f("fk_decoder_run_id_encoder_id_run"),
        "decoder",
        "run",
        ["run_id", "encoder_id"],
        ["id", "encoder_id"],
        source_schema="catalog",
        referent_schema="catalog",
        ondelete="CASCADE",
    )
    op.create_unique_constraint(
        op.f("uq_decoder_run_id_subject_id_encoder_id"),
        "decoder",
        ["run_id", "subject_id", "encoder_id"],
        schema="catalog",
    )
    op.rename_table("voxel_vector", "moved", schema="catalog")
    op.create_table(
        "voxel_vector",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.halfvec.HALFVEC(), nullable=False),
        schema="catalog",
    )
    op.execute(
        "INSERT INTO catalog.voxel_vector"
        " SELECT run_id, subject_id, index, encoder_id, vector"
        " FROM catalog.moved JOIN catalog.voxel ON voxel.id = moved.voxel_id"
        " ORDER BY run_id, subject_id, index"
    )
    op.drop_table("moved", schema="catalog")
    # Keys come when the rows are there, which is quicker, and when their names are free.
    op.create_primary_key(
        op.f("pk_voxel_vector"), "voxel_vector", ["run_id", "subject_id", "index"], schema="catalog"
    )
    op.execute(CHECK_VECTORS)
    for function in ("check_dimensions", "check_vectors"):
        for event, suffix in (("INSERT", ""), ("UPDATE", "_anew")):
            op.execute(CHECKS_OF_VECTORS.format(function=function, event=event, suffix=suffix))
    for table, removal in REMOVE_VECTORS.items():
        op.execute(
            f"CREATE FUNCTION catalog.remove_vectors_of_{table}() RETURNS trigger"
            f" LANGUAGE plpgsql AS $$ BEGIN {removal} RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER remove_vectors AFTER DELETE ON catalog.{table}"
            " REFERENCING OLD TABLE AS gone FOR EACH STATEMENT"
            f" EXECUTE FUNCTION catalog.remove_vectors_of_{table}()"
        )
    op.execute(KEEP_DECODER)
    _make_search(
        "voxel_vector.subject_id, voxel_vector.index",
        "(voxel.subject_id, voxel.index) = (found.subject_id, found.index)",
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_decoder ON catalog.decoder")
    for table in REMOVE_VECTORS:
        op.execute(f"DROP TRIGGER remove_vectors ON catalog.{table}")
    op.rename_table("voxel_vector", "moved", schema="catalog")
    op.create_table(
        "voxel_vector",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("voxel_id", sa.BigInteger(), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.halfvec.HALFVEC(), nullable=False),
        schema="catalog",
    )
    op.execute(
        "INSERT INTO catalog.voxel_vector"
        " SELECT run_id, voxel.id, encoder_id, vector"
        " FROM catalog.moved JOIN catalog.voxel USING (subject_id, index)"
        " ORDER BY run_id, voxel.id"
    )
    op.drop_table("moved", schema="catalog")
    op.create_primary_key(
        op.f("pk_voxel_vector"), "voxel_vector", ["run_id", "voxel_id"], schema="catalog"
    )
    op.create_foreign_key(
        op.f("fk_voxel_vector_run_id_encoder_id_run"),
        "voxel_vector",
        "run",
        ["run_id", "encoder_id"],
        ["id", "encoder_id"],
        source_schema="catalog",
        referent_schema="catalog",
        ondelete="CASCADE",
    )
    op.create_foreign_key(
        op.f("fk_voxel_vector_voxel_id_voxel"),
        "voxel_vector",
        "voxel",
        ["voxel_id"],
        ["id"],
        source_schema="catalog",
        referent_schema="catalog",
        ondelete="CASCADE",
    )
    op.execute(CHECKS_OF_VECTORS.format(function="check_dimensions", event="INSERT", suffix=""))
    for function in (
        "check_vectors",
        "keep_decoder",
        *(f"remove_vectors_of_{table}" for table in REMOVE_VECTORS),
    ):
        op.execute(f"DROP FUNCTION catalog.{function}()")
    op.drop_constraint(op.f("uq_decoder_run_id_subject_id_encoder_id"), "decoder", schema="catalog")
    op.drop_constraint(op.f("fk_decoder_run_id_encoder_id_run"), "decoder", schema="catalog")
    op.create_foreign_key(
        op.f("fk_decoder_run_id_run"),
        "decoder",
        "run",
        ["run_id"],
        ["id"],
        source_schema="catalog",
        referent_schema="catalog",
        ondelete="CASCADE",
    )
    op.drop_column("decoder", "encoder_id", schema="catalog")
    _make_search("voxel_vector.voxel_id", "voxel.id = found.voxel_id")


def _make_search(key: str, voxel: str) -> None:
    body = SEARCH_VOXELS.format(key=key, voxel=voxel)
    op.execute(
        f"CREATE OR REPLACE FUNCTION catalog.search_voxels(prompt text, k int DEFAULT 10) {body}"
    )

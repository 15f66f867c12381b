"""The catalog's tables."""

from collections.abc import Sequence

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WITH_VECTORS = ("component", "stimulus_vector", "term", "voxel_vector")

# Once a statement, not once a row: bulk COPY must stay near the bare rate.
CHECK_DIMENSIONS = """
CREATE FUNCTION catalog.check_dimensions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT encoder.name, encoder.dimension, vector_dims(fresh.vector) AS stored INTO wrong
    FROM fresh JOIN catalog.encoder ON encoder.id = fresh.encoder_id
    WHERE vector_dims(fresh.vector) <> encoder.dimension LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a vector of % dimensions cannot belong to encoder % (%)',
            wrong.stored, wrong.name, wrong.dimension USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute("CREATE SCHEMA catalog")
    op.create_table(
        "dataset",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("source_uri", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("citation", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("configuration", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("current_run_id", sa.Integer(), nullable=True),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("slug", name=op.f("uq_dataset_slug")),
        schema="catalog",
    )
    op.create_table(
        "encoder",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.Column("sees_images", sa.Boolean(), nullable=False),
        sa.Column("text_mean", pgvector.sqlalchemy.vector.VECTOR(), nullable=False),
        sa.Column("stimulus_mean", pgvector.sqlalchemy.vector.VECTOR(), nullable=True),
        sa.CheckConstraint("dimension > 0", name=op.f("ck_encoder_dimension_positive")),
        sa.CheckConstraint(
            "vector_dims(stimulus_mean) = dimension",
            name=op.f("ck_encoder_stimulus_mean_dimension"),
        ),
        sa.CheckConstraint(
            "vector_dims(text_mean) = dimension", name=op.f("ck_encoder_text_mean_dimension")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encoder")),
        sa.UniqueConstraint("id", "dimension", name=op.f("uq_encoder_id_dimension")),
        sa.UniqueConstraint("name", name=op.f("uq_encoder_name")),
        schema="catalog",
    )
    op.create_table(
        "ingestion",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("source_uri", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["catalog.dataset.id"],
            name=op.f("fk_ingestion_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestion")),
        schema="catalog",
    )
    op.create_table(
        "region",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("atlas", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["catalog.dataset.id"],
            name=op.f("fk_region_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_region")),
        sa.UniqueConstraint(
            "dataset_id", "atlas", "name", name=op.f("uq_region_dataset_id_atlas_name")
        ),
        schema="catalog",
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("configuration", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("timings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("parents", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["catalog.dataset.id"],
            name=op.f("fk_run_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["encoder_id"], ["catalog.encoder.id"], name=op.f("fk_run_encoder_id_encoder")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("id", "encoder_id", name=op.f("uq_run_id_encoder_id")),
        sa.UniqueConstraint("key", name=op.f("uq_run_key")),
        schema="catalog",
    )
    op.create_table(
        "stimulus",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("fold", sa.Text(), nullable=False),
        sa.Column("captions", sa.ARRAY(sa.Text()), nullable=False),
        sa.CheckConstraint(
            "fold IN ('train', 'validation', 'test')", name=op.f("ck_stimulus_fold")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["catalog.dataset.id"],
            name=op.f("fk_stimulus_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stimulus")),
        sa.UniqueConstraint("dataset_id", "key", name=op.f("uq_stimulus_dataset_id_key")),
        schema="catalog",
    )
    op.create_table(
        "subject",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("grid", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("affine", sa.ARRAY(sa.Float()), nullable=False),
        sa.Column("n_trials", sa.Integer(), nullable=False),
        sa.Column("n_sessions", sa.Integer(), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("artefacts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["catalog.dataset.id"],
            name=op.f("fk_subject_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject")),
        sa.UniqueConstraint("dataset_id", "label", name=op.f("uq_subject_dataset_id_label")),
        schema="catalog",
    )
    op.create_table(
        "term",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), server_default="{}", nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.vector.VECTOR(), nullable=False),
        sa.Column("in_vocabulary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["encoder_id"],
            ["catalog.encoder.id"],
            name=op.f("fk_term_encoder_id_encoder"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_term")),
        sa.UniqueConstraint(
            "encoder_id", "text", "template", name=op.f("uq_term_encoder_id_text_template")
        ),
        schema="catalog",
    )
    op.create_index(op.f("ix_term_text"), "term", ["text"], unique=False, schema="catalog")
    op.create_table(
        "component",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("terms", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.vector.VECTOR(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=True),
        sa.Column("q_value", sa.Float(), nullable=True),
        sa.Column("agreement", sa.Float(), nullable=True),
        sa.Column("agreement_p", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "encoder_id"],
            ["catalog.run.id", "catalog.run.encoder_id"],
            name=op.f("fk_component_run_id_encoder_id_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_component")),
        sa.UniqueConstraint("run_id", "index", name=op.f("uq_component_run_id_index")),
        schema="catalog",
    )
    op.create_table(
        "decoder",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("artefact_uri", sa.Text(), nullable=False),
        sa.Column("artefact_sha256", sa.Text(), nullable=False),
        sa.Column("masks_sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["catalog.run.id"], name=op.f("fk_decoder_run_id_run"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["catalog.subject.id"],
            name=op.f("fk_decoder_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decoder")),
        sa.UniqueConstraint("run_id", "subject_id", name=op.f("uq_decoder_run_id_subject_id")),
        schema="catalog",
    )
    op.create_table(
        "stimulus_vector",
        sa.Column("stimulus_id", sa.Integer(), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.vector.VECTOR(), nullable=False),
        sa.ForeignKeyConstraint(
            ["encoder_id"],
            ["catalog.encoder.id"],
            name=op.f("fk_stimulus_vector_encoder_id_encoder"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stimulus_id"],
            ["catalog.stimulus.id"],
            name=op.f("fk_stimulus_vector_stimulus_id_stimulus"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("stimulus_id", "encoder_id", name=op.f("pk_stimulus_vector")),
        schema="catalog",
    )
    op.create_table(
        "voxel",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("i", sa.SmallInteger(), nullable=False),
        sa.Column("j", sa.SmallInteger(), nullable=False),
        sa.Column("k", sa.SmallInteger(), nullable=False),
        sa.Column("x", sa.REAL(), nullable=False),
        sa.Column("y", sa.REAL(), nullable=False),
        sa.Column("z", sa.REAL(), nullable=False),
        sa.Column("mni_x", sa.REAL(), nullable=True),
        sa.Column("mni_y", sa.REAL(), nullable=True),
        sa.Column("mni_z", sa.REAL(), nullable=True),
        sa.Column("noise_ceiling", sa.REAL(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["catalog.subject.id"],
            name=op.f("fk_voxel_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voxel")),
        sa.UniqueConstraint("subject_id", "index", name=op.f("uq_voxel_subject_id_index")),
        schema="catalog",
    )
    op.create_table(
        "component_region",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("region_id", sa.Integer(), nullable=False),
        sa.Column("auc", sa.Float(), nullable=False),
        sa.Column("dice", sa.Float(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=False),
        sa.Column("q_value", sa.Float(), nullable=False),
        sa.Column("n_voxels", sa.Integer(), nullable=False),
        sa.Column("peak_voxel_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_region_component_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["peak_voxel_id"],
            ["catalog.voxel.id"],
            name=op.f("fk_component_region_peak_voxel_id_voxel"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["region_id"],
            ["catalog.region.id"],
            name=op.f("fk_component_region_region_id_region"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["catalog.subject.id"],
            name=op.f("fk_component_region_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "component_id", "subject_id", "region_id", name=op.f("pk_component_region")
        ),
        schema="catalog",
    )
    op.create_index(
        op.f("ix_component_region_region_id"),
        "component_region",
        ["region_id"],
        unique=False,
        schema="catalog",
    )
    op.create_table(
        "component_stimulus",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("stimulus_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_stimulus_component_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stimulus_id"],
            ["catalog.stimulus.id"],
            name=op.f("fk_component_stimulus_stimulus_id_stimulus"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("component_id", "rank", name=op.f("pk_component_stimulus")),
        schema="catalog",
    )
    op.create_table(
        "component_subject",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("r_unmasked", sa.Float(), nullable=True),
        sa.Column("r_soft", sa.Float(), nullable=True),
        sa.Column("r_hard", sa.Float(), nullable=True),
        sa.Column("p_value", sa.Float(), nullable=True),
        sa.Column("q_value", sa.Float(), nullable=True),
        sa.Column("penalty", sa.Float(), nullable=True),
        sa.Column("n_voxels", sa.Integer(), nullable=False),
        sa.Column("peak_voxel_id", sa.BigInteger(), nullable=True),
        sa.Column("decodes", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_subject_component_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["peak_voxel_id"],
            ["catalog.voxel.id"],
            name=op.f("fk_component_subject_peak_voxel_id_voxel"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["catalog.subject.id"],
            name=op.f("fk_component_subject_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("component_id", "subject_id", name=op.f("pk_component_subject")),
        schema="catalog",
    )
    op.create_table(
        "component_voxel",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("voxel_id", sa.BigInteger(), nullable=False),
        sa.Column("weight", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_voxel_component_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["voxel_id"],
            ["catalog.voxel.id"],
            name=op.f("fk_component_voxel_voxel_id_voxel"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("component_id", "voxel_id", name=op.f("pk_component_voxel")),
        schema="catalog",
    )
    op.create_index(
        op.f("ix_component_voxel_voxel_id"),
        "component_voxel",
        ["voxel_id"],
        unique=False,
        schema="catalog",
    )
    op.create_table(
        "voxel_region",
        sa.Column("voxel_id", sa.BigInteger(), nullable=False),
        sa.Column("region_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["region_id"],
            ["catalog.region.id"],
            name=op.f("fk_voxel_region_region_id_region"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["voxel_id"],
            ["catalog.voxel.id"],
            name=op.f("fk_voxel_region_voxel_id_voxel"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("voxel_id", "region_id", name=op.f("pk_voxel_region")),
        schema="catalog",
    )
    op.create_index(
        op.f("ix_voxel_region_region_id"),
        "voxel_region",
        ["region_id"],
        unique=False,
        schema="catalog",
    )
    op.create_table(
        "voxel_vector",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("voxel_id", sa.BigInteger(), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.halfvec.HALFVEC(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "encoder_id"],
            ["catalog.run.id", "catalog.run.encoder_id"],
            name=op.f("fk_voxel_vector_run_id_encoder_id_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["voxel_id"],
            ["catalog.voxel.id"],
            name=op.f("fk_voxel_vector_voxel_id_voxel"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "voxel_id", name=op.f("pk_voxel_vector")),
        schema="catalog",
    )
    op.create_foreign_key(
        op.f("fk_dataset_current_run_id_run"),
        "dataset",
        "run",
        ["current_run_id"],
        ["id"],
        source_schema="catalog",
        referent_schema="catalog",
        ondelete="SET NULL",
    )
    op.execute(CHECK_DIMENSIONS)
    for table in WITH_VECTORS:
        op.execute(
            f"CREATE TRIGGER check_dimensions AFTER INSERT ON catalog.{table} "
            "REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT "
            "EXECUTE FUNCTION catalog.check_dimensions()"
        )


def downgrade() -> None:
    op.execute("DROP SCHEMA catalog CASCADE")

"""What every concept is least like, and the method of the run that a row comes from."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# New columns come last: a view that is replaced keeps the others, and what is built on it.
VIEWS = {
    "concepts": """
        SELECT component.id AS component_id, dataset.slug AS dataset, run.id AS run_id,
               encoder.name AS encoder, run.method, component.index, component.label,
               component.terms, component.shared, component.p_value, component.q_value,
               component.agreement,
               ARRAY(SELECT subject.label FROM catalog.component_subject
                     JOIN catalog.subject ON subject.id = component_subject.subject_id
                     WHERE component_id = component.id AND decodes ORDER BY 1) AS subjects,
               component.negations
        FROM catalog.component
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.encoder ON encoder.id = run.encoder_id
        """,
    "concept_regions": """
        SELECT component_region.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, region.atlas, region.name AS region,
               component_region.auc, component_region.dice, component_region.p_value,
               component_region.q_value, component_region.n_voxels, run.method
        FROM catalog.component_region
        JOIN catalog.component ON component.id = component_region.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.subject ON subject.id = component_region.subject_id
        JOIN catalog.region ON region.id = component_region.region_id
        """,
    "concept_voxels": """
        SELECT component_voxel.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, component_voxel.voxel_id,
               component_voxel.weight, voxel.i, voxel.j, voxel.k, voxel.x, voxel.y, voxel.z,
               voxel.mni_x, voxel.mni_y, voxel.mni_z, voxel.noise_ceiling, run.method
        FROM catalog.component_voxel
        JOIN catalog.component ON component.id = component_voxel.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.voxel ON voxel.id = component_voxel.voxel_id
        JOIN catalog.subject ON subject.id = voxel.subject_id
        """,
}

FUNCTIONS = {
    "search_concepts": """
        RETURNS TABLE (component_id int, dataset text, run_id int, encoder text, label text,
                       similarity double precision, shared boolean, p_value double precision,
                       q_value double precision, method text)
        LANGUAGE sql STABLE AS $$
            SELECT component.id, dataset.slug, run.id, encoder.name, component.label,
                   1 - (component.vector <=> asked.direction), component.shared,
                   component.p_value, component.q_value, run.method
            FROM catalog.prompt_vectors(prompt) AS asked
            JOIN catalog.encoder ON encoder.id = asked.encoder_id
            JOIN catalog.component ON component.encoder_id = asked.encoder_id
            JOIN catalog.dataset ON dataset.current_run_id = component.run_id
            JOIN catalog.run ON run.id = component.run_id
            ORDER BY component.vector <=> asked.direction, component.id
            LIMIT k
        $$
        """,
    "search_regions": """
        RETURNS TABLE (dataset text, run_id int, subject text, atlas text, region text,
                       component_id int, score double precision, auc double precision,
                       p_value double precision, q_value double precision, n_voxels int,
                       method text)
        LANGUAGE sql STABLE AS $$
            SELECT * FROM (
                SELECT DISTINCT ON (dataset.id, subject.id, region.id)
                       dataset.slug, found.run_id, subject.label, region.atlas, region.name,
                       found.component_id, found.similarity * (2 * overlap.auc - 1) AS score,
                       overlap.auc, overlap.p_value, overlap.q_value, overlap.n_voxels,
                       found.method
                FROM catalog.search_concepts(prompt, 10) AS found
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
        $$
        """,
    "search_voxels": """
        RETURNS TABLE (voxel_id bigint, dataset text, run_id int, subject text,
                       similarity double precision, x real, y real, z real,
                       mni_x real, mni_y real, mni_z real, method text)
        LANGUAGE sql STABLE AS $$
            SELECT voxel.id, dataset.slug, found.run_id, subject.label, found.similarity,
                   voxel.x, voxel.y, voxel.z, voxel.mni_x, voxel.mni_y, voxel.mni_z, run.method
            FROM (
                SELECT voxel_vector.subject_id, voxel_vector.index, voxel_vector.run_id,
                       1 - (voxel_vector.vector <=> asked.direction::halfvec) AS similarity
                FROM catalog.prompt_vectors(prompt) AS asked
                JOIN catalog.voxel_vector ON voxel_vector.encoder_id = asked.encoder_id
                JOIN catalog.dataset ON dataset.current_run_id = voxel_vector.run_id
                ORDER BY voxel_vector.vector <=> asked.direction::halfvec
                LIMIT k
            ) AS found
            JOIN catalog.voxel ON (voxel.subject_id, voxel.index) = (found.subject_id, found.index)
            JOIN catalog.subject ON subject.id = voxel.subject_id
            JOIN catalog.dataset ON dataset.id = subject.dataset_id
            JOIN catalog.run ON run.id = found.run_id
            ORDER BY found.similarity DESC, voxel.id
        $$
        """,
}


def upgrade() -> None:
    op.add_column(
        "component",
        sa.Column("negations", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        schema="catalog",
    )
    op.create_table(
        "component_negation",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("stimulus_id", sa.Integer(), nullable=False),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_negation_component_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stimulus_id"],
            ["catalog.stimulus.id"],
            name=op.f("fk_component_negation_stimulus_id_stimulus"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("component_id", "rank", name=op.f("pk_component_negation")),
        schema="catalog",
    )
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW catalog.{name} AS {query}")
    _make_functions(FUNCTIONS)


def downgrade() -> None:
    older, voxels = _migration("0002_queries"), _migration("0003_decoder_vectors")
    _make_functions(
        {name: older.FUNCTIONS[_signature(name)][1] for name in FUNCTIONS}
        | {
            "search_voxels": voxels.SEARCH_VOXELS.format(
                key="voxel_vector.subject_id, voxel_vector.index",
                voxel="(voxel.subject_id, voxel.index) = (found.subject_id, found.index)",
            )
        }
    )
    for name in VIEWS:
        comment, query = older.VIEWS[name]
        op.execute(f"DROP VIEW catalog.{name}")
        op.execute(f"CREATE VIEW catalog.{name} AS {query}")
        op.execute(f"COMMENT ON VIEW catalog.{name} IS $${comment}$$")
    op.drop_table("component_negation", schema="catalog")
    op.drop_column("component", "negations", schema="catalog")


def _make_functions(bodies: dict[str, str]) -> None:
    """Make functions again with the columns of their new bodies; comments stay what they were."""
    comments = _migration("0002_queries").FUNCTIONS
    for name, body in bodies.items():
        signature = _signature(name)
        bare = signature.replace(" DEFAULT 10", "")
        op.execute(f"DROP FUNCTION catalog.{bare}")
        op.execute(f"CREATE FUNCTION catalog.{signature} {body}")
        op.execute(f"COMMENT ON FUNCTION catalog.{bare} IS $${comments[signature][0]}$$")


def _signature(name: str) -> str:
    return f"{name}(prompt text, k int DEFAULT 10)"


def _migration(name: str) -> Any:
    return import_module(f"migrations.versions.{name}")

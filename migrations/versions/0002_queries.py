"""The views and functions that people query: published, current runs alone."""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

VIEWS = {
    "runs": (
        "Current run of every dataset.",
        """
        SELECT run.id AS run_id, dataset.slug AS dataset, encoder.name AS encoder, run.method,
               run.seed, run.code_version, run.device, run.metrics, run.published_at
        FROM catalog.dataset
        JOIN catalog.run ON run.id = dataset.current_run_id
        JOIN catalog.encoder ON encoder.id = run.encoder_id
        """,
    ),
    "subjects": (
        "Participants of every dataset that has a current run.",
        """
        SELECT subject.id AS subject_id, dataset.slug AS dataset, subject.label AS subject,
               subject.grid, subject.affine, subject.n_trials, subject.n_sessions,
               (SELECT count(*) FROM catalog.voxel WHERE voxel.subject_id = subject.id) AS n_voxels,
               decoder.metrics
        FROM catalog.subject
        JOIN catalog.dataset ON dataset.id = subject.dataset_id
        JOIN catalog.decoder
          ON decoder.run_id = dataset.current_run_id AND decoder.subject_id = subject.id
        """,
    ),
    "voxels": (
        "Voxels above the noise-ceiling threshold, native and MNI mm, with their regions.",
        """
        SELECT voxel.id AS voxel_id, dataset.slug AS dataset, subject.label AS subject,
               voxel.i, voxel.j, voxel.k, voxel.x, voxel.y, voxel.z,
               voxel.mni_x, voxel.mni_y, voxel.mni_z, voxel.noise_ceiling,
               ARRAY(SELECT region.atlas || ':' || region.name
                     FROM catalog.voxel_region JOIN catalog.region ON region.id = region_id
                     WHERE voxel_id = voxel.id ORDER BY 1) AS regions
        FROM catalog.voxel
        JOIN catalog.subject ON subject.id = voxel.subject_id
        JOIN catalog.dataset ON dataset.id = subject.dataset_id
        WHERE dataset.current_run_id IS NOT NULL
        """,
    ),
    "concepts": (
        "Components of current runs: label, nearest terms, whether participants share them.",
        """
        SELECT component.id AS component_id, dataset.slug AS dataset, run.id AS run_id,
               encoder.name AS encoder, run.method, component.index, component.label,
               component.terms, component.shared, component.p_value, component.q_value,
               component.agreement,
               ARRAY(SELECT subject.label FROM catalog.component_subject
                     JOIN catalog.subject ON subject.id = component_subject.subject_id
                     WHERE component_id = component.id AND decodes ORDER BY 1) AS subjects
        FROM catalog.component
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.encoder ON encoder.id = run.encoder_id
        """,
    ),
    "concept_regions": (
        "Overlap of every component's mask with every region, per participant.",
        """
        SELECT component_region.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, region.atlas, region.name AS region,
               component_region.auc, component_region.dice, component_region.p_value,
               component_region.q_value, component_region.n_voxels
        FROM catalog.component_region
        JOIN catalog.component ON component.id = component_region.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.subject ON subject.id = component_region.subject_id
        JOIN catalog.region ON region.id = component_region.region_id
        """,
    ),
    "concept_voxels": (
        "Members of every component's hard mask, with their weight.",
        """
        SELECT component_voxel.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, component_voxel.voxel_id,
               component_voxel.weight, voxel.i, voxel.j, voxel.k, voxel.x, voxel.y, voxel.z,
               voxel.mni_x, voxel.mni_y, voxel.mni_z, voxel.noise_ceiling
        FROM catalog.component_voxel
        JOIN catalog.component ON component.id = component_voxel.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.voxel ON voxel.id = component_voxel.voxel_id
        JOIN catalog.subject ON subject.id = voxel.subject_id
        """,
    ),
}

# A prompt's vector has the text side's mean off before it meets the other side: text and stimuli
# lie on two cones of the space, and without it the nearest thing is the one nearest to the gap.
FUNCTIONS = {
    "prompt_vectors(prompt text)": (
        "A prompt in the space of every encoder that a current run uses, its mean taken off.",
        """
        RETURNS TABLE (encoder_id int, direction vector)
        LANGUAGE plpgsql STABLE AS $$
        BEGIN
            RETURN QUERY
            SELECT term.encoder_id, term.vector - encoder.text_mean
            FROM catalog.term JOIN catalog.encoder ON encoder.id = term.encoder_id
            WHERE term.text = btrim(prompt) AND term.template = '{}'
              AND EXISTS (SELECT FROM catalog.run JOIN catalog.dataset ON current_run_id = run.id
                          WHERE run.encoder_id = term.encoder_id);
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the prompt "%" has no vector yet', left(prompt, 80)
                USING HINT = format('run: sdc terms add %L', left(prompt, 80)),
                      ERRCODE = 'no_data_found';
            END IF;
        END $$
        """,
    ),
    "search_concepts(prompt text, k int DEFAULT 10)": (
        "The k concepts nearest to a prompt, best first, over all current runs.",
        """
        RETURNS TABLE (component_id int, dataset text, run_id int, encoder text, label text,
                       similarity double precision, shared boolean, p_value double precision,
                       q_value double precision)
        LANGUAGE sql STABLE AS $$
            SELECT component.id, dataset.slug, run.id, encoder.name, component.label,
                   1 - (component.vector <=> asked.direction), component.shared,
                   component.p_value, component.q_value
            FROM catalog.prompt_vectors(prompt) AS asked
            JOIN catalog.encoder ON encoder.id = asked.encoder_id
            JOIN catalog.component ON component.encoder_id = asked.encoder_id
            JOIN catalog.dataset ON dataset.current_run_id = component.run_id
            JOIN catalog.run ON run.id = component.run_id
            ORDER BY component.vector <=> asked.direction, component.id
            LIMIT k
        $$
        """,
    ),
    "search_regions(prompt text, k int DEFAULT 10)": (
        "The k regions that carry the concepts nearest to a prompt, best first.",
        """
        RETURNS TABLE (dataset text, run_id int, subject text, atlas text, region text,
                       component_id int, score double precision, auc double precision,
                       p_value double precision, q_value double precision, n_voxels int)
        LANGUAGE sql STABLE AS $$
            SELECT * FROM (
                SELECT DISTINCT ON (dataset.id, subject.id, region.id)
                       dataset.slug, found.run_id, subject.label, region.atlas, region.name,
                       found.component_id, found.similarity * (2 * overlap.auc - 1) AS score,
                       overlap.auc, overlap.p_value, overlap.q_value, overlap.n_voxels
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
    ),
    "search_voxels(prompt text, k int DEFAULT 10)": (
        "The k voxels whose decoder weights point nearest to a prompt, over all current runs.",
        """
        RETURNS TABLE (voxel_id bigint, dataset text, run_id int, subject text,
                       similarity double precision, x real, y real, z real,
                       mni_x real, mni_y real, mni_z real)
        LANGUAGE sql STABLE AS $$
            SELECT voxel.id, dataset.slug, found.run_id, subject.label, found.similarity,
                   voxel.x, voxel.y, voxel.z, voxel.mni_x, voxel.mni_y, voxel.mni_z
            FROM (
                SELECT voxel_vector.voxel_id, voxel_vector.run_id,
                       1 - (voxel_vector.vector <=> asked.direction::halfvec) AS similarity
                FROM catalog.prompt_vectors(prompt) AS asked
                JOIN catalog.voxel_vector ON voxel_vector.encoder_id = asked.encoder_id
                JOIN catalog.dataset ON dataset.current_run_id = voxel_vector.run_id
                ORDER BY voxel_vector.vector <=> asked.direction::halfvec
                LIMIT k
            ) AS found
            JOIN catalog.voxel ON voxel.id = found.voxel_id
            JOIN catalog.subject ON subject.id = voxel.subject_id
            JOIN catalog.dataset ON dataset.id = subject.dataset_id
            ORDER BY found.similarity DESC, voxel.id
        $$
        """,
    ),
    "nearest_terms(component_id int, k int DEFAULT 10)": (
        "The k vocabulary terms nearest to a component of a current run, best first.",
        """
        RETURNS TABLE (term text, similarity double precision)
        LANGUAGE sql STABLE AS $$
            SELECT term.text, 1 - (component.vector <=> (term.vector - encoder.text_mean))
            FROM catalog.component
            JOIN catalog.dataset ON dataset.current_run_id = component.run_id
            JOIN catalog.encoder ON encoder.id = component.encoder_id
            JOIN catalog.term ON term.encoder_id = component.encoder_id AND term.in_vocabulary
            WHERE component.id = nearest_terms.component_id
            ORDER BY component.vector <=> (term.vector - encoder.text_mean), term.text
            LIMIT k
        $$
        """,
    ),
}


def upgrade() -> None:
    for name, (comment, query) in VIEWS.items():
        op.execute(f"CREATE VIEW catalog.{name} AS {query}")
        op.execute(f"COMMENT ON VIEW catalog.{name} IS $${comment}$$")
    for signature, (comment, body) in FUNCTIONS.items():
        op.execute(f"CREATE FUNCTION catalog.{signature} {body}")
        bare = signature.replace(" DEFAULT 10", "")
        op.execute(f"COMMENT ON FUNCTION catalog.{bare} IS $${comment}$$")


def downgrade() -> None:
    for signature in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION catalog.{signature.replace(' DEFAULT 10', '')}")
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW catalog.{name}")

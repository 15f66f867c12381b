"""What runs are worth: views of every published run, current or not, and of its participants.

They show what `app.runs.report` said when a run was published; of older runs it is null.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

READER = "catalog_reader"
OLDER = "published before runs were judged: `sdc runs RUN` tells what is known"
NULL = "Null of runs published before runs were judged"

CLAIMS = ("decodable", "specific", "agreeing", "stable", "shared")
COUNTS = "".join(
    f"CAST(report #>> '{{concepts,{claim},holds}}' AS int) AS {claim}, " for claim in CLAIMS
)

VIEWS = {
    "run_verdicts": f"""
        SELECT run.id AS run_id, dataset.slug AS dataset, encoder.name AS encoder, run.method,
               coalesce(dataset.current_run_id = run.id, false) AS current,
               report ->> 'verdict' AS verdict,
               CASE WHEN report IS NOT NULL
                    THEN ARRAY(SELECT jsonb_array_elements_text(report -> 'warnings'))
               END AS warnings,
               nullif(run.metrics ->> 'held_back', '') AS held_back,
               CAST(report #>> '{{concepts,found}}' AS int) AS found,
               CAST(report #>> '{{concepts,carried}}' AS int) AS carried,
               {COUNTS}
               CAST(report #>> '{{concepts,found_again}}' AS int) AS found_again,
               CAST(report #>> '{{concepts,cosine}}' AS double precision) AS cosine,
               CAST(report #>> '{{concepts,cosine_by_chance}}' AS double precision)
                   AS cosine_by_chance,
               CAST(report #>> '{{concepts,start_cosine}}' AS double precision) AS start_cosine,
               CASE WHEN report IS NULL THEN '{OLDER}' END AS reason,
               run.published_at
        FROM catalog.run
        JOIN catalog.dataset ON dataset.id = run.dataset_id
        JOIN catalog.encoder ON encoder.id = run.encoder_id
        CROSS JOIN LATERAL (SELECT run.metrics -> 'report' AS report) AS told
        WHERE catalog.may_read(dataset.embargoed)
    """,  # noqa: S608
    "run_subjects": f"""
        SELECT run.id AS run_id, dataset.slug AS dataset,
               coalesce(dataset.current_run_id = run.id, false) AS current,
               subject.label AS subject,
               CAST(own #>> '{{trials,development}}' AS int) AS trials,
               CAST(own #>> '{{trials,test}}' AS int) AS test_trials,
               CAST(own #>> '{{voxels,in_mask}}' AS int) AS voxels_in_mask,
               CAST(own #>> '{{voxels,kept}}' AS int) AS voxels_kept,
               own #> '{{voxels,dropped}}' AS voxels_dropped,
               CAST(own #>> '{{noise_ceiling,median}}' AS double precision) AS noise_ceiling,
               CAST(own #>> '{{noise_ceiling,above}}' AS double precision) AS above_threshold,
               CAST(own #>> '{{decoder,pairwise,decoder}}' AS double precision) AS pairwise,
               CAST(own #>> '{{decoder,pairwise,low}}' AS double precision) AS pairwise_low,
               CAST(own #>> '{{decoder,pairwise,high}}' AS double precision) AS pairwise_high,
               CAST(own #>> '{{decoder,above_chance}}' AS boolean) AS above_chance,
               own #> '{{decoder,top}}' AS top,
               CASE jsonb_typeof(own -> 'learning_curve')
                   WHEN 'array' THEN own -> 'learning_curve'
               END AS learning_curve,
               CAST(own #>> '{{masks,feasible}}' AS int) AS masks,
               CAST(own #>> '{{masks,decoding}}' AS int) AS masks_decoding,
               CAST(own #>> '{{masks,of}}' AS int) AS concepts,
               CASE WHEN own IS NULL THEN jsonb_build_object('report', '{OLDER}')
                    ELSE own -> 'missing'
               END AS missing
        FROM catalog.run
        JOIN catalog.dataset ON dataset.id = run.dataset_id
        JOIN catalog.decoder ON decoder.run_id = run.id
        JOIN catalog.subject ON subject.id = decoder.subject_id
        LEFT JOIN LATERAL (
            SELECT each AS own
            FROM jsonb_array_elements(run.metrics #> '{{report,participants}}') AS each
            WHERE each ->> 'subject' = subject.label
        ) AS told ON true
        WHERE catalog.may_read(dataset.embargoed)
    """,  # noqa: S608
}
RUN = {
    "run_id": "The run's id.",
    "dataset": "Name of the dataset.",
    "current": "Whether the dataset's answers come from this run.",
}
COMMENTS = {
    "run_verdicts": (
        "What every published run is worth, current or not, as it was judged at its publication.",
        RUN
        | {
            "encoder": "The encoder whose space the run's vectors lie in.",
            "method": "How the run found its concepts: masks or clusters.",
            "verdict": f"What came of it, in one sentence. {NULL}, as warnings and counts are.",
            "warnings": "What to mind, a sentence each.",
            "held_back": "Why it was not made current at its publication; null where it was.",
            "found": "Concepts that were found.",
            "carried": "Concepts that the mask of some participant decodes; null where none is "
            "known to, and not all were tested.",
            **{
                claim: f"Concepts that are {claim}; see the view concepts, of a current run."
                for claim in CLAIMS
            },
            "found_again": "Concepts that further seeds find again above chance; null where that "
            "was not measured.",
            "cosine": "Cosine of concepts' scores with those of their partners of other seeds, "
            "mean, -1 to 1.",
            "cosine_by_chance": "The same of the next best matching.",
            "start_cosine": "Largest cosine of each concept with what the search began with, mean.",
            "reason": "Why there is no verdict; null where there is one.",
            "published_at": "When the run was published.",
        },
    ),
    "run_subjects": (
        "What every published run tells of each participant, as it was judged at its publication.",
        RUN
        | {
            "subject": "Label of the participant.",
            "trials": "Trials that decoders and masks were fitted on.",
            "test_trials": "Trials that they were tested on.",
            "voxels_in_mask": "Voxels that were read.",
            "voxels_kept": "Voxels that the run used.",
            "voxels_dropped": "How many voxels were left out, by reason.",
            "noise_ceiling": "Median over the voxels kept, in percent; may be null.",
            "above_threshold": "Share of the usable voxels whose noise ceiling is above the "
            "threshold, 0 to 1; may be null.",
            "pairwise": "How often the prediction of a test trial is nearer to its own stimulus "
            "than to another one, 0 to 1; chance is 0.5.",
            "pairwise_low": "Lower end of its 95 % interval, over stimuli.",
            "pairwise_high": "Upper end of its 95 % interval.",
            "above_chance": "Whether that interval lies above chance; of older decoders, that of "
            "top-1.",
            "top": "By depth (top1, top5 and so on): the accuracy of the decoder, its interval, "
            "ridge and chance, 0 to 1.",
            "learning_curve": "Pairwise accuracy of ridge with shares of the trials: share, "
            "trials, accuracy, low, high.",
            "masks": "Concepts that the participant has a mask of.",
            "masks_decoding": "Masks that decode their concept on test trials.",
            "concepts": "Concepts of the run.",
            "missing": "Why what is null is null, by its name in the REST answer.",
        },
    ),
}


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW catalog.{name} WITH (security_barrier) AS {query}")
        told, columns = COMMENTS[name]
        op.execute(f"COMMENT ON VIEW catalog.{name} IS $${told}$$")
        for column, comment in columns.items():
            op.execute(f"COMMENT ON COLUMN catalog.{name}.{column} IS $${comment}$$")
        op.execute(f"GRANT SELECT ON catalog.{name} TO {READER}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW catalog.{name}")

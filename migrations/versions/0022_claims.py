"""Shared is four claims: each is stored with its statistics, and told with why it fails.

A run that was published before measured none of them. Its p were of the decoder over all voxels,
and stay as such (``p_unmasked``); whether a hard mask decodes, and so whether participants share
the component, is not known until the dataset is run again. What the run said then is kept in
``component.before_claims``, and in its metrics as ``concepts_before_claims``, so that a downgrade
brings it back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from psycopg import errors
from sqlalchemy.dialects.postgresql import JSONB

from app.errors import UnavailableError

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

READER = "catalog_reader"

COLUMNS: dict[str, dict[str, Any]] = {
    "run": {"reproducible": sa.Boolean()},
    "component": {
        **dict.fromkeys(("decodable", "specific", "agreeing", "stable"), sa.Boolean()),
        **dict.fromkeys(
            (
                *("specific_p", "specific_q", "agreement_q", "stability_chance", "start_cosine"),
                *("prevalence", "prevalence_low", "prevalence_high"),
            ),
            sa.Float(),
        ),
        "replicated": sa.Integer(),
        "before_claims": JSONB(),
    },
    "component_subject": dict.fromkeys(
        (
            *("r_low", "r_high", "r_normalised", "p_unmasked", "p_soft"),
            *("specific_p", "replication_r", "replication_p"),
        ),
        sa.Float(),
    ),
    "component_region": dict.fromkeys(("auc_low", "auc_high"), sa.Float()),
}
SHARED_BY_CLAIMS = """
CASE shared
WHEN true THEN (decodable AND specific AND agreeing AND stable) IS TRUE
WHEN false THEN (decodable AND specific AND agreeing AND stable) IS FALSE
ELSE true END
"""

KEEP_WHAT_WAS_SAID = """
UPDATE catalog.component SET before_claims = jsonb_build_object(
    'shared', shared, 'p_value', p_value, 'q_value', q_value, 'reason', reason,
    'subjects', (
        SELECT coalesce(
            jsonb_object_agg(
                subject_id, jsonb_build_object('q_value', q_value, 'decodes', decodes)
            ),
            '{}'
        )
        FROM catalog.component_subject WHERE component_id = component.id
    )
)
"""
TAKE_BACK_WHAT_WAS_SAID = (
    """
    UPDATE catalog.component SET
        shared = NULL, p_value = NULL, q_value = NULL,
        reason = 'published before mask-level claims were measured: run again'
    """,
    """
    UPDATE catalog.component SET reasons = jsonb_build_object(
        'decodable', reason, 'specific', reason, 'agreeing', reason, 'stable', reason
    )
    """,
    """
    UPDATE catalog.component_subject
    SET p_unmasked = p_value, p_value = NULL, q_value = NULL, decodes = NULL
    """,
    """
    UPDATE catalog.run SET metrics = metrics - 'concepts'
        || jsonb_build_object('concepts_before_claims', metrics -> 'concepts')
    WHERE metrics ? 'concepts'
    """,
)
SAY_IT_AGAIN = (
    """
    UPDATE catalog.component_subject AS own SET
        p_value = own.p_unmasked,
        q_value = (said.subject ->> 'q_value')::double precision,
        decodes = (said.subject ->> 'decodes')::boolean
    FROM (
        SELECT component.id, key::int AS subject_id, value AS subject
        FROM catalog.component, jsonb_each(before_claims -> 'subjects')
    ) AS said
    WHERE (said.id, said.subject_id) = (own.component_id, own.subject_id)
    """,
    # Of what was published since, nothing is known that was not measured.
    "UPDATE catalog.component_subject SET decodes = false WHERE decodes IS NULL",
    """
    UPDATE catalog.component SET
        shared = (before_claims ->> 'shared')::boolean,
        p_value = (before_claims ->> 'p_value')::double precision,
        q_value = (before_claims ->> 'q_value')::double precision,
        reason = before_claims ->> 'reason'
    WHERE before_claims IS NOT NULL
    """,
    "UPDATE catalog.component SET shared = false WHERE shared IS NULL",
    """
    UPDATE catalog.run SET metrics = metrics - 'concepts_before_claims'
        || jsonb_build_object('concepts', metrics -> 'concepts_before_claims')
    WHERE metrics ? 'concepts_before_claims'
    """,
)

# Benjamini and Hochberg's q of the overlaps with regions, a family each of what they are
# partitioned by.
CORRECT_REGIONS = """
UPDATE catalog.component_region AS own SET q_value = corrected.q
FROM (
    SELECT component_id, subject_id, region_id,
           min(p_value * size / place) OVER (
               PARTITION BY {family} ORDER BY place DESC ROWS UNBOUNDED PRECEDING
           ) AS q
    FROM (
        SELECT component_id, subject_id, region_id, run_id, atlas,
               overlap.p_value,
               count(*) OVER (PARTITION BY {family}) AS size,
               row_number() OVER (
                   PARTITION BY {family} ORDER BY overlap.p_value, component_id, region_id
               ) AS place
        FROM catalog.component_region AS overlap
        JOIN catalog.component ON component.id = component_id
        JOIN catalog.region ON region.id = region_id
    ) AS ranked
) AS corrected
WHERE (own.component_id, own.subject_id, own.region_id)
    = (corrected.component_id, corrected.subject_id, corrected.region_id)
  AND own.q_value <> corrected.q
"""
OF_ATLAS, OF_PARTICIPANT = "run_id, subject_id, atlas", "run_id, subject_id"

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
               component.negations, component.stability_cosine, component.stability_dice,
               component.stability_seeds, component.reason{new}
        FROM catalog.component
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.encoder ON encoder.id = run.encoder_id
        WHERE catalog.may_read(dataset.embargoed)
    """,
    "concept_regions": """
        SELECT component_region.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, region.atlas, region.name AS region,
               component_region.auc, component_region.dice, component_region.p_value,
               component_region.q_value, component_region.n_voxels, run.method{new}
        FROM catalog.component_region
        JOIN catalog.component ON component.id = component_region.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.subject ON subject.id = component_region.subject_id
        JOIN catalog.region ON region.id = component_region.region_id{join}
        WHERE catalog.may_read(dataset.embargoed)
    """,
    "runs": """
        SELECT run.id AS run_id, dataset.slug AS dataset, encoder.name AS encoder, run.method,
               run.seed, run.code_version, run.device, run.metrics, run.published_at{new}
        FROM catalog.dataset
        JOIN catalog.run ON run.id = dataset.current_run_id
        JOIN catalog.encoder ON encoder.id = run.encoder_id
        WHERE catalog.may_read(dataset.embargoed)
    """,
}
NEW = {
    "concepts": """,
               component.decodable, component.specific, component.agreeing, component.stable,
               component.reasons, component.specific_p, component.specific_q,
               component.agreement_p, component.agreement_q, component.stability_chance,
               component.start_cosine, component.replicated, component.prevalence,
               component.prevalence_low, component.prevalence_high""",
    "concept_regions": """,
               component_region.auc_low, component_region.auc_high, component_subject.decodes,
               component.shared""",
    "runs": ", run.reproducible",
}
JOIN = {
    "concept_regions": """
        LEFT JOIN catalog.component_subject
          ON component_subject.component_id = component_region.component_id
         AND component_subject.subject_id = component_region.subject_id"""
}
CONCEPT_SUBJECTS = """
    SELECT component_subject.component_id, dataset.slug AS dataset, component.run_id,
           component.label, subject.label AS subject, component_subject.decodes,
           component_subject.r_hard, component_subject.r_low, component_subject.r_high,
           component_subject.p_value, component_subject.q_value,
           component_subject.r_normalised, component_subject.r_soft, component_subject.p_soft,
           component_subject.r_unmasked, component_subject.p_unmasked,
           component_subject.specific_p, component_subject.replication_r,
           component_subject.replication_p, component_subject.n_voxels,
           component_subject.reason, run.method
    FROM catalog.component_subject
    JOIN catalog.component ON component.id = component_subject.component_id
    JOIN catalog.dataset ON dataset.current_run_id = component.run_id
    JOIN catalog.run ON run.id = component.run_id
    JOIN catalog.subject ON subject.id = component_subject.subject_id
    WHERE catalog.may_read(dataset.embargoed)
"""

VIEW_COMMENTS: dict[str, tuple[str | None, str]] = {
    "concepts": (
        "Components of current runs: label, nearest terms, whether participants share them, "
        "whether other seeds find them.",
        "Components of current runs: label, nearest terms, whether participants share them, by "
        "which claims, and why not.",
    ),
    "concept_subjects": (
        None,
        "How well each participant's masks decode every component, on test images.",
    ),
}
CLAIM = "null where it was not measured"
# Of columns: what was said until here (None where there is none), and from here on.
COLUMN_COMMENTS: dict[str, tuple[str | None, str]] = {
    "runs.reproducible": (
        None,
        "Whether the run's components are found again above chance; false only where it was "
        f"published all the same; {CLAIM}.",
    ),
    "concepts.shared": (
        "Whether participants share it, at the run's level of q.",
        "Whether participants share it: it is decodable, specific, agreeing and stable; null where "
        "one of these was not measured and none fails.",
    ),
    "concepts.p_value": (
        "Of being shared: 0 to 1; null where it could not be tested.",
        "Of being decodable from the hard masks of enough participants: 0 to 1; null where it "
        "could not be tested.",
    ),
    "concepts.subjects": (
        "Labels of the participants whose brains decode it.",
        "Labels of the participants whose hard masks decode it.",
    ),
    "concepts.reason": (
        "Why the component is not shared; null where it is.",
        "Why the component is not shared, of the first claim that fails or else was not measured; "
        "null where it is.",
    ),
    "concepts.decodable": (
        None,
        f"Whether the hard masks of enough participants decode it, at the run's level of q; "
        f"{CLAIM}.",
    ),
    "concepts.specific": (
        None,
        f"Whether voxels are tuned to it more than to mixtures of components; {CLAIM}.",
    ),
    "concepts.agreeing": (
        None,
        f"Whether participants' masks agree more than those of different components; {CLAIM}.",
    ),
    "concepts.stable": (
        None,
        f"Whether it is found again by other seeds, on other images and in other participants; "
        f"{CLAIM}.",
    ),
    "concepts.reasons": (
        None,
        "For each claim that is false or null, by its name: why.",
    ),
    "concepts.specific_p": (None, "Of being specific: 0 to 1."),
    "concepts.specific_q": (None, "False discovery rate over the run's components, 0 to 1."),
    "concepts.agreement_p": (None, "Of agreement: 0 to 1."),
    "concepts.agreement_q": (None, "False discovery rate over the run's components, 0 to 1."),
    "concepts.stability_chance": (
        None,
        "Cosine that unmatched components reach: what stability_cosine is to be held against.",
    ),
    "concepts.start_cosine": (
        None,
        "Largest cosine with a direction that the search for components began with.",
    ),
    "concepts.replicated": (
        None,
        "Participants in whom the component, sought without them, was found again and decoded.",
    ),
    "concepts.prevalence": (
        None,
        "Share of such participants in the population, an estimate, 0 to 1.",
    ),
    "concepts.prevalence_low": (None, "Lower end of its 95 % interval."),
    "concepts.prevalence_high": (None, "Upper end of its 95 % interval."),
    "concept_regions.q_value": (
        "False discovery rate over the participant's components and regions.",
        "False discovery rate over the participant's components and the regions of the atlas.",
    ),
    "concept_regions.auc_low": (None, "Lower end of the AUC's 95 % interval; may be null."),
    "concept_regions.auc_high": (None, "Upper end of the AUC's 95 % interval; may be null."),
    "concept_regions.decodes": (
        None,
        f"Whether the participant's hard mask decodes the component; {CLAIM}.",
    ),
    "concept_regions.shared": (
        None,
        "Whether participants share the component; concepts has the claims and the reason.",
    ),
    "concept_subjects.component_id": (
        None,
        "The component's id, the same in every view and function.",
    ),
    "concept_subjects.dataset": (None, "Name of the dataset."),
    "concept_subjects.run_id": (
        None,
        "The run that the row comes from, the dataset's current one.",
    ),
    "concept_subjects.label": (
        None,
        "The vocabulary's words nearest to the component, with commas between.",
    ),
    "concept_subjects.subject": (None, "Label of the participant."),
    "concept_subjects.decodes": (
        None,
        f"Whether the hard mask decodes it, at the run's level of q; {CLAIM}.",
    ),
    "concept_subjects.r_hard": (
        None,
        "Correlation of the response that the hard mask decodes, -1 to 1: over test images, and "
        "over test trials where p_value is null and p_unmasked is not.",
    ),
    "concept_subjects.r_low": (
        None,
        "Lower end of the 95 % interval of r_hard, by bootstrap over images.",
    ),
    "concept_subjects.r_high": (None, "Upper end of that interval."),
    "concept_subjects.p_value": (None, "Of r_hard: 0 to 1."),
    "concept_subjects.q_value": (
        None,
        "False discovery rate of p_value over the run's components and participants, 0 to 1.",
    ),
    "concept_subjects.r_normalised": (
        None,
        "r_hard over the noise ceiling that the test repeats give; may exceed 1.",
    ),
    "concept_subjects.r_soft": (None, "As r_hard, of the soft mask."),
    "concept_subjects.p_soft": (None, "Of r_soft: 0 to 1."),
    "concept_subjects.r_unmasked": (None, "As r_hard, of all voxels."),
    "concept_subjects.p_unmasked": (None, "Of r_unmasked: 0 to 1."),
    "concept_subjects.specific_p": (
        None,
        "Of voxels tuned to it, and masks that tell it, more than mixtures of components.",
    ),
    "concept_subjects.replication_r": (
        None,
        "Correlation, in this participant, of the component that was sought without them.",
    ),
    "concept_subjects.replication_p": (None, "Of replication_r: 0 to 1."),
    "concept_subjects.n_voxels": (None, "Members of the hard mask."),
    "concept_subjects.reason": (
        None,
        "Why there is no mask, or why it was not tested; null where it was.",
    ),
    "concept_subjects.method": (None, "How the run found its concepts: masks or clusters."),
}

# A function of other columns has to be made anew.
SEARCH = "search_concepts(prompt text, k int)"
SEARCH_OF_DATASET = "search_concepts(prompt text, k int, of_dataset text)"
RETURNS = """
            RETURNS TABLE (component_id int, dataset text, run_id int, encoder text, label text,
                       similarity double precision, shared boolean, p_value double precision,
                       q_value double precision, method text{columns})
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {path} """
ALL_DATASETS = " SELECT * FROM catalog.search_concepts(prompt, k, NULL) "
ONE_DATASET = """
            SELECT component.id, dataset.slug, run.id, encoder.name, component.label,
                   1 - (component.vector <=> asked.direction), component.shared,
                   component.p_value, component.q_value, run.method{values}
            FROM catalog.prompt_vectors(prompt, of_dataset) AS asked
            JOIN catalog.encoder ON encoder.id = asked.encoder_id
            JOIN catalog.component ON component.encoder_id = asked.encoder_id
            JOIN catalog.dataset ON dataset.current_run_id = component.run_id AND \
(of_dataset IS NULL OR dataset.slug = of_dataset) AND catalog.may_read(dataset.embargoed)
            JOIN catalog.run ON run.id = component.run_id
            ORDER BY component.vector <=> asked.direction, component.id
            LIMIT k
        """
NEW_OF_SEARCH = {
    **dict.fromkeys(("decodable", "specific", "agreeing", "stable"), "boolean"),
    "reason": "text",
    "reasons": "jsonb",
    **dict.fromkeys(("prevalence", "prevalence_low", "prevalence_high"), "double precision"),
}
SEARCH_COMMENT = (
    "The k concepts nearest to a prompt, best first, over all current runs. similarity: cosine "
    "with the prompt, the mean of all texts taken off, -1 to 1; {told}. An unknown prompt is an "
    "error whose hint names the command that adds it."
)
TOLD_BEFORE = "p_value and q_value: of being shared, 0 to 1"
TOLD = (
    "p_value and q_value: of being decodable, 0 to 1; shared: whether all of decodable, specific, "
    "agreeing and stable hold, null where one was not measured and none fails; reasons: why a "
    "claim fails, by its name"
)
OF_DATASET = (
    " The same of one dataset, which must be named where datasets of several encoders have a "
    "current run; null is all."
)

# Views over some views and functions, each after what it shows.
OVER = """
WITH RECURSIVE over_them(kind, oid, depth) AS (
    SELECT 'pg_class'::regclass::oid, CAST(name AS regclass)::oid, 0
    FROM unnest(CAST(:views AS text[])) AS name
    UNION ALL
    SELECT 'pg_proc'::regclass::oid, CAST(name AS regprocedure)::oid, 0
    FROM unnest(CAST(:functions AS text[])) AS name
    UNION ALL
    SELECT 'pg_class'::regclass::oid, ev_class, depth + 1
    FROM over_them
    JOIN pg_depend ON (refclassid, refobjid) = (over_them.kind, over_them.oid)
    JOIN pg_rewrite ON pg_rewrite.oid = objid AND classid = 'pg_rewrite'::regclass
    WHERE (kind, ev_class) <> ('pg_class'::regclass::oid, over_them.oid)
)
SELECT oid::regclass::text AS name, pg_get_viewdef(oid) AS query,
       array_to_string(reloptions, ', ') AS options, relowner::regrole::text AS owner, relkind
FROM (
    SELECT oid, max(depth) AS depth FROM over_them
    WHERE kind = 'pg_class'::regclass::oid GROUP BY oid
) AS once
JOIN pg_class USING (oid) ORDER BY once.depth, oid
"""
GRANTS_ON_VIEW = """
SELECT format('GRANT %s ON %s TO %s', privilege_type, oid::regclass,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
       || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_class, aclexplode(relacl)
WHERE oid = CAST(:name AS regclass) AND grantee <> relowner
"""
GRANTS_ON_FUNCTION = """
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %s', oid::regprocedure, grantee::regrole)
       || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_proc, aclexplode(proacl)
WHERE oid = CAST(:name AS regprocedure) AND grantee NOT IN (0, proowner)
"""
COMMENTS_OF_VIEW = """
SELECT coalesce(quote_ident(attname), ''), quote_literal(description)
FROM pg_description
LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
WHERE objoid = CAST(:name AS regclass) AND classoid = 'pg_class'::regclass
"""
COLUMNS_OF_VIEW = """
SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = CAST(:name AS regclass)
"""
FUNCTIONS = ("catalog.search_concepts(text,int)", "catalog.search_concepts(text,int,text)")


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True), schema="catalog")
    op.add_column(
        "component",
        sa.Column("reasons", JSONB(), server_default="{}", nullable=False),
        schema="catalog",
    )
    op.alter_column("component", "shared", nullable=True, schema="catalog")
    op.alter_column(
        "component_subject", "decodes", nullable=True, server_default=None, schema="catalog"
    )
    op.execute(KEEP_WHAT_WAS_SAID)
    for statement in TAKE_BACK_WHAT_WAS_SAID:
        op.execute(statement)
    op.execute(CORRECT_REGIONS.format(family=OF_ATLAS))
    op.create_check_constraint(
        op.f("ck_component_shared_by_claims"), "component", SHARED_BY_CLAIMS, schema="catalog"
    )
    for name in VIEWS:
        op.execute(
            f"CREATE OR REPLACE VIEW catalog.{name} WITH (security_barrier) AS {_view(name)}"
        )
    op.execute(
        "CREATE VIEW catalog.concept_subjects WITH (security_barrier) AS " + CONCEPT_SUBJECTS
    )
    op.execute(f"GRANT SELECT ON catalog.concept_subjects TO {READER}")
    with _without((), FUNCTIONS):
        _make_searches(NEW_OF_SEARCH, TOLD)
    _comment(1)


def downgrade() -> None:
    """Of runs that were published since, a claim that was not measured counts as one that fails."""
    _drop_view("catalog.concept_subjects")
    with _without(tuple(f"catalog.{name}" for name in VIEWS), FUNCTIONS) as queries:
        # A view names all columns of a function, of which the version before has fewer.
        further = "".join(f", {name}" for name in NEW_OF_SEARCH)
        for name, query in queries.items():
            queries[name] = query.replace(f"{further})", ")")
        for name in VIEWS:
            queries[f"catalog.{name}"] = VIEWS[name].format(new="", join="")
        _make_searches({}, TOLD_BEFORE)
        op.drop_constraint(op.f("ck_component_shared_by_claims"), "component", schema="catalog")
        for statement in SAY_IT_AGAIN:
            op.execute(statement)
        op.execute(CORRECT_REGIONS.format(family=OF_PARTICIPANT))
        op.alter_column(
            "component_subject",
            "decodes",
            nullable=False,
            server_default=sa.false(),
            schema="catalog",
        )
        op.alter_column("component", "shared", nullable=False, schema="catalog")
        op.drop_column("component", "reasons", schema="catalog")
        for table, columns in COLUMNS.items():
            for name in columns:
                op.drop_column(table, name, schema="catalog")
    _comment(0)


def _view(name: str) -> str:
    return VIEWS[name].format(new=NEW[name], join=JOIN.get(name, ""))


def _make_searches(columns: dict[str, str], told: str) -> None:
    """Make both functions anew, with these columns after those that they had from the first."""
    returns = RETURNS.format(
        columns="".join(f", {name} {kind}" for name, kind in columns.items()), path=_path()
    )
    one_dataset = ONE_DATASET.format(values="".join(f", component.{name}" for name in columns))
    comment = SEARCH_COMMENT.format(told=told)
    grants = [grant for name in FUNCTIONS for grant in _rows(GRANTS_ON_FUNCTION, name)]
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}")
    for bare, body, told_of_it in (
        (SEARCH_OF_DATASET, one_dataset, comment + OF_DATASET),
        (SEARCH, ALL_DATASETS, comment),
    ):
        signature = bare.replace("k int)", "k int DEFAULT 10)")
        op.execute(f"CREATE FUNCTION catalog.{signature} {returns}AS $${body}$$")
        op.execute(f"COMMENT ON FUNCTION catalog.{bare} IS $${told_of_it}$$")
        op.execute(f"REVOKE EXECUTE ON FUNCTION catalog.{bare} FROM PUBLIC")
    for (grant,) in grants:
        _run(grant)


def _path() -> str:
    schema = op.get_bind().scalar(
        sa.text(
            "SELECT quote_ident(nspname) FROM pg_extension"
            " JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
        )
    )
    return f"pg_catalog, {schema}, pg_temp"


def _comment(when: int) -> None:
    """Describe views and columns as they were until here (0), or from here on (1)."""
    for name, comments in VIEW_COMMENTS.items():
        if comments[when]:
            op.execute(f"COMMENT ON VIEW catalog.{name} IS $${comments[when]}$$")
    for name, comments in COLUMN_COMMENTS.items():
        if comments[when]:
            op.execute(f"COMMENT ON COLUMN catalog.{name} IS $${comments[when]}$$")


def _drop_view(name: str) -> None:
    """Drop a view that the version before does not have, where no other view is built on it."""
    over = {"views": [name], "functions": []}
    known = [row.name for row in op.get_bind().execute(sa.text(OVER), over) if row.name != name]
    if known:
        raise UnavailableError(
            f"what {', '.join(known)} shows comes from {name}, which the version before does not "
            "have",
            hint="drop it, and bring the catalog to the other version",
        )
    op.execute(f"DROP VIEW {name}")


@contextmanager
def _without(views: Sequence[str], functions: Sequence[str]) -> Iterator[dict[str, str]]:
    """Take views away, with those that a lab has made over them or over functions, and make them
    again as they were.

    Yields
    ------
    dict
        Their queries, which may be changed meanwhile.
    """
    connection = op.get_bind()
    over = {"views": list(views), "functions": list(functions)}
    known = connection.execute(sa.text(OVER), over).all()
    if kept := [row.name for row in known if row.relkind != "v"]:
        raise UnavailableError(
            f"what {', '.join(kept)} keeps comes from what changes its columns",
            hint="drop it, bring the catalog to the other version, and make it again",
        )
    acl = {row.name: _rows(GRANTS_ON_VIEW, row.name) for row in known}
    told = {row.name: _rows(COMMENTS_OF_VIEW, row.name) for row in known}
    for row in reversed(known):
        _run(f"DROP VIEW {row.name}")
    queries = {row.name: row.query for row in known}
    yield queries
    for row in known:
        options = f" WITH ({row.options})" if row.options else ""
        try:
            _run(f"CREATE VIEW {row.name}{options} AS {queries[row.name]}")
        except sa.exc.ProgrammingError as error:
            if not isinstance(error.orig, errors.UndefinedColumn | errors.InvalidColumnReference):
                raise
            raise UnavailableError(
                f"the view {row.name} shows columns that the other version does not have",
                hint="drop it, bring the catalog to the other version, and make it again",
            ) from error
        columns = {name for (name,) in _rows(COLUMNS_OF_VIEW, row.name)}
        for column, comment in told[row.name]:
            if not column or column in columns:
                what = f"COLUMN {row.name}.{column}" if column else f"VIEW {row.name}"
                _run(f"COMMENT ON {what} IS {comment}")
        for (grant,) in acl[row.name]:
            _run(grant)
        _run(f"ALTER VIEW {row.name} OWNER TO {row.owner}")


def _run(statement: str) -> None:
    # The driver takes a percent sign for the beginning of a placeholder.
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def _rows(query: str, name: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in op.get_bind().execute(sa.text(query), {"name": name})]

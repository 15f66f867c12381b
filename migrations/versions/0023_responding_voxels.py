"""A mask is where a brain responds to a concept; which voxels a decoder needs is told beside it.

Of a run that was published before, masks were the voxels that its decoder needs, and stay so: it is
not known which voxels respond, nor in which direction, until the dataset is run again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from psycopg import errors

from app.errors import UnavailableError

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS: dict[str, dict[str, Any]] = {
    "component_subject": {"n_needed": sa.Integer(), "response_sign": sa.SmallInteger()},
    "component_voxel": {"needed": sa.REAL()},
}

# New columns come last: a view that is replaced keeps the others, and what is built on it.
VIEWS = {
    "concept_regions": """
        SELECT component_region.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, region.atlas, region.name AS region,
               component_region.auc, component_region.dice, component_region.p_value,
               component_region.q_value, component_region.n_voxels, run.method,
               component_region.auc_low, component_region.auc_high, component_subject.decodes,
               component.shared{new}
        FROM catalog.component_region
        JOIN catalog.component ON component.id = component_region.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.subject ON subject.id = component_region.subject_id
        JOIN catalog.region ON region.id = component_region.region_id
        LEFT JOIN catalog.component_subject
          ON component_subject.component_id = component_region.component_id
         AND component_subject.subject_id = component_region.subject_id
        WHERE catalog.may_read(dataset.embargoed)
    """,
    "concept_subjects": """
        SELECT component_subject.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, component_subject.decodes,
               component_subject.r_hard, component_subject.r_low, component_subject.r_high,
               component_subject.p_value, component_subject.q_value,
               component_subject.r_normalised, component_subject.r_soft, component_subject.p_soft,
               component_subject.r_unmasked, component_subject.p_unmasked,
               component_subject.specific_p, component_subject.replication_r,
               component_subject.replication_p, component_subject.n_voxels,
               component_subject.reason, run.method{new}
        FROM catalog.component_subject
        JOIN catalog.component ON component.id = component_subject.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.subject ON subject.id = component_subject.subject_id
        WHERE catalog.may_read(dataset.embargoed)
    """,
    "concept_voxels": """
        SELECT component_voxel.component_id, dataset.slug AS dataset, component.run_id,
               component.label, subject.label AS subject, component_voxel.voxel_id,
               component_voxel.weight, voxel.i, voxel.j, voxel.k, voxel.x, voxel.y, voxel.z,
               voxel.mni_x, voxel.mni_y, voxel.mni_z, voxel.noise_ceiling, run.method{new}
        FROM catalog.component_voxel
        JOIN catalog.component ON component.id = component_voxel.component_id
        JOIN catalog.dataset ON dataset.current_run_id = component.run_id
        JOIN catalog.run ON run.id = component.run_id
        JOIN catalog.voxel ON voxel.id = component_voxel.voxel_id
        JOIN catalog.subject ON subject.id = voxel.subject_id
        WHERE catalog.may_read(dataset.embargoed)
    """,
}
NEW = {
    "concept_regions": ", component_subject.response_sign",
    "concept_subjects": ", component_subject.n_needed, component_subject.response_sign",
    "concept_voxels": ", component_voxel.needed",
}

VIEW_COMMENTS = {
    "concept_regions": (
        "Overlap of every component's mask with every region, per participant.",
        "Overlap of every component's mask, the voxels that respond to it, with every region, per "
        "participant.",
    ),
    "concept_subjects": (
        "How well each participant's masks decode every component, on test images.",
        "How many of each participant's voxels respond to every component, and how well the voxels "
        "that the decoder needs decode it, on test images.",
    ),
    "concept_voxels": (
        "Members of every component's hard mask, with their weight.",
        "Members of every component's mask: voxels that respond to it, how far they stand out, and "
        "by what weight the decoder needs them.",
    ),
}
CLAIM = "null where it was not measured"
SIGN = (
    "1 where the mask's voxels respond more to the component than to other stimuli, -1 where they "
    "respond less; null where there is no mask, of clusters, and in runs published before "
    "responses were measured."
)
# Of columns: what was said until here (None where there is none), and from here on.
COLUMN_COMMENTS: dict[str, tuple[str | None, str]] = {
    "concepts.p_value": (
        "Of being decodable from the hard masks of enough participants: 0 to 1; null where it "
        "could not be tested.",
        "Of being decodable, in enough participants, from the voxels that the decoder needs: 0 to "
        "1; null where it could not be tested.",
    ),
    "concepts.stability_cosine": (
        "Cosine with its partners of other seeds, mean, -1 to 1.",
        "Cosine of its scores over the stimuli with those of its partners of other seeds, mean, -1 "
        "to 1; of directions in runs published before.",
    ),
    "concepts.prevalence": (
        "Share of such participants in the population, an estimate, 0 to 1.",
        "Share of participants in the population in whom the voxels that the decoder needs decode "
        "it, an estimate, 0 to 1.",
    ),
    "concepts.subjects": (
        "Labels of the participants whose hard masks decode it.",
        "Labels of the participants in whom the voxels that the decoder needs decode it.",
    ),
    "concepts.decodable": (
        f"Whether the hard masks of enough participants decode it, at the run's level of q; "
        f"{CLAIM}.",
        "Whether the voxels that the decoder needs decode it in enough participants, at the run's "
        f"level of q; {CLAIM}.",
    ),
    "concept_regions.auc": (
        "Of the soft mask as a guess at the region's voxels, 0 to 1; chance is 0.5.",
        "Area under the curve, the voxels in the order of their responses as a guess at the "
        "region's, 0 to 1; chance is 0.5.",
    ),
    "concept_regions.dice": (
        "Overlap of hard mask and region, 0 (none) to 1 (the same voxels).",
        "Overlap of mask and region, 0 (none) to 1 (the same voxels).",
    ),
    "concept_regions.n_voxels": (
        "Members of the hard mask inside the region.",
        "Members of the mask inside the region.",
    ),
    "concept_regions.auc_low": (
        "Lower end of the AUC's 95 % interval; may be null.",
        "Lower end of the AUC's 95 % interval, by bootstrap over stimuli; may be null.",
    ),
    "concept_regions.decodes": (
        f"Whether the participant's hard mask decodes the component; {CLAIM}.",
        f"Whether the voxels that the participant's decoder needs decode the component; {CLAIM}.",
    ),
    "concept_regions.response_sign": (None, SIGN),
    "concept_subjects.decodes": (
        f"Whether the hard mask decodes it, at the run's level of q; {CLAIM}.",
        f"Whether the voxels that the decoder needs decode it, at the run's level of q; {CLAIM}.",
    ),
    "concept_subjects.r_hard": (
        "Correlation of the response that the hard mask decodes, -1 to 1: over test images, and "
        "over test trials where p_value is null and p_unmasked is not.",
        "Correlation of the response that the voxels that the decoder needs decode, -1 to 1: over "
        "test images, and over test trials where p_value is null and p_unmasked is not.",
    ),
    "concept_subjects.r_soft": (
        "As r_hard, of the soft mask.",
        "As r_hard, of all voxels by how far the decoder needs them.",
    ),
    "concept_subjects.specific_p": (
        "Of voxels tuned to it, and masks that tell it, more than mixtures of components.",
        "Of voxels tuned to it, and the voxels that the decoder needs telling it, more than "
        "mixtures of components.",
    ),
    "concept_subjects.n_voxels": (
        "Members of the hard mask.",
        "Members of the mask: voxels that respond to it; where n_needed is null, the voxels that "
        "r_hard is of.",
    ),
    "concept_subjects.n_needed": (
        None,
        "Voxels that the decoder needs to tell it, which r_hard is of; null of clusters, and in "
        "runs published before responses were measured.",
    ),
    "concept_subjects.response_sign": (None, SIGN),
    "concept_voxels.weight": (
        "Of the voxel in the soft mask, 0 to 1.",
        "How far the voxel stands out, 0.5 to 1, in the order of the responses; 1 of clusters. "
        "Where needed is null, and the method is masks, the decoder's weight of the voxel.",
    ),
    "concept_voxels.needed": (
        None,
        "How far the decoder needs the voxel, 0 to 1: among n_needed from the run's "
        "masks.threshold, 0.5 if it was not set; null of clusters, and in runs published before "
        "responses were measured.",
    ),
}

# Views over some views, each after what it shows.
OVER = """
WITH RECURSIVE over_them(oid, depth) AS (
    SELECT CAST(name AS regclass)::oid, 0 FROM unnest(CAST(:views AS text[])) AS name
    UNION ALL
    SELECT ev_class, depth + 1
    FROM over_them
    JOIN pg_depend ON refobjid = over_them.oid AND refclassid = 'pg_class'::regclass
    JOIN pg_rewrite ON pg_rewrite.oid = objid AND classid = 'pg_rewrite'::regclass
    WHERE ev_class <> over_them.oid
)
SELECT oid::regclass::text AS name, pg_get_viewdef(oid) AS query,
       array_to_string(reloptions, ', ') AS options, relowner::regrole::text AS owner, relkind
FROM (SELECT oid, max(depth) AS depth FROM over_them GROUP BY oid) AS once
JOIN pg_class USING (oid) ORDER BY depth, oid
"""
GRANTS = """
SELECT format('GRANT %s ON %s TO %s', privilege_type, oid::regclass,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
       || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_class, aclexplode(relacl)
WHERE oid = CAST(:name AS regclass) AND grantee <> relowner
"""
COMMENTS = """
SELECT coalesce(quote_ident(attname), ''), quote_literal(description)
FROM pg_description
LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
WHERE objoid = CAST(:name AS regclass) AND classoid = 'pg_class'::regclass
"""
COLUMNS_OF_VIEW = """
SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = CAST(:name AS regclass)
"""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True), schema="catalog")
    op.create_check_constraint(
        op.f("ck_component_subject_response_sign"),
        "component_subject",
        "response_sign IN (-1, 1)",
        schema="catalog",
    )
    for name, query in VIEWS.items():
        op.execute(
            f"CREATE OR REPLACE VIEW catalog.{name} WITH (security_barrier) AS "
            + query.format(new=NEW[name])
        )
    _comment(1)


def downgrade() -> None:
    """Of runs that were published since, masks stay the voxels that respond."""
    with _without([f"catalog.{name}" for name in VIEWS]) as queries:
        for name, query in VIEWS.items():
            queries[f"catalog.{name}"] = query.format(new="")
        for table, columns in COLUMNS.items():
            for name in columns:
                op.drop_column(table, name, schema="catalog")
    _comment(0)


def _comment(when: int) -> None:
    """Describe views and columns as they were until here (0), or from here on (1)."""
    for name, comments in VIEW_COMMENTS.items():
        op.execute(f"COMMENT ON VIEW catalog.{name} IS $${comments[when]}$$")
    for column, told in COLUMN_COMMENTS.items():
        if told[when]:
            op.execute(f"COMMENT ON COLUMN catalog.{column} IS $${told[when]}$$")


@contextmanager
def _without(views: Sequence[str]) -> Iterator[dict[str, str]]:
    """Take views away, with those that a lab has made over them, and make them again as they were.

    Yields
    ------
    dict
        Their queries, which may be changed meanwhile.
    """
    connection = op.get_bind()
    known = connection.execute(sa.text(OVER), {"views": list(views)}).all()
    if kept := [row.name for row in known if row.relkind != "v"]:
        raise UnavailableError(
            f"what {', '.join(kept)} keeps comes from what changes its columns",
            hint="drop it, bring the catalog to the other version, and make it again",
        )
    acl = {row.name: _rows(GRANTS, row.name) for row in known}
    told = {row.name: _rows(COMMENTS, row.name) for row in known}
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

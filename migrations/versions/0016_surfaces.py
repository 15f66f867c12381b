"""Participants on surfaces: a mesh instead of an affine, and indices that reach its vertices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

from app.errors import UnavailableError

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# What shows the indices has to go while their type changes.
VIEWS = ("catalog.voxels", "catalog.concept_voxels")
INDICES = {
    "i": "Index of the voxel along axis i of the participant's grid; of a vertex 0 (left) or 1.",
    "j": "Index of the voxel along axis j of the participant's grid; of a vertex its number.",
    "k": "Index of the voxel along axis k of the participant's grid; of a vertex 0.",
}
COMMENTS = {
    **{f"voxels.{axis}": told for axis, told in INDICES.items()},
    **{f"concept_voxels.{axis}": told for axis, told in INDICES.items()},
    "subjects.grid": "Voxels of the participant's volumes along i, j and k; of a surface 2, the "
    "vertices of a hemisphere, and 1.",
    "subjects.affine": "Matrix (4 x 4, row by row) from voxel indices i, j, k to x, y, z in mm; "
    "null of a surface.",
}
SURFACE = "Mesh that the responses lie on, such as fsLR_den-32k; null of volumes."
SUBJECTS = """
    SELECT subject.id AS subject_id, dataset.slug AS dataset, subject.label AS subject,
           subject.grid, subject.affine, subject.n_trials, subject.n_sessions,
           (SELECT count(*) FROM catalog.voxel WHERE voxel.subject_id = subject.id) AS n_voxels,
           decoder.metrics{surface}
    FROM catalog.subject
    JOIN catalog.dataset ON dataset.id = subject.dataset_id
    JOIN catalog.decoder
      ON decoder.run_id = dataset.current_run_id AND decoder.subject_id = subject.id
    WHERE catalog.may_read(dataset.embargoed)
"""

# Views over some views, these too, each after what it shows.
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
WHERE oid = CAST(:view AS regclass) AND grantee <> relowner
"""
TOLD = """
SELECT coalesce(quote_ident(attname), ''), quote_literal(description)
FROM pg_description
LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
WHERE objoid = CAST(:view AS regclass) AND classoid = 'pg_class'::regclass
"""
COLUMNS = """
SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = CAST(:view AS regclass)
"""


def upgrade() -> None:
    _set_type("integer")
    op.alter_column("subject", "affine", nullable=True, schema="catalog")
    op.add_column("subject", sa.Column("surface", sa.Text()), schema="catalog")
    op.create_check_constraint(
        op.f("ck_subject_affine_or_surface"),
        "subject",
        "(affine IS NULL) <> (surface IS NULL)",
        schema="catalog",
    )
    op.execute(
        "CREATE OR REPLACE VIEW catalog.subjects WITH (security_barrier) AS "
        + SUBJECTS.format(surface=", subject.surface")
    )
    op.execute(f"COMMENT ON COLUMN catalog.subjects.surface IS $${SURFACE}$$")
    for column, told in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN catalog.{column} IS $${told}$$")


def downgrade() -> None:
    """Refused by the database while a participant is on a surface."""
    with _without(("catalog.subjects",)) as queries:
        op.drop_constraint(op.f("ck_subject_affine_or_surface"), "subject", schema="catalog")
        op.drop_column("subject", "surface", schema="catalog")
        op.alter_column("subject", "affine", nullable=False, schema="catalog")
        queries["catalog.subjects"] = SUBJECTS.format(surface="")
    _set_type("smallint")
    for column, comment in COMMENTS.items():
        before, _, _ = comment.partition("; ")
        op.execute(f"COMMENT ON COLUMN catalog.{column} IS $${before}.$$")


def _set_type(new: str) -> None:
    changes = ", ".join(f"ALTER COLUMN {axis} TYPE {new}" for axis in "ijk")
    with _without(VIEWS):
        op.execute(f"ALTER TABLE catalog.voxel {changes}")


@contextmanager
def _without(views: tuple[str, ...]) -> Iterator[dict[str, str]]:
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
            f"what {', '.join(kept)} keeps comes from views whose columns change",
            hint="drop it, bring the catalog to the other version, and make it again",
        )
    acl = {row.name: connection.scalars(sa.text(GRANTS), {"view": row.name}).all() for row in known}
    comments = {row.name: connection.execute(sa.text(TOLD), {"view": row.name}) for row in known}
    told = {name: [tuple(row) for row in rows] for name, rows in comments.items()}
    for row in reversed(known):
        _run(f"DROP VIEW {row.name}")
    queries = {row.name: row.query for row in known}
    yield queries
    for row in known:
        options = f" WITH ({row.options})" if row.options else ""
        _run(f"CREATE VIEW {row.name}{options} AS {queries[row.name]}")
        columns = connection.scalars(sa.text(COLUMNS), {"view": row.name}).all()
        for column, comment in told[row.name]:
            if column in ("", *columns):
                what = f"COLUMN {row.name}.{column}" if column else f"VIEW {row.name}"
                _run(f"COMMENT ON {what} IS {comment}")
        for grant in acl[row.name]:
            _run(grant)
        _run(f"ALTER VIEW {row.name} OWNER TO {row.owner}")


def _run(statement: str) -> None:
    # The driver takes a percent sign for the beginning of a placeholder.
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))

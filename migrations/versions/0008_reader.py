"""A role that reads views and functions and nothing else, and datasets that it does not see."""

import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op
from psycopg import errors

from app.errors import UnavailableError

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

log = logging.getLogger("app.database.migrate")

READER = "catalog_reader"
CREATE_READER = f"CREATE ROLE {READER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
SETTINGS = {
    "statement_timeout": "'30s'",
    "default_transaction_read_only": "on",
    "search_path": "catalog, public",
}

# The body is bound when the function is made: names that are looked up at a call would be looked
# up in the schemas of whoever calls, who could put a function of that name there.
MAY_READ = """
CREATE FUNCTION catalog.may_read(embargoed boolean) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN NOT embargoed OR pg_has_role(
    session_user,
    (SELECT relowner FROM pg_class WHERE oid = 'catalog.dataset'::regclass),
    'MEMBER'
)
"""
# Of the one who logged in, since in a function with its owner's rights every current_user is
# entitled.
GUARD = "catalog.may_read(dataset.embargoed)"

MM = "of its centre, in mm"
COMPONENT = {
    "component_id": "The component's id, the same in every view and function.",
    "dataset": "Name of the dataset.",
    "run_id": "The run that the row comes from, the dataset's current one.",
}
LABEL = "The vocabulary's words nearest to the component, with commas between."
METHOD = "How the run found its concepts: masks or clusters."
PLACE = {
    **{axis: f"Index of the voxel along axis {axis} of the participant's grid." for axis in "ijk"},
    **{axis: f"Coordinate {axis} {MM} of the participant's own space." for axis in "xyz"},
    **{
        f"mni_{axis}": f"Coordinate {axis} {MM} of MNI space; null where it is not known."
        for axis in "xyz"
    },
    "noise_ceiling": "Share of the variance that the picture can explain, in percent; may be null.",
}
SUBJECT = "Label of the participant."

# View: what it is, and what its columns are.
VIEWS = {
    "runs": (
        "Current run of every dataset.",
        {
            "run_id": "The run's id.",
            "dataset": "Name of the dataset.",
            "encoder": "The encoder whose space the run's vectors lie in.",
            "method": METHOD,
            "seed": "The seed that the run's draws come from.",
            "code_version": "Version of the program that computed the run.",
            "device": "Where it was computed: cpu or cuda.",
            "metrics": "What was measured of the run as a whole, by name; shares are 0 to 1.",
            "published_at": "When the run was published.",
        },
    ),
    "subjects": (
        "Participants of every dataset that has a current run.",
        {
            "subject_id": "The participant's id.",
            "dataset": "Name of the dataset.",
            "subject": SUBJECT,
            "grid": "Voxels of the participant's volumes along i, j and k.",
            "affine": "Matrix (4 x 4, row by row) from voxel indices i, j, k to x, y, z in mm.",
            "n_trials": "Trials that were read.",
            "n_sessions": "Sessions that were read.",
            "n_voxels": "Voxels above the threshold of the noise ceiling.",
            "metrics": "What was measured of the decoder, by name; shares are 0 to 1.",
        },
    ),
    "voxels": (
        "Voxels above the noise-ceiling threshold, native and MNI mm, with their regions.",
        {
            "voxel_id": "The voxel's id, the same in every view and function.",
            "dataset": "Name of the dataset.",
            "subject": SUBJECT,
            **PLACE,
            "regions": "The regions that the voxel belongs to, each as atlas:region.",
        },
    ),
    "concepts": (
        "Components of current runs: label, nearest terms, whether participants share them, "
        "whether other seeds find them.",
        {
            **COMPONENT,
            "encoder": "The encoder whose space the component is a direction of.",
            "method": METHOD,
            "index": "The component's number in its run, from 0.",
            "label": LABEL,
            "terms": "The vocabulary's words nearest to the component, the nearest first.",
            "shared": "Whether participants share it, at the run's level of q.",
            "p_value": "Of being shared: 0 to 1; null where it could not be tested.",
            "q_value": "False discovery rate over the run's components, 0 to 1.",
            "agreement": "Mean correlation of the participants' masks in MNI space, -1 to 1.",
            "subjects": "Labels of the participants whose brains decode it.",
            "negations": "The vocabulary's words farthest from the component, the farthest first.",
            "stability_cosine": "Cosine with its partners of other seeds, mean, -1 to 1.",
            "stability_dice": "Dice of its masks with its partners', mean, 0 to 1.",
            "stability_seeds": "Other seeds that found a partner; null where none were tried.",
            "reason": "Why the component is not shared; null where it is.",
        },
    ),
    "concept_regions": (
        "Overlap of every component's mask with every region, per participant.",
        {
            **COMPONENT,
            "label": LABEL,
            "subject": SUBJECT,
            "atlas": "The atlas that the region belongs to.",
            "region": "Name of the region.",
            "auc": "Of the soft mask as a guess at the region's voxels, 0 to 1; chance is 0.5.",
            "dice": "Overlap of hard mask and region, 0 (none) to 1 (the same voxels).",
            "p_value": "Of the AUC, the region placed at random elsewhere: 0 to 1.",
            "q_value": "False discovery rate over the participant's components and regions.",
            "n_voxels": "Members of the hard mask inside the region.",
            "method": METHOD,
        },
    ),
    "concept_voxels": (
        "Members of every component's hard mask, with their weight.",
        {
            **COMPONENT,
            "label": LABEL,
            "subject": SUBJECT,
            "voxel_id": "The voxel's id, the same in every view and function.",
            "weight": "Of the voxel in the soft mask, 0 to 1.",
            **PLACE,
            "method": METHOD,
        },
    ),
}

PROMPT = "An unknown prompt is an error whose hint names the command that adds it."
ARGUMENTS = "(prompt text, k int)"
# Function of the contract: the condition that the guard goes behind, and what the function is.
CONTRACT = {
    f"search_concepts{ARGUMENTS}": (
        "dataset.current_run_id = component.run_id",
        "The k concepts nearest to a prompt, best first, over all current runs. similarity: cosine "
        "with the prompt, the mean of all texts taken off, -1 to 1; p_value and q_value: of being "
        f"shared, 0 to 1. {PROMPT}",
    ),
    f"search_regions{ARGUMENTS}": (
        None,
        "The k regions that carry the ten concepts nearest to a prompt, best first. score: "
        "similarity x (2 AUC - 1), -1 to 1; auc: of the concept's mask as a guess at the region's "
        "voxels, 0 to 1; p_value and q_value: of the AUC, 0 to 1; n_voxels: members of the mask "
        f"inside the region. {PROMPT}",
    ),
    f"search_voxels{ARGUMENTS}": (
        "dataset.current_run_id = voxel_vector.run_id",
        "The k voxels whose decoder weights point nearest to a prompt, over all current runs. "
        "similarity: cosine, -1 to 1; x, y, z: mm of the participant's own space; mni_x, mni_y, "
        f"mni_z: mm of MNI space, null where they are not known. {PROMPT}",
    ),
    "nearest_terms(component_id int, k int)": (
        "dataset.current_run_id = component.run_id",
        "The k words of the vocabulary nearest to a component of a current run, best first. "
        "similarity: cosine, the mean of all texts taken off, -1 to 1.",
    ),
}
PROMPT_VECTORS = "prompt_vectors(prompt text)"
OTHERS = {
    PROMPT_VECTORS: "A prompt in the space of every encoder that a current run uses, its mean "
    f"taken off; no unit vector. {PROMPT}",
    "may_read(embargoed boolean)": "Whether the user who logged in may read a dataset: an "
    "embargoed one belongs to the members of the role that owns the tables.",
    "check_dimensions()": "Trigger: a vector has its encoder's dimension.",
    "check_vectors()": "Trigger: a voxel's vector has its decoder and its voxel.",
    "keep_decoder()": "Trigger: run, participant and encoder of a decoder stay as they are.",
    "remove_vectors_of_decoder()": "Trigger: voxels' vectors go with their decoder.",
    "remove_vectors_of_voxel()": "Trigger: vectors go with their voxel.",
}

# Functions of PostgreSQL's own that write and that PUBLIC may call: large objects, and the log.
WRITING = ("lo_creat", "lo_create", "lo_from_bytea", "pg_logical_emit_message")


def upgrade() -> None:
    _make_reader()
    op.add_column(
        "dataset",
        sa.Column("embargoed", sa.Boolean(), server_default=sa.false(), nullable=False),
        schema="catalog",
    )
    op.execute(MAY_READ)
    # A condition of the reader's own must not see a row before the guard does: its failure would
    # tell what the row holds.
    for name, query in _views().items():
        query = query.replace(
            "component.stability_seeds", "component.stability_seeds, component.reason"
        )
        guarded = f"{query} {'AND' if 'WHERE dataset' in query else 'WHERE'} {GUARD}"
        op.execute(f"CREATE OR REPLACE VIEW catalog.{name} WITH (security_barrier) AS {guarded}")
        _comment_view(name, *VIEWS[name])
    for bare, body in guarded_functions().items():
        _replace_function(bare, body)
    for bare, comment in _comments().items():
        op.execute(f"COMMENT ON FUNCTION catalog.{bare} IS $${comment}$$")
    _grant()
    _withhold()


def guarded_functions() -> dict[str, str]:
    """Bodies of the functions as they are from here on."""
    older = _functions()
    anchor = "run.encoder_id = term.encoder_id"
    bodies = {PROMPT_VECTORS: _guarded(older[PROMPT_VECTORS], anchor)}
    plain, path = "LANGUAGE sql STABLE", f"pg_catalog, {_schema_of_vectors()}, pg_temp"
    for bare, (condition, _comment) in CONTRACT.items():
        body = _guarded(older[bare], condition) if condition else older[bare]
        definer = f"{plain} SECURITY DEFINER SET search_path = {path}"
        bodies[bare] = body.replace(plain, definer)
    return bodies


def downgrade() -> None:
    """Everything but what PUBLIC lost outside the schema: who had it before is not known."""
    for bare, body in _functions().items():
        _replace_function(bare, body)
    before = _comments_before()
    for bare in _comments():
        op.execute(f"COMMENT ON FUNCTION catalog.{bare} IS {before.get(bare, 'NULL')}")
    op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA catalog FROM {READER}")
    op.execute(f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA catalog FROM {READER}")
    op.execute(f"REVOKE ALL ON SCHEMA catalog FROM {READER}")
    op.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog TO PUBLIC")
    for name, query in _views().items():
        if name == "concepts":
            # A view loses a column only by being made anew.
            op.execute("DROP VIEW catalog.concepts")
        op.execute(f"CREATE OR REPLACE VIEW catalog.{name} AS {query}")
        columns = [column for column in VIEWS[name][1] if (name, column) != ("concepts", "reason")]
        _comment_view(name, VIEWS[name][0], dict.fromkeys(columns))
    op.execute("DROP FUNCTION catalog.may_read(boolean)")
    op.drop_column("dataset", "embargoed", schema="catalog")
    _drop_reader()


def _make_reader() -> None:
    connection = op.get_bind()
    role = sa.text(
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
        " OR pg_has_role(oid, current_user, 'MEMBER') FROM pg_roles WHERE rolname = :name"
    )
    mighty = connection.scalar(role, {"name": READER})
    if mighty:
        raise UnavailableError(
            f"the role {READER} exists, and may do more than read the catalog",
            hint=f"an administrator renames it, or takes away what it may do: \\du {READER}",
        )
    if mighty is None:
        problem = _attempt(CREATE_READER)
        # Roles belong to the whole server: the migration of another database may have been first.
        if isinstance(problem, errors.InsufficientPrivilege):
            raise UnavailableError(
                f"there is no role {READER}, and this user may not create it",
                hint=f"an administrator runs first: {'; '.join([CREATE_READER, *_settings()])}",
            )
    known = connection.scalars(
        sa.text(
            "SELECT split_part(unnest(setconfig), '=', 1) FROM pg_db_role_setting"
            " JOIN pg_roles ON pg_roles.oid = setrole WHERE rolname = :name AND setdatabase = 0"
        ),
        {"name": READER},
    ).all()
    missing = _settings([name for name in SETTINGS if name not in known])
    if missing and _attempt("; ".join(missing)):
        log.warning(
            "the settings of %s are not this user's to make; an administrator runs: %s",
            READER,
            "; ".join(missing),
        )


def _settings(names: Sequence[str] = tuple(SETTINGS)) -> list[str]:
    return [f"ALTER ROLE {READER} SET {name} = {SETTINGS[name]}" for name in names]


def _attempt(statement: str) -> Exception | None:
    """Run a statement that may be refused or come too late, and tell how that went."""
    try:
        with op.get_bind().begin_nested():
            op.execute(statement)
    except sa.exc.DBAPIError as error:
        if not isinstance(
            error.orig,
            errors.InsufficientPrivilege
            | errors.DuplicateObject
            | errors.UniqueViolation
            | errors.DependentObjectsStillExist,
        ):
            raise
        return error.orig
    return None


def _grant() -> None:
    op.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC")
    op.execute(f"GRANT USAGE ON SCHEMA catalog TO {READER}")
    for name in VIEWS:
        op.execute(f"GRANT SELECT ON catalog.{name} TO {READER}")
    for bare in CONTRACT:
        op.execute(f"GRANT EXECUTE ON FUNCTION catalog.{bare} TO {READER}")
    # Whoever reads a view runs its functions with rights of their own.
    op.execute("GRANT EXECUTE ON FUNCTION catalog.may_read(boolean) TO PUBLIC")


def _withhold() -> None:
    """Take from PUBLIC, where that is this user's to do, what would let a reader write."""
    connection = op.get_bind()
    database, is_ours, has_temp, is_superuser = connection.execute(
        sa.text(
            "SELECT quote_ident(datname), pg_has_role(current_user, datdba, 'USAGE'),"
            " has_database_privilege(:name, datname, 'TEMP'),"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            " FROM pg_database WHERE datname = current_database()"
        ),
        {"name": READER},
    ).one()
    public = connection.execute(
        sa.text(
            "SELECT pg_has_role(current_user, nspowner, 'USAGE') AS is_ours,"
            " has_schema_privilege(:name, oid, 'CREATE') AS has_create"
            " FROM pg_namespace WHERE nspname = 'public'"
        ),
        {"name": READER},
    ).one_or_none()
    writing = connection.scalar(
        sa.text(
            "SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc"
            " WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (:writing)"
            " AND has_function_privilege(:name, oid, 'EXECUTE')"
        ),
        {"name": READER, "writing": list(WRITING)},
    )
    wanted = [
        (has_temp, is_ours, f"REVOKE TEMP ON DATABASE {database} FROM PUBLIC"),
        (
            public is not None and public.has_create,
            public is not None and public.is_ours,
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ),
        (writing, is_superuser, f"REVOKE EXECUTE ON FUNCTION {writing} FROM PUBLIC"),
    ]
    left = [statement for needed, ours, statement in wanted if needed and not ours]
    for needed, ours, statement in wanted:
        if needed and ours:
            op.execute(statement)
    if left:
        log.warning(
            "%s reads the catalog alone, but may make objects of its own in this database; an"
            " administrator takes that away by: %s",
            READER,
            "; ".join(left),
        )


def _drop_reader() -> None:
    """Drop the role, unless another database or another role counts on it."""
    members = op.get_bind().scalar(
        sa.text(
            "SELECT count(*) FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = roleid"
            " WHERE rolname = :name"
            " AND member <> (SELECT oid FROM pg_roles WHERE rolname = current_user)"
        ),
        {"name": READER},
    )
    if not members:
        _attempt(f"DROP ROLE IF EXISTS {READER}")


def _comment_view(name: str, comment: str, columns: dict[str, Any]) -> None:
    op.execute(f"COMMENT ON VIEW catalog.{name} IS $${comment}$$")
    for column, told in columns.items():
        op.execute(
            f"COMMENT ON COLUMN catalog.{name}.{column} IS {f'$${told}$$' if told else 'NULL'}"
        )


def _replace_function(bare: str, body: str) -> None:
    signature = bare.replace("k int", "k int DEFAULT 10")
    op.execute(f"CREATE OR REPLACE FUNCTION catalog.{signature} {body}")


def _guarded(body: str, condition: str) -> str:
    if body.count(condition) != 1:
        raise ValueError(f"no single place for the guard: {condition}")
    return body.replace(condition, f"{condition} AND {GUARD}")


def _schema_of_vectors() -> str:
    return str(
        op.get_bind().scalar(
            sa.text(
                "SELECT quote_ident(nspname) FROM pg_extension"
                " JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
            )
        )
    )


def _comments() -> dict[str, str]:
    return {bare: comment for bare, (_condition, comment) in CONTRACT.items()} | OTHERS


def _comments_before() -> dict[str, str]:
    return {
        _bare(signature): f"$${comment}$$"
        for signature, (comment, _body) in _migration("0002_queries").FUNCTIONS.items()
    }


def _views() -> dict[str, str]:
    """The views as they were until here."""
    first = {name: query for name, (_, query) in _migration("0002_queries").VIEWS.items()}
    views = first | _migration("0006_methods").VIEWS
    last = "component.negations"
    further = ", ".join(f"component.{name}" for name in _migration("0007_stability").COLUMNS)
    return views | {"concepts": views["concepts"].replace(last, f"{last}, {further}")}


def _functions() -> dict[str, str]:
    """Bodies of the functions as they were until here."""
    first = _migration("0002_queries").FUNCTIONS
    later = {
        f"{name}{ARGUMENTS}": body for name, body in _migration("0006_methods").FUNCTIONS.items()
    }
    return {_bare(signature): body for signature, (_, body) in first.items()} | later


def _bare(signature: str) -> str:
    return signature.replace(" DEFAULT 10", "")


def _migration(name: str) -> Any:
    return import_module(f"migrations.versions.{name}")

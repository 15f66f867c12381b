"""What the role `catalog_reader` may do, and everything that it may not."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from app.database.models import Base
from tests.app.database.conftest import Embargoed
from tests.app.published import (
    CONCEPTS,
    N_NEEDED,
    NEEDED,
    PREVALENCE,
    REASONS,
    RESPONDS,
    SHARED,
    SUBJECTS,
    UNMEASURED,
    UNSHARED,
    VERDICTS,
    VOXELS_A_REGION,
    WHY_UNSHARED,
)

TABLES = sorted(table.name for table in Base.metadata.sorted_tables)
VIEWS = (
    *("concept_maps", "concept_regions", "concept_subjects", "concept_voxels", "concepts"),
    *("run_subjects", "run_verdicts", "runs", "subjects", "voxels"),
)
FUNCTIONS = {
    "nearest_terms(integer,integer)",
    "match_prompt(text,text)",
    "read_prompt(text,text)",
    "search_concepts(text,integer)",
    "search_concepts(text,integer,text)",
    "search_regions(text,integer)",
    "search_regions(text,integer,text)",
    "search_voxels(text,integer)",
    "search_voxels(text,integer,text,text,text)",
}

# Rows are compared by their contents: how many a table is thought to have changes by itself, where
# autovacuum comes by.
STATE = """
SELECT 'relation', concat_ws(' ', oid::regclass, relacl, reloptions), relkind::text
FROM pg_class WHERE relkind <> 't' AND relnamespace <> 'pg_catalog'::regnamespace
UNION ALL SELECT 'function', oid::regprocedure::text, concat_ws(' ', proacl, md5(prosrc))
FROM pg_proc WHERE pronamespace <> 'pg_catalog'::regnamespace
UNION ALL SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'role', rolname, concat_ws(' ', rolsuper, rolcreaterole, rolconfig) FROM pg_roles
UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text FROM pg_auth_members
UNION ALL SELECT 'extension', extname, extversion FROM pg_extension
UNION ALL SELECT 'slot', slot_name, '' FROM pg_replication_slots
UNION ALL SELECT 'large object', oid::text, '' FROM pg_largeobject_metadata
UNION ALL SELECT 'comment', objoid::text, description FROM pg_description
WHERE classoid = 'pg_class'::regclass
UNION ALL SELECT 'sequence', sequencename, last_value::text FROM pg_sequences
ORDER BY 1, 2, 3
"""


@pytest.fixture
def state(owner: psycopg.Connection) -> Callable[[], list[Any]]:
    """Everything that a statement could change: rows, objects, rights, roles."""
    contents = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT {}, coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {} t"
        ).format(sql.Literal(name), sql.Identifier("catalog", name))
        for name in TABLES
    )
    return lambda: [*owner.execute(STATE).fetchall(), *owner.execute(contents).fetchall()]


@pytest.fixture
def writer(reader: psycopg.Connection) -> psycopg.Connection:
    """The reader after it has set aside what it may set aside: its settings are no wall."""
    reader.execute("SET default_transaction_read_only = off")
    return reader


@pytest.fixture
def attempt(
    writer: psycopg.Connection, state: Callable[[], list[Any]]
) -> Iterator[psycopg.Connection]:
    """A reader that tries to change something: nothing may have changed in the end."""
    before = state()
    yield writer
    assert state() == before


def test_the_reader_logs_in_with_its_settings(reader: psycopg.Connection) -> None:
    assert reader.execute("SELECT session_user, current_user").fetchone() == (
        "catalog_reader",
        "catalog_reader",
    )
    told = dict(reader.execute("SELECT name, setting FROM pg_settings WHERE source = 'user'"))
    assert told == {
        "statement_timeout": "30000",
        "default_transaction_read_only": "on",
        "search_path": "catalog, public",
        "work_mem": "16384",
        "hash_mem_multiplier": "1",
        "temp_file_limit": "1048576",
        "idle_in_transaction_session_timeout": "60000",
    }


def test_the_reader_is_nothing_but_a_login(owner: psycopg.Connection) -> None:
    told = owner.execute(
        "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,"
        " (SELECT count(*) FROM pg_auth_members WHERE member = pg_authid.oid), rolpassword"
        " FROM pg_authid WHERE rolname = 'catalog_reader'"
    ).fetchone()
    assert told == (True, False, False, False, False, False, 0, None)


def test_a_statement_that_takes_too_long_is_stopped(reader: psycopg.Connection) -> None:
    reader.execute("SET statement_timeout = '20ms'")
    with pytest.raises(errors.QueryCanceled, match="statement timeout"):
        reader.execute("SELECT pg_sleep(60)")


@pytest.mark.slow
def test_a_statement_is_stopped_after_half_a_minute(reader: psycopg.Connection) -> None:
    with pytest.raises(errors.QueryCanceled, match="statement timeout"):
        reader.execute("SELECT pg_sleep(60)")


def test_transactions_are_read_only_unless_asked_for_otherwise(reader: psycopg.Connection) -> None:
    with pytest.raises(errors.ReadOnlySqlTransaction):
        reader.execute("CREATE TABLE catalog.mine (n int)")


def test_the_reader_has_rights_on_the_views_alone(reader: psycopg.Connection) -> None:
    rights = reader.execute(
        "SELECT relname, privilege FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace,"
        " unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS privilege"
        " WHERE relkind IN ('r', 'v', 'm', 'f', 'p')"
        " AND nspname NOT IN ('pg_catalog', 'information_schema')"
        " AND (has_table_privilege(pg_class.oid, privilege)"
        "      OR privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')"
        "         AND has_any_column_privilege(pg_class.oid, privilege))"
        " ORDER BY 1"
    ).fetchall()
    assert rights == [(view, "SELECT") for view in VIEWS]


def test_the_reader_has_no_right_on_a_sequence(reader: psycopg.Connection) -> None:
    rights = reader.execute(
        "SELECT count(*), count(*) FILTER (WHERE has_sequence_privilege(oid, privilege))"
        " FROM pg_class, unnest('{USAGE,SELECT,UPDATE}'::text[]) AS privilege WHERE relkind = 'S'"
    ).fetchone()
    assert rights is not None
    assert rights[0] > 0
    assert rights[1] == 0


def test_the_reader_may_call_the_functions_of_the_contract_alone(
    reader: psycopg.Connection,
) -> None:
    found = reader.execute(
        "SELECT oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace = 'catalog'::regnamespace AND has_function_privilege(oid, 'EXECUTE')"
    ).fetchall()
    assert {name for (name,) in found} == FUNCTIONS | {"may_read(boolean)"}


def test_functions_with_their_owners_rights_look_names_up_in_fixed_schemas(
    owner: psycopg.Connection,
) -> None:
    found = owner.execute(
        "SELECT oid::regprocedure::text, proconfig FROM pg_proc"
        " WHERE pronamespace = 'catalog'::regnamespace AND prosecdef"
    ).fetchall()
    path = ["search_path=pg_catalog, public, pg_temp"]
    assert dict(found) == {f"catalog.{name}": path for name in FUNCTIONS}


def test_the_reader_has_a_single_schema(reader: psycopg.Connection) -> None:
    found = reader.execute(
        "SELECT nspname, has_schema_privilege(oid, 'CREATE') FROM pg_namespace"
        " WHERE has_schema_privilege(oid, 'USAGE') AND nspname !~ '^pg_'"
        " AND nspname <> 'information_schema' ORDER BY 1"
    ).fetchall()
    assert found == [("catalog", False), ("public", False)]


@pytest.mark.parametrize("view", VIEWS)
def test_the_reader_reads_every_view(reader: psycopg.Connection, view: str) -> None:
    rows = reader.execute(f"SELECT * FROM {view}").fetchall()  # noqa: S608
    assert len(rows) == {
        "runs": 1,
        "run_verdicts": 1,
        "run_subjects": len(SUBJECTS),
        "subjects": len(SUBJECTS),
        "concepts": len(CONCEPTS),
        "voxels": len(SUBJECTS) * len(CONCEPTS) * VOXELS_A_REGION,
        "concept_voxels": len(SUBJECTS) * len(CONCEPTS) * VOXELS_A_REGION,
        "concept_regions": len(SUBJECTS) * len(CONCEPTS) ** 2,
        "concept_subjects": len(SUBJECTS) * len(CONCEPTS),
        "concept_maps": len(SUBJECTS) * len(CONCEPTS),
    }.get(view)


@pytest.mark.parametrize(
    ("name", "k", "dataset"),
    [("search_concepts", 4, 1), ("search_regions", 4, 0), ("search_voxels", 10, 1)],
)
def test_the_reader_asks_every_function(
    reader: psycopg.Connection,
    owner: psycopg.Connection,
    embargoed: Embargoed,
    name: str,
    k: int,
    dataset: int,
) -> None:
    found = reader.execute(f"SELECT * FROM catalog.{name}('face', %s)", [k]).fetchall()  # noqa: S608
    assert len(found) == k
    assert {row[dataset] for row in found} == {embargoed.open.dataset}
    query = f"SELECT * FROM catalog.{name}('face', %s, %s)"  # noqa: S608
    assert found == owner.execute(query, [k, embargoed.open.dataset]).fetchall()


def test_the_reader_is_told_of_prompts_that_miss_in_what_it_may_read(
    reader: psycopg.Connection, owner: psycopg.Connection, embargoed: Embargoed
) -> None:
    found = reader.execute("SELECT * FROM match_prompt('face')").fetchall()
    assert [row[0] for row in found] == [embargoed.open.dataset]
    query = "SELECT * FROM catalog.match_prompt('face', %s)"
    assert found == owner.execute(query, [embargoed.open.dataset]).fetchall()


def test_the_reader_asks_for_nearest_terms(
    reader: psycopg.Connection, embargoed: Embargoed
) -> None:
    concept = embargoed.open.components["house"]
    ((term, similarity),) = reader.execute("SELECT * FROM nearest_terms(%s, 1)", [concept])
    assert term == "house"
    assert similarity == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM {}",
        "INSERT INTO {} DEFAULT VALUES",
        "UPDATE {} SET ctid = ctid",
        "DELETE FROM {}",
        "TRUNCATE {} CASCADE",
        "DO $$ BEGIN LOCK TABLE {} IN ACCESS SHARE MODE; END $$",
        "COPY {} TO STDOUT",
        "DROP TABLE {} CASCADE",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
    ],
)
def test_no_table_is_the_readers(writer: psycopg.Connection, statement: str, table: str) -> None:
    if statement.startswith("UPDATE"):
        column = next(iter(Base.metadata.tables[f"catalog.{table}"].columns)).name
        statement = f'UPDATE {{}} SET "{column}" = NULL'  # noqa: S608
    with pytest.raises(errors.InsufficientPrivilege):
        writer.execute(statement.format(f"catalog.{table}"))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} DEFAULT VALUES",
        "UPDATE {} SET dataset = 'mine'",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "DROP VIEW {} CASCADE",
        "CREATE OR REPLACE VIEW {} AS SELECT 1",
        "ALTER VIEW {} RESET (security_barrier)",
        "COMMENT ON VIEW {} IS 'mine'",
    ],
)
def test_no_view_is_the_readers_to_change(
    attempt: psycopg.Connection, statement: str, view: str
) -> None:
    refused = (
        errors.InsufficientPrivilege,
        # Views that join take no rows from anybody.
        errors.ObjectNotInPrerequisiteState,
        errors.WrongObjectType,
    )
    with pytest.raises(refused):
        attempt.execute(statement.format(f"catalog.{view}"))


@pytest.mark.parametrize(
    "statement",
    [
        # Objects of its own, lasting or not.
        "CREATE TABLE catalog.mine (n int)",
        "CREATE TABLE public.mine (n int)",
        "CREATE TABLE mine AS SELECT * FROM concepts",
        "CREATE TEMP TABLE mine (n int)",
        "CREATE TEMP VIEW mine AS SELECT * FROM concepts",
        "CREATE TEMP SEQUENCE mine",
        "SELECT * INTO TEMP mine FROM concepts",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE TYPE public.mine AS ENUM ('a')",
        "CREATE OPERATOR public.<=> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "CREATE EXTENSION dblink",
        "CREATE EXTENSION hstore",
        "CREATE PUBLICATION mine",
        "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION catalog.keep_decoder()",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'mine')",
        "SELECT lo_import('/etc/hostname')",
        "SELECT pg_logical_emit_message(false, 'mine', 'mine')",
        "SELECT pg_create_physical_replication_slot('mine')",
        # Rights that it has not.
        "SET ROLE postgres",
        "SET ROLE pg_read_all_data",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER ROLE catalog_reader SUPERUSER",
        "ALTER ROLE catalog_reader CREATEROLE",
        "ALTER ROLE postgres SET search_path = public",
        "GRANT pg_read_all_data TO catalog_reader",
        "GRANT SELECT ON catalog.dataset TO catalog_reader",
        "GRANT EXECUTE ON FUNCTION catalog.prompt_vectors(text, text) TO catalog_reader",
        "ALTER FUNCTION catalog.may_read(boolean) COST 1",
        "ALTER FUNCTION catalog.search_concepts(text, int) SET search_path = public",
        "ALTER SCHEMA catalog OWNER TO catalog_reader",
        "CREATE OR REPLACE FUNCTION catalog.may_read(embargoed boolean) RETURNS boolean"
        " LANGUAGE sql RETURN true",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "SELECT set_config('log_statement', 'all', false)",
        "SELECT pg_reload_conf()",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
        # What lies elsewhere.
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_shadow",
        "SELECT * FROM pg_statistic",
        "SELECT * FROM pg_user_mapping",
        "SELECT * FROM pg_largeobject",
        "SELECT * FROM pg_hba_file_rules",
        "SELECT * FROM public.alembic_version",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT pg_read_binary_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')",
        "SELECT pg_stat_file('PG_VERSION')",
        "COPY catalog.dataset FROM PROGRAM 'true'",
        "COPY catalog.dataset FROM '/etc/hostname'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/mine'",
        # Functions that are not the contract's.
        "SELECT * FROM catalog.nearest_voxels(1, '[1]', 1)",
        "SELECT * FROM catalog.prompt_vectors('face', NULL)",
        "SELECT catalog.check_dimensions()",
        "SELECT catalog.check_vectors()",
        "SELECT nextval('catalog.dataset_id_seq')",
        "SELECT setval('catalog.dataset_id_seq', 1)",
        "SELECT pg_stat_reset()",
        "DO $$ BEGIN DELETE FROM catalog.dataset; END $$",
        "DO $$ BEGIN EXECUTE 'SET ROLE postgres'; END $$",
    ],
)
def test_the_reader_cannot(attempt: psycopg.Connection, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        attempt.execute(statement)


@pytest.mark.parametrize(
    "statement", ["RESET ROLE", "SET ROLE NONE", "RESET SESSION AUTHORIZATION", "RESET ALL"]
)
def test_the_reader_stays_who_it_is(writer: psycopg.Connection, statement: str) -> None:
    writer.execute(statement)
    told = writer.execute("SELECT session_user, current_user").fetchone()
    assert told == ("catalog_reader", "catalog_reader")
    with pytest.raises(errors.InsufficientPrivilege):
        writer.execute("SELECT FROM catalog.dataset")


def test_the_reader_cannot_hand_its_rights_on(attempt: psycopg.Connection) -> None:
    attempt.execute("GRANT SELECT ON catalog.concepts TO PUBLIC")


@pytest.mark.parametrize(
    "prompt", ["face'; DELETE FROM catalog.term; --", "' || pg_read_file('PG_VERSION') || '"]
)
def test_a_prompt_is_never_run(attempt: psycopg.Connection, prompt: str) -> None:
    with pytest.raises(errors.NoDataFound, match="has no vector yet"):
        attempt.execute("SELECT * FROM search_concepts(%s)", [prompt])


def test_views_columns_and_functions_are_described(owner: psycopg.Connection) -> None:
    silent = owner.execute(
        "SELECT attrelid::regclass || '.' || attname FROM pg_attribute"
        " JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace = 'catalog'::regnamespace AND relkind = 'v'"
        " AND coalesce(col_description(attrelid, attnum), '') = ''"
        " UNION ALL SELECT oid::regclass::text FROM pg_class"
        " WHERE relnamespace = 'catalog'::regnamespace AND relkind = 'v'"
        " AND obj_description(oid, 'pg_class') IS NULL"
        " UNION ALL SELECT oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace = 'catalog'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL"
    ).fetchall()
    assert silent == []


def test_concepts_tell_why_they_are_not_shared(
    reader: psycopg.Connection, embargoed: Embargoed
) -> None:
    concept = embargoed.open.components[UNSHARED]
    query = "SELECT reason FROM catalog.concepts WHERE component_id = %s"
    assert reader.execute(query, [concept]).fetchone() == (WHY_UNSHARED,)


@pytest.mark.parametrize("source", ["concepts", "search_concepts('face', 10)"])
def test_claims_stand_beside_shared(
    reader: psycopg.Connection, embargoed: Embargoed, source: str
) -> None:
    columns = (
        "component_id, shared, decodable, specific, agreeing, stable, reason, reasons,"
        " prevalence, prevalence_low, prevalence_high"
    )
    query = f"SELECT {columns} FROM catalog.{source}"  # noqa: S608
    name_of = {id_: name for name, id_ in embargoed.open.components.items()}
    rows = {name_of[row[0]]: row[1:] for row in reader.execute(query)}
    assert set(rows) == set(CONCEPTS)
    for name, (shared, *claims, reason, reasons, estimate, low, high) in rows.items():
        assert tuple(claims) == VERDICTS[name]
        assert shared is (True if name in SHARED else None if name == UNMEASURED else False)
        assert (reason, reasons) == (next(iter(REASONS[name].values()), None), REASONS[name])
        assert (estimate, low, high) == PREVALENCE.get(name, (None, None, None))


def test_new_columns_come_last(reader: psycopg.Connection) -> None:
    """A lab's program that counts on the places of those before finds them there."""

    def last(source: str, count: int) -> list[str]:
        found = reader.execute(f"SELECT * FROM catalog.{source} LIMIT 0").description or []  # noqa: S608
        return [column.name for column in found[-count:]]

    assert last("concepts", 16)[:2] == ["reason", "decodable"]
    assert last("concept_regions", 6) == [
        *("method", "auc_low", "auc_high", "decodes", "shared", "response_sign")
    ]
    assert last("concept_subjects", 3) == ["method", "n_needed", "response_sign"]
    assert last("concept_voxels", 2) == ["method", "needed"]
    assert last("runs", 2) == ["published_at", "reproducible"]
    assert last("search_concepts('face', 1)", 10)[:2] == ["method", "decodable"]


def test_participants_tell_how_well_masks_decode(
    reader: psycopg.Connection, embargoed: Embargoed
) -> None:
    query = (
        "SELECT subject, decodes, r_hard, r_low, r_high, r_normalised, p_value, q_value, p_soft,"
        " p_unmasked, specific_p, replication_r, replication_p FROM catalog.concept_subjects"
        " WHERE component_id = %s ORDER BY subject"
    )
    rows = reader.execute(query, [embargoed.open.components["face"]]).fetchall()
    figures = (0.4, 0.3, 0.5, 0.8, 0.001, 0.002, 0.003, 0.002, 0.004, 0.35, 0.005)
    assert rows == [("subj01", True, *figures), ("subj02", True, *figures)]
    (first, second) = reader.execute(query, [embargoed.open.components[UNSHARED]])
    assert (first[1], second[1], second[7]) == (True, False, 0.9)


def test_responses_are_told_beside_what_the_decoder_needs(
    reader: psycopg.Connection, embargoed: Embargoed
) -> None:
    signs = {"more": 1, "less": -1, None: None}
    for concept, word in RESPONDS.items():
        component = [embargoed.open.components[concept]]
        query = (
            "SELECT DISTINCT n_voxels, n_needed, response_sign FROM catalog.concept_subjects"
            " WHERE component_id = %s"
        )
        needed = None if word is None else N_NEEDED
        told = (VOXELS_A_REGION, needed, signs[word])
        assert reader.execute(query, component).fetchall() == [told]
        query = "SELECT DISTINCT response_sign FROM catalog.concept_regions WHERE component_id = %s"
        assert reader.execute(query, component).fetchall() == [(signs[word],)]
        query = (
            "SELECT needed FROM catalog.concept_voxels WHERE component_id = %s"
            " AND subject = 'subj01' ORDER BY weight DESC"
        )
        weights = [None] * VOXELS_A_REGION if word is None else list(NEEDED)
        assert [row[0] for row in reader.execute(query, component)] == weights

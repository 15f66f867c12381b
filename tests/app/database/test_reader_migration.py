"""How the role comes and goes with the schema, and who may make it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Engine

from app.database.engine import make_engine
from app.database.migrate import current_revision, downgrade, head_revision, upgrade
from app.errors import UnavailableError
from tests.app.database.conftest import FOREIGN, HIDDEN, OPEN, READER, fill, login, new_database

CONTRACT = """
SELECT relname, pg_get_viewdef(oid), reloptions, obj_description(oid, 'pg_class'),
       ARRAY(SELECT DISTINCT grantee FROM aclexplode(relacl)
             WHERE grantee <> relowner),
       ARRAY(SELECT attname || ': ' || coalesce(col_description(attrelid, attnum), '')
             FROM pg_attribute
             WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum)
FROM pg_class WHERE relnamespace = 'catalog'::regnamespace AND relkind IN ('v', 'r')
ORDER BY 1
"""
FUNCTIONS = """
SELECT pg_get_functiondef(oid), obj_description(oid, 'pg_proc'),
       ARRAY(SELECT grantee::regrole || ' ' || privilege_type
             FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) ORDER BY 1)
FROM pg_proc WHERE pronamespace = 'catalog'::regnamespace ORDER BY 1
"""
ROLE = "SELECT rolcanlogin, rolconfig FROM pg_roles WHERE rolname = 'catalog_reader'"
SETTINGS = ["statement_timeout=30s", "default_transaction_read_only=on"]
LIMITS = [
    *("hash_mem_multiplier=1", "temp_file_limit=1GB"),
    "idle_in_transaction_session_timeout=60s",
]


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture
def database(server_url: str) -> Iterator[str]:
    """URL of an empty database."""
    with new_database(server_url) as url:
        yield url


@pytest.fixture
def catalog_engine(database: str) -> Iterator[Engine]:
    """Engine on an empty database."""
    engine = make_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def no_reader(server_url: str) -> Iterator[None]:
    """A server without the role, which other databases' rights hang on: it bears another name."""
    there = bool(rows(server_url, ROLE))
    if there:
        run(server_url, "ALTER ROLE catalog_reader RENAME TO put_aside")
    yield
    run(server_url, "DROP ROLE IF EXISTS catalog_reader")
    if there:
        run(server_url, "ALTER ROLE put_aside RENAME TO catalog_reader")


@pytest.fixture
def plain_owner(server_url: str) -> Iterator[str]:
    """URL by which a database's owner logs in, who may make neither roles nor extensions."""
    run(server_url, "CREATE ROLE lab_owner LOGIN")
    with new_database(server_url, "lab_owner") as url:
        run(url, "CREATE EXTENSION vector")
        yield login(url, "lab_owner")
    run(server_url, "DROP ROLE lab_owner")


def migrate(url: str) -> None:
    engine = make_engine(url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


def test_the_contract_comes_and_goes(catalog_engine: Engine, database: str) -> None:
    upgrade(catalog_engine, "0007")
    before = [rows(database, query) for query in (CONTRACT, FUNCTIONS)]
    columns = {name: told for name, *_, told in before[0]}
    upgrade(catalog_engine, "0008")
    assert rows(database, FUNCTIONS) != before[1]
    for name, *_, told in rows(database, CONTRACT):
        names = [each.partition(":")[0] for each in told]
        known = [each.partition(":")[0] for each in columns[name]]
        added = {"concepts": ["reason"], "dataset": ["embargoed"]}.get(name, [])
        assert names == known + added
    downgrade(catalog_engine, "0007")
    left = [rows(database, query) for query in (CONTRACT, FUNCTIONS)]
    assert left[0] == before[0]
    assert left[1] == before[1]
    spaces = "SELECT FROM pg_namespace WHERE nspacl::text LIKE '%catalog_reader%'"
    assert not rows(database, spaces)


def test_searches_of_one_encoder_come_and_go(catalog_engine: Engine, database: str) -> None:
    upgrade(catalog_engine, "0009")
    before = rows(database, FUNCTIONS)
    upgrade(catalog_engine, "0010")
    told = rows(database, FUNCTIONS)
    assert len(told) == len(before) + 3
    assert all(comment for _, comment, _ in told)
    downgrade(catalog_engine, "0009")
    assert rows(database, FUNCTIONS) == before


def test_vectors_of_before_become_directions_and_their_indexes_go(
    catalog_engine: Engine, database: str, tmp_path: Path
) -> None:
    upgrade(catalog_engine)
    fill(database, tmp_path)
    downgrade(catalog_engine, "0010")
    query = "SELECT run_id, subject_id, index, vector::vector::real[] FROM catalog.voxel_vector"
    run(database, "UPDATE catalog.voxel_vector SET vector = vector + vector + vector")
    run(database, "UPDATE catalog.voxel_vector SET vector = vector - vector WHERE index = 2")
    before = {tuple(row[:3]): row[3] for row in rows(database, query)}
    upgrade(catalog_engine)
    as_they_lie = rows(database, f"{query} ORDER BY ctid")
    keys = [tuple(row[:3]) for row in as_they_lie]
    assert set(keys) == {key for key in before if key[2] != 2}
    assert keys == sorted(keys, key=lambda key: (key[0], key[1], -key[2]))
    for key, vector in zip(keys, (row[3] for row in as_they_lie), strict=True):
        assert vector == pytest.approx([each / 3 for each in before[key]], abs=2e-3)
    downgrade(catalog_engine, "0017")
    (number,) = rows(database, "SELECT min(run_id) FROM catalog.voxel_vector")[0]
    run(
        database,
        f"CREATE INDEX voxel_vector_run_{number} ON catalog.voxel_vector"
        f" USING hnsw ((vector::halfvec(8)) halfvec_ip_ops) WHERE run_id = {number}",
    )
    named = "SELECT count(*) FROM pg_indexes WHERE starts_with(indexname, 'voxel_vector_run_')"
    assert rows(database, named) == [(1,)]
    upgrade(catalog_engine)
    assert rows(database, named) == [(0,)]


def test_a_labs_view_on_the_contract_outlives_both_ways(
    catalog_engine: Engine, database: str
) -> None:
    upgrade(catalog_engine, "0007")
    run(
        database,
        "CREATE VIEW public.labs AS SELECT dataset, n_voxels FROM catalog.subjects"
        " JOIN catalog.search_voxels('face', 1) USING (dataset)",
    )
    upgrade(catalog_engine)
    assert current_revision(catalog_engine) == head_revision()
    downgrade(catalog_engine, "0007")
    assert rows(database, "SELECT count(*) FROM pg_views WHERE viewname = 'labs'") == [(1,)]


@pytest.mark.usefixtures("no_reader")
def test_the_role_is_made_and_goes_with_the_last_database_that_needs_it(
    catalog_engine: Engine, database: str, server_url: str
) -> None:
    upgrade(catalog_engine)
    limited = [*SETTINGS, "search_path=catalog, public", "work_mem=16MB", *LIMITS]
    assert rows(server_url, ROLE) == [(True, limited)]
    with new_database(server_url) as other:
        migrate(other)
        downgrade(catalog_engine, "0007")
        assert rows(server_url, ROLE)
        assert rows(login(other, READER), "SELECT * FROM concepts") == []
        second = make_engine(other)
        downgrade(second, "0007")
        second.dispose()
    assert not rows(server_url, ROLE)


@pytest.mark.usefixtures("no_reader")
def test_a_role_that_others_are_members_of_stays(catalog_engine: Engine, server_url: str) -> None:
    upgrade(catalog_engine)
    run(server_url, "CREATE ROLE analyst; GRANT catalog_reader TO analyst")
    downgrade(catalog_engine, "0007")
    assert rows(server_url, ROLE)
    run(server_url, "DROP ROLE analyst")


@pytest.mark.usefixtures("no_reader")
def test_settings_of_a_role_that_exists_stay(catalog_engine: Engine, server_url: str) -> None:
    run(server_url, "CREATE ROLE catalog_reader; ALTER ROLE catalog_reader SET work_mem = '1MB'")
    run(server_url, "ALTER ROLE catalog_reader SET statement_timeout = '5min'")
    upgrade(catalog_engine)
    ((may_log_in, settings),) = rows(server_url, ROLE)
    assert not may_log_in
    assert settings == [
        "work_mem=1MB",
        "statement_timeout=5min",
        "default_transaction_read_only=on",
        "search_path=catalog, public",
        *LIMITS,
    ]


@pytest.mark.usefixtures("no_reader")
@pytest.mark.parametrize("might", ["SUPERUSER", "CREATEROLE", "IN ROLE postgres", "REPLICATION"])
def test_a_mighty_role_of_that_name_is_refused(
    catalog_engine: Engine, database: str, server_url: str, might: str
) -> None:
    upgrade(catalog_engine, "0007")
    before = [rows(database, query) for query in (CONTRACT, FUNCTIONS, ROLE)]
    run(server_url, f"CREATE ROLE catalog_reader {might}")
    with pytest.raises(UnavailableError, match="catalog_reader exists, and may do more") as caught:
        upgrade(catalog_engine)
    assert "an administrator" in caught.value.hint
    assert current_revision(catalog_engine) == "0007"
    assert [rows(database, query) for query in (CONTRACT, FUNCTIONS)] == before[:2]


@pytest.mark.usefixtures("no_reader")
def test_who_may_not_make_the_role_is_told_what_an_administrator_runs(
    plain_owner: str, server_url: str
) -> None:
    with pytest.raises(UnavailableError, match="no role catalog_reader") as caught:
        migrate(plain_owner)
    engine = make_engine(plain_owner)
    assert current_revision(engine) is None
    engine.dispose()
    assert rows(plain_owner, "SELECT FROM pg_namespace WHERE nspname = 'catalog'") == []
    assert "\n" not in str(caught.value)
    told = caught.value.hint.partition(": ")[2]
    run(server_url, told)
    assert rows(server_url, ROLE) == [(True, [*SETTINGS, "search_path=catalog, public"])]
    migrate(plain_owner)
    assert rows(login(plain_owner, READER), "SELECT * FROM concepts") == []


@pytest.mark.usefixtures("no_reader")
def test_settings_that_are_not_the_owners_to_make_are_told(
    plain_owner: str, server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(server_url, "CREATE ROLE catalog_reader LOGIN")
    with caplog.at_level(logging.WARNING):
        migrate(plain_owner)
    (told,) = [each for each in caplog.messages if "settings" in each]
    run(server_url, told.partition("runs: ")[2])
    assert rows(server_url, ROLE) == [(True, [*SETTINGS, "search_path=catalog, public"])]


def test_an_owner_who_is_no_superuser(
    plain_owner: str, server_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(
        server_url,
        f"DO $$ BEGIN CREATE ROLE {READER} LOGIN; "
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    )
    with caplog.at_level(logging.WARNING):
        migrate(plain_owner)
    fill(plain_owner, tmp_path)
    query = "SELECT DISTINCT dataset FROM catalog.search_voxels('face', 1000{}) ORDER BY 1"
    assert rows(login(plain_owner, READER), query.format("")) == [(OPEN,)]
    for slug in (OPEN, FOREIGN, HIDDEN):
        for user in ("lab_owner", "postgres"):
            assert rows(login(plain_owner, user), query.format(f", '{slug}'")) == [(slug,)]
    # The owner of a database takes temporary tables from PUBLIC, and large objects a superuser.
    (told,) = [each for each in caplog.messages if "objects of its own" in each]
    assert "lo_create" in told
    assert "TEMP" not in told
    with psycopg.connect(login(plain_owner, READER), autocommit=True) as reader:
        reader.execute("SET default_transaction_read_only = off")
        for statement in ("CREATE TEMP TABLE mine (n int)", "CREATE TABLE public.mine (n int)"):
            with pytest.raises(errors.InsufficientPrivilege):
                reader.execute(statement)
        run(login(plain_owner, "postgres"), told.partition("by: ")[2])
        with pytest.raises(errors.InsufficientPrivilege):
            reader.execute("SELECT lo_create(0)")

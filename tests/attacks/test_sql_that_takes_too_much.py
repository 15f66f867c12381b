"""SQL of readers: what one login can take from others, by locks, connections, memory and disk."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import errors

from app.database import reader
from app.database.engine import get_engine, make_engine
from app.database.migrate import upgrade
from app.errors import BusyError, InputError
from app.garbage.service import at_work
from app.settings import get_settings
from app.voxels.indexing import index_runs
from tests.app.database.conftest import READER, login, new_database
from tests.app.published import Published

# What flows and indexes were guarded by.
NUMBERS = (7_345_211_902, 7_291_604)


def url_of_reader() -> str:
    return login(
        get_engine().url.set(drivername="postgresql").render_as_string(hide_password=False), READER
    )


@pytest.fixture
def logged_in(own_published: Published) -> Iterator[psycopg.Connection]:
    """The reader, without the settings that it can set aside."""
    with psycopg.connect(url_of_reader(), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        yield connection


def ends(work: threading.Thread) -> bool:
    work.start()
    work.join(30)
    return not work.is_alive()


def test_no_lock_of_a_reader_s_keeps_flows_from_starting(logged_in: psycopg.Connection) -> None:
    for number in NUMBERS:
        with pytest.raises(errors.InsufficientPrivilege):
            logged_in.execute("SELECT pg_advisory_lock(%s)", [number])
    logged_in.execute("BEGIN")
    for table in ("public.alembic_version", "catalog.voxel_axis"):
        for mode in ("ROW SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"):
            with pytest.raises(errors.InsufficientPrivilege), logged_in.transaction():
                logged_in.execute(f"LOCK TABLE {table} IN {mode} MODE")
    logged_in.execute("SELECT * FROM catalog.concepts")

    def work() -> None:
        with at_work():
            index_runs()

    assert ends(threading.Thread(target=work, daemon=True))


def test_advisory_locks_that_are_held_stop_nobody(own_published: Published) -> None:
    """Whoever else may take them, an older server's reader too."""
    with psycopg.connect(get_settings().database_url.get_secret_value()) as other:  # type: ignore[union-attr]
        for number in NUMBERS:
            other.execute("SELECT pg_advisory_lock(%s)", [number])

        def work() -> None:
            with at_work():
                index_runs()

        assert ends(threading.Thread(target=work, daemon=True))


def test_the_role_is_bounded(logged_in: psycopg.Connection) -> None:
    told = dict(
        logged_in.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE source = 'user'"
        ).fetchall()
    )
    bounds = {
        "work_mem": "16MB",
        "hash_mem_multiplier": "1",
        "temp_file_limit": "1GB",
        "idle_in_transaction_session_timeout": "1min",
    }
    assert {name: told.get(name) for name in bounds} == bounds
    with pytest.raises(errors.InsufficientPrivilege):
        logged_in.execute("SET temp_file_limit = -1")
    refused = ""
    let_in = 0
    with ExitStack() as held:
        for _ in range(91):
            try:
                held.enter_context(psycopg.connect(url_of_reader()))
                let_in += 1
            except psycopg.OperationalError as error:
                refused = str(error)
                break
    assert "too many connections for role" in refused
    assert let_in < 20


def test_temporary_files_end(logged_in: psycopg.Connection) -> None:
    with pytest.raises(errors.ConfigurationLimitExceeded, match="temp_file_limit"):
        logged_in.execute(
            "SELECT count(*) FROM (SELECT repeat(md5(n::text), 40) AS t"
            " FROM generate_series(1, 2000000) AS n ORDER BY t) AS sorted"
        )


def test_mcp_s_sql_has_so_many_places(
    own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_READER_URL", url_of_reader())
    monkeypatch.setenv("SDC_SQL_CONNECTIONS", "2")
    monkeypatch.setattr(reader, "WAIT_S", 1)
    get_settings.cache_clear()
    there = threading.Barrier(3)
    go = threading.Event()
    read = reader._read

    def held(*words: object) -> reader.SqlAnswer:
        there.wait(30)
        assert go.wait(30)
        return read(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "_read", held)
    threads = [
        threading.Thread(target=reader.read_sql, args=["SELECT 1"], kwargs={"rows": 1})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    there.wait(30)
    with pytest.raises(BusyError) as caught:
        reader.read_sql("SELECT 1", rows=1)
    assert caught.value.message == "2 statements are run already, the setting SDC_SQL_CONNECTIONS"
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
    go.set()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(reader, "_read", read)
    assert reader.read_sql("SELECT 1", rows=1).rows == [[1]]
    with pytest.raises(InputError):
        reader.read_sql("SELECT nothing", rows=1)
    assert reader._places._taken == 0


@pytest.mark.parametrize("beside", ["postgres", "template1"])
def test_the_databases_beside_the_catalog_are_closed(
    server_url: str, monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    """In the embedded server; elsewhere an administrator's to say."""
    monkeypatch.delenv("SDC_DATABASE_URL", raising=False)
    get_settings.cache_clear()
    with new_database(server_url) as url:
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()
        with psycopg.connect(login(url, READER)) as connection:
            assert connection.execute("SELECT count(*) FROM concepts").fetchone() == (0,)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(psycopg.conninfo.make_conninfo(url, dbname=beside, user=READER))
    get_settings.cache_clear()

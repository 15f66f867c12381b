"""Catalogs with embargoed datasets, and logins on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

from app.database.engine import make_engine
from app.database.migrate import upgrade
from app.store import ArtefactStore
from tests.app.published import Published, publish, write_table

READER = "catalog_reader"
OPEN, HIDDEN, FOREIGN = "lab-a", "lab-hidden", "lab-foreign"
# A prompt that only the encoder of an embargoed dataset has a vector of.
UNHEARD = "a prompt of one space"


@dataclass(frozen=True)
class Embargoed:
    """A catalog of one open dataset and two embargoed ones, one of them in a space of its own."""

    owner: str
    reader: str
    open: Published
    hidden: Published
    foreign: Published


def login(url: str, user: str) -> str:
    """The URL by which another user reaches the same database."""
    return make_url(url).set(username=user).render_as_string(hide_password=False)


@contextmanager
def new_database(server_url: str, owner: str = "postgres") -> Iterator[str]:
    """URL of an empty database; what a migration takes from PUBLIC is no part of a copied one."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {owner}")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def fill(url: str, folder: Path) -> Embargoed:
    """Publish an open dataset and two embargoed ones."""
    store = ArtefactStore(str(folder / "store"))
    known, foreign = (folder / f"{name}.csv" for name in ("words", "foreign"))
    write_table(known)
    write_table(foreign, dimension=10, seed=1)
    engine = make_engine(url)
    with Session(engine) as session, session.begin():
        published = [
            publish(session, f"vectors:{table}", store, slug=slug)
            for slug, table in ((OPEN, known), (HIDDEN, known), (FOREIGN, foreign))
        ]
        session.execute(
            text("UPDATE catalog.dataset SET embargoed = true WHERE slug <> :open"), {"open": OPEN}
        )
        session.execute(
            text(
                "INSERT INTO catalog.term (encoder_id, text, vector)"
                " SELECT encoder_id, :prompt, vector FROM catalog.term"
                " JOIN catalog.encoder ON encoder.id = encoder_id WHERE name = :name LIMIT 1"
            ),
            {"prompt": UNHEARD, "name": published[2].encoder},
        )
    engine.dispose()
    return Embargoed(url, login(url, READER), *published)


@pytest.fixture(scope="module")
def embargoed(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embargoed]:
    """A catalog with embargoed datasets that a module's tests read and none changes."""
    with new_database(server_url) as url:
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()
        yield fill(url, tmp_path_factory.mktemp("embargoed"))


@pytest.fixture
def owner(embargoed: Embargoed) -> Iterator[psycopg.Connection]:
    """The owner, logged in."""
    with psycopg.connect(embargoed.owner, autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader(embargoed: Embargoed) -> Iterator[psycopg.Connection]:
    """The reader, logged in."""
    with psycopg.connect(embargoed.reader, autocommit=True) as connection:
        yield connection

"""The queries of docs/sql.md, run as they stand."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.orm import Session

from app.database.engine import make_engine
from app.database.migrate import upgrade
from app.psql import find_psql
from app.store import ArtefactStore
from tests.app.database.conftest import READER, login, new_database
from tests.app.published import publish, write_table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sql.md"
BLOCKS = re.findall(
    r"^```(sql|text)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
)
OWNER, ERROR = "-- as the owner\n", "-- an error\n"
QUERIES = [text for kind, text in BLOCKS if kind == "sql"]
SETUP = [query for query in QUERIES if query.startswith(OWNER)]
FAILING = [query for query in QUERIES if query.startswith(ERROR)]
READING = [query for query in QUERIES if query not in SETUP and query not in FAILING]
TOLD = [text for kind, text in BLOCKS if kind == "text"]


@dataclass(frozen=True)
class Documented:
    """Where the page's queries are run."""

    owner: str
    reader: str


@pytest.fixture(scope="module")
def documented(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    """Three datasets, and what the page's owner did."""
    folder = tmp_path_factory.mktemp("documented")
    table, store = write_table(folder / "words.csv"), ArtefactStore(str(folder / "store"))
    with new_database(server_url) as url:
        engine = make_engine(url)
        upgrade(engine)
        with Session(engine) as session, session.begin():
            for slug in ("lab-a", "lab-b", "pilot"):
                publish(session, f"vectors:{table}", store, slug=slug)
        engine.dispose()
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in SETUP:
                connection.execute(statement)
            connection.execute("CREATE ROLE another LOGIN IN ROLE catalog_reader")
        yield Documented(url, login(url, READER))
        # Roles are the whole server's.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP ROLE analyst, another")


def test_readers_with_logins_of_their_own_cannot_end_each_others_sessions(
    documented: Documented,
) -> None:
    end = "SELECT pg_terminate_backend(%s)"
    logins = [login(documented.owner, user) for user in ("analyst", "another", READER, READER)]
    with ExitStack() as stack:
        one, other, first, second = (
            stack.enter_context(psycopg.connect(url, autocommit=True)) for url in logins
        )
        for asking, asked in ((one, other), (other, one)):
            with pytest.raises(errors.InsufficientPrivilege):
                asking.execute(end, [asked.info.backend_pid])
            assert asked.execute("SELECT count(*) FROM catalog.concepts").fetchone() == (12,)
        assert one.execute("SHOW statement_timeout").fetchone() == ("30s",)
        assert first.execute(end, [second.info.backend_pid]).fetchone() == (True,)
        with pytest.raises(psycopg.OperationalError):
            second.execute("SELECT 1")


def heading(query: str) -> str:
    return " ".join(query.split())[:60]


def test_the_page_has_queries_of_every_kind() -> None:
    assert (len(READING), len(SETUP), len(FAILING), len(TOLD)) == (21, 3, 1, 1)


@pytest.mark.parametrize("query", READING, ids=heading)
def test_a_reader_gets_rows(documented: Documented, query: str) -> None:
    with psycopg.connect(documented.reader) as connection:
        cursor = connection.execute(query)
        rows = cursor.fetchall()
    assert rows
    columns = [column.name for column in cursor.description or []]
    told = {str(row[columns.index("dataset")]) for row in rows} if "dataset" in columns else set()
    assert told <= {"lab-a", "lab-b"}


def test_coverage_is_a_share_of_the_regions_voxels(documented: Documented) -> None:
    (query,) = (query for query in READING if "coverage" in query)
    with psycopg.connect(documented.reader) as connection:
        rows = connection.execute(query).fetchall()
    assert rows == [(subject, "floc:FFA", 5, 5, 1) for subject in ("subj01", "subj02")]


def test_concepts_of_several_datasets_leave_the_embargoed_one_out(documented: Documented) -> None:
    (query,) = (query for query in READING if "n_datasets" in query)
    with psycopg.connect(documented.reader) as connection:
        rows = connection.execute(query).fetchall()
    assert {number for _, number, _ in rows} == {2}
    with psycopg.connect(documented.owner) as connection:
        assert {number for _, number, _ in connection.execute(query)} == {3}


def test_psql_tells_the_error_of_the_page(documented: Documented) -> None:
    done = subprocess.run(
        [find_psql(), documented.reader, "--no-psqlrc", "-c", FAILING[0]],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    assert done.returncode == 1
    assert done.stderr == TOLD[0]

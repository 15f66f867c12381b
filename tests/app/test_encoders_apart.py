"""Two encoders in one catalog: nothing that can be asked compares across their spaces.

Each dataset's answers are held against those of the same catalog without the others.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from httpx import Response
from psycopg import errors
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from app.api import make_api
from app.database.engine import get_engine, make_engine, open_session
from app.database.reader import READER
from app.keys.service import create_key, wanted_key
from app.mcp.server import make_server
from app.mcp.tools import make_tools
from app.store import ArtefactStore
from tests.app.mcp.conftest import call, fault
from tests.app.operations import Asked, operations_of, requests_to, send
from tests.app.published import CONCEPTS, Published, publish, write_table
from tests.app.validation.conftest import add_localisers
from tests.conftest import forget_settings

# Dimension and seed of each dataset's encoder. Vectors of the first two could be compared, and
# would give numbers that mean nothing; the fourth has the first one's encoder.
SPACES = {"lab-a": (8, 0), "lab-b": (8, 1), "lab-c": (10, 2), "lab-d": (8, 0)}
TOGETHER = "together"
WHICH = {"dataset", "run"}
UNNAMED = "several datasets can answer, and none is named"

# How an operation is kept to one space: who adds an operation says so here, and in
# tests.app.operations what it is asked.
MUST_CHOOSE = "is refused where neither dataset nor run is named"
MUST_SHARE = "asks all datasets where none is named, and is refused where their encoders differ"
ONE_CONCEPT = "is about one concept, whose space it stays in"
LISTS = "lists what there is, with the encoder of each, and compares nothing"
NO_VECTOR = "has to do with no vector"
OPERATIONS = {
    "GET /healthz": NO_VECTOR,
    "GET /readyz": NO_VECTOR,
    "GET /v1/search": MUST_CHOOSE,
    "POST /v1/search": MUST_CHOOSE,
    "GET /v1/search/voxels": MUST_SHARE,
    "POST /v1/search/image": MUST_CHOOSE,
    "POST /v1/search/map": MUST_CHOOSE,
    "GET /v1/search/place": MUST_CHOOSE,
    "GET /v1/search/region": MUST_CHOOSE,
    "GET /v1/components": LISTS,
    "GET /v1/components/{component_id}": ONE_CONCEPT,
    "GET /v1/components/{component_id}/similar": ONE_CONCEPT,
    "GET /v1/components/{component_id}/terms": ONE_CONCEPT,
    "GET /v1/components/{component_id}/mask": ONE_CONCEPT,
    "GET /v1/components/{component_id}/voxels": ONE_CONCEPT,
    "GET /v1/regions": LISTS,
    "POST /v1/terms": NO_VECTOR,
    "POST /v1/ingestions": NO_VECTOR,
    "GET /v1/ingestions": NO_VECTOR,
    "GET /v1/ingestions/{request_id}": NO_VECTOR,
    "GET /v1/ingestions/{request_id}/log": NO_VECTOR,
    "POST /v1/ingestions/{request_id}/cancel": NO_VECTOR,
    "POST /v1/ingestions/{request_id}/retry": NO_VECTOR,
    "POST /v1/schedules": NO_VECTOR,
    "GET /v1/schedules": NO_VECTOR,
    "DELETE /v1/schedules/{schedule_id}": NO_VECTOR,
    "POST /v1/triggers": NO_VECTOR,
    "GET /v1/triggers": NO_VECTOR,
    "DELETE /v1/triggers/{trigger_id}": NO_VECTOR,
    "POST /v1/hooks/{trigger_id}": NO_VECTOR,
    "POST /v1/runs/{run}/promote": NO_VECTOR,
    "GET /v1/runs/{run}": NO_VECTOR,
    "GET /v1/runs": LISTS,
    "GET /v1/datasets": LISTS,
    "GET /v1/networks/{subject}": MUST_CHOOSE,
    "GET /v1/validation": MUST_CHOOSE,
    "POST /v1/keys": NO_VECTOR,
    "GET /v1/keys": NO_VECTOR,
    "DELETE /v1/keys/{key_id}": NO_VECTOR,
    "PUT /v1/datasets/{dataset}/embargo": NO_VECTOR,
    "DELETE /v1/datasets/{dataset}/embargo": NO_VECTOR,
    "GET /v1/audit": NO_VECTOR,
}
TOOLS: dict[str, tuple[str, Callable[[Published], dict[str, Any]]]] = {
    "search": (MUST_CHOOSE, lambda one: {"prompt": "face", "dataset": one.dataset}),
    "regions": (MUST_CHOOSE, lambda one: {"prompt": "face", "dataset": one.dataset}),
    "concepts": (LISTS, lambda one: {"dataset": one.dataset}),
    "show": (ONE_CONCEPT, lambda one: {"component": one.components["face"]}),
    "similar": (ONE_CONCEPT, lambda one: {"component": one.components["face"], "k": 100}),
    "datasets": (LISTS, lambda _: {}),
    "runs": (LISTS, lambda one: {"dataset": one.dataset}),
    "show_run": (NO_VECTOR, lambda one: {"run": one.run}),
    # What it reads are the views and functions below, as the same role.
    "sql": (LISTS, lambda _: {"statement": "SELECT 1"}),
}
VIEWS = (
    *("concept_regions", "concept_subjects", "concept_voxels", "concepts"),
    *("run_subjects", "run_verdicts"),
    *("runs", "subjects", "voxels", "concept_maps"),
)
SEARCHES = ("search_concepts", "search_regions", "search_voxels")


@dataclass(frozen=True)
class Spaces:
    """URLs of a catalog of all datasets (`TOGETHER`), and of one with each dataset alone."""

    home: Path
    urls: dict[str, str]
    published: dict[str, Published]


@pytest.fixture(scope="module")
def spaces(
    server_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Spaces:
    """Four datasets in three encoders' spaces; the catalogs of one keep the ids they have here."""
    home = tmp_path_factory.mktemp("spaces")
    urls = {
        name: make_url(server_url)
        .set(database=f"spaces_{name}")
        .render_as_string(hide_password=False)
        for name in (TOGETHER, *SPACES)
    }
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "spaces_{TOGETHER}" TEMPLATE {template_database}')
        engine = make_engine(urls[TOGETHER])
        with Session(engine) as session, session.begin():
            published = {}
            for slug, (dimension, seed) in SPACES.items():
                table = home / f"words-{dimension}-{seed}.csv"
                write_table(table, dimension=dimension, seed=seed)
                store = ArtefactStore(str(home / "store"))
                published[slug] = publish(session, f"vectors:{table}", store, slug=slug)
                add_localisers(session, published[slug])
        engine.dispose()
        for slug in SPACES:
            connection.execute(f'CREATE DATABASE "spaces_{slug}" TEMPLATE "spaces_{TOGETHER}"')
    for slug, one in published.items():
        with psycopg.connect(urls[slug], autocommit=True) as connection:
            connection.execute("DELETE FROM catalog.dataset WHERE slug <> %s", [slug])
            connection.execute("DELETE FROM catalog.encoder WHERE name <> %s", [one.encoder])
    return Spaces(home, urls, published)


@pytest.fixture
def at(spaces: Spaces, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes the settings name one of the catalogs."""
    monkeypatch.setenv("SDC_HOME", str(spaces.home))

    def choose(name: str) -> None:
        get_engine().dispose()
        url = spaces.urls[name]
        monkeypatch.setenv("SDC_DATABASE_URL", url)
        monkeypatch.setenv("SDC_READER_URL", reader_url(url))
        forget_settings()

    monkeypatch.setenv("SDC_DATABASE_URL", spaces.urls[TOGETHER])
    forget_settings()
    yield choose
    get_engine().dispose()
    forget_settings()


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A client of the API on whatever catalog the settings name."""
    with TestClient(make_api(), raise_server_exceptions=False) as asked:
        yield asked


def reader_url(url: str) -> str:
    return make_url(url).set(username=READER).render_as_string(hide_password=False)


def encoders_in(answer: Any) -> set[str]:
    """Every encoder that an answer names."""
    if isinstance(answer, list):
        return set().union(*map(encoders_in, answer))
    if not isinstance(answer, dict):
        return set()
    own = {answer["encoder"]} if answer.get("encoder") else set()
    return own.union(*map(encoders_in, answer.values()))


def concepts_in(answer: Any) -> set[int]:
    """Ids of every concept that an answer tells of."""
    if isinstance(answer, list):
        return set().union(*map(concepts_in, answer))
    if not isinstance(answer, dict):
        return set()
    own = {answer["id"]} if "label" in answer and "id" in answer else set()
    return own.union(*map(concepts_in, answer.values()))


def without_choice(asked: Asked) -> Asked:
    """A request that names no dataset."""
    query = {name: value for name, value in asked.query.items() if name not in WHICH}
    body = asked.body and {name: each for name, each in asked.body.items() if name not in WHICH}
    return Asked(asked.path, query, body, asked.files)


def content(response: Response) -> Any:
    try:
        return response.json()
    except (ValueError, UnicodeDecodeError):
        return response.content


def test_every_operation_tool_view_and_function_has_a_case(spaces: Spaces) -> None:
    assert set(OPERATIONS) == set(operations_of(make_api().openapi()))
    assert set(OPERATIONS) == set(requests_to(spaces.published["lab-a"]))
    assert set(TOOLS) == {tool.name for tool in make_tools()}
    with psycopg.connect(reader_url(spaces.urls[TOGETHER])) as connection:
        readable = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'catalog'::regnamespace"
            " AND relkind IN ('v', 'r', 'm') AND has_table_privilege(oid, 'SELECT')"
        )
        assert {name for (name,) in readable} == set(VIEWS)
        callable_ = connection.execute(
            "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'catalog'::regnamespace"
            " AND proretset AND has_function_privilege(oid, 'EXECUTE')"
        )
        told = {"match_prompt", "read_prompt", "nearest_terms"}
        assert {name for (name,) in callable_} == {*SEARCHES, *told}


@pytest.mark.parametrize("slug", SPACES)
def test_operations_answer_as_if_the_dataset_were_alone(
    at: Callable[[str], None], client: TestClient, spaces: Spaces, slug: str
) -> None:
    one = spaces.published[slug]
    answers: dict[str, dict[str, Any]] = {}
    asked = requests_to(one)
    wanted = [each for each, how in OPERATIONS.items() if how is not NO_VECTOR]
    wanted.remove("GET /v1/datasets")
    for name in (TOGETHER, slug):
        at(name)
        told = {operation: send(client, operation, asked[operation]) for operation in wanted}
        answers[name] = {
            operation: (response.status_code, content(response))
            for operation, response in told.items()
        }
    for operation in wanted:
        status, answer = answers[TOGETHER][operation]
        assert (status, answer) == answers[slug][operation], operation
        # These encoders read no pictures.
        assert status == (409 if operation.endswith("image") else 200), answer
        assert encoders_in(answer) <= {one.encoder}, operation
        assert concepts_in(answer) <= set(one.components.values()), operation
    _, found = answers[slug]["GET /v1/search"]
    assert concepts_in(found) == set(one.components.values())


@pytest.mark.parametrize(
    "operation", [each for each, how in OPERATIONS.items() if how is MUST_CHOOSE]
)
def test_operations_that_must_choose_refuse_to_guess(
    at: Callable[[str], None], client: TestClient, spaces: Spaces, operation: str
) -> None:
    at(TOGETHER)
    asked = requests_to(spaces.published["lab-a"])[operation]
    response = send(client, operation, without_choice(asked))
    problem = response.json()
    assert (response.status_code, problem["detail"]) == (422, UNNAMED)
    assert problem["hint"].endswith("lab-a, lab-b, lab-c, lab-d")


def test_voxels_of_several_spaces_are_not_put_in_one_order(
    at: Callable[[str], None], client: TestClient, spaces: Spaces
) -> None:
    at(TOGETHER)
    asked = requests_to(spaces.published["lab-a"])["GET /v1/search/voxels"]
    response = send(client, "GET /v1/search/voxels", without_choice(asked))
    problem = response.json()
    assert response.status_code == 422
    assert problem["detail"] == (
        "the datasets' vectors are of several encoders, and cannot be compared"
    )
    for slug, one in spaces.published.items():
        assert f"{slug} ({one.encoder})" in problem["hint"]


def test_neighbours_stay_in_their_space(
    at: Callable[[str], None], client: TestClient, spaces: Spaces
) -> None:
    at(TOGETHER)
    for slug, one in spaces.published.items():
        answer = client.get(f"/v1/components/{one.components['face']}/similar?k=1000").json()
        same = {name for name, space in SPACES.items() if space == SPACES[slug]}
        assert {each["dataset"] for each in answer["concepts"]} == same
        assert len(answer["concepts"]) == len(same) * len(CONCEPTS) - 1
        for other, elsewhere in spaces.published.items():
            path = f"/v1/components/{one.components['face']}/similar?dataset={other}"
            response = client.get(path)
            assert response.status_code == (200 if other in same else 409)
            if other not in same:
                detail = response.json()["detail"]
                assert one.encoder in detail
                assert elsewhere.encoder in detail


def test_lists_tell_whose_space_each_row_lies_in(
    at: Callable[[str], None], client: TestClient, spaces: Spaces
) -> None:
    at(TOGETHER)
    encoder_of = {slug: one.encoder for slug, one in spaces.published.items()}
    lists = {"components?limit=100": "items", "datasets": "datasets", "runs": "runs"}
    for path, field in lists.items():
        told = client.get(f"/v1/{path}").json()[field]
        assert {each["dataset"]: each["encoder"] for each in told} == encoder_of


def test_tools_answer_as_the_operations_do(at: Callable[[str], None], spaces: Spaces) -> None:
    at(TOGETHER)
    for tool, (how, arguments) in TOOLS.items():
        for slug, one in spaces.published.items():
            result = call(make_server(), tool, arguments(one))
            assert not result.is_error, result
            if how is not LISTS:
                assert encoders_in(result.structured_content) == {one.encoder}
                known = {
                    each
                    for other, elsewhere in spaces.published.items()
                    if SPACES[other] == SPACES[slug]
                    for each in elsewhere.components.values()
                }
                assert concepts_in(result.structured_content) <= known
        if how is MUST_CHOOSE:
            unnamed = {name: value for name, value in arguments(one).items() if name != "dataset"}
            assert fault(call(make_server(), tool, unnamed)).startswith(UNNAMED)
    other = {"component": one.components["face"], "dataset": "lab-c"}
    assert "cannot be compared" in fault(call(make_server(), "similar", other))


def rows(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(reader_url(url)) as connection:
        return connection.execute(query, values).fetchall()


@pytest.mark.parametrize("slug", SPACES)
def test_sql_answers_as_if_the_dataset_were_alone(spaces: Spaces, slug: str) -> None:
    together, alone = spaces.urls[TOGETHER], spaces.urls[slug]
    for view in VIEWS:
        query = f"SELECT * FROM catalog.{view}{{}} ORDER BY {view}::text"  # noqa: S608
        there = rows(alone, query.format(""))
        assert there
        assert rows(together, query.format(" WHERE dataset = %s"), slug) == there
    for name in SEARCHES:
        found = rows(together, f"SELECT * FROM catalog.{name}('face', 7, %s)", slug)  # noqa: S608
        assert found
        assert found == rows(alone, f"SELECT * FROM catalog.{name}('face', 7)")  # noqa: S608
    told = rows(together, "SELECT * FROM catalog.match_prompt('face', %s)", slug)
    assert told == rows(alone, "SELECT * FROM catalog.match_prompt('face')")
    assert [row[0] for row in told] == [slug]
    told = rows(together, "SELECT * FROM catalog.read_prompt('face', %s)", slug)
    assert told == rows(alone, "SELECT * FROM catalog.read_prompt('face')")
    assert [row[0] for row in told] == [spaces.published[slug].encoder]
    for component in spaces.published[slug].components.values():
        query = "SELECT * FROM catalog.nearest_terms(%s, 20)"
        assert rows(together, query, component) == rows(alone, query, component)


@pytest.mark.parametrize("name", SEARCHES)
def test_sql_refuses_to_rank_two_spaces_in_one_list(spaces: Spaces, name: str) -> None:
    with pytest.raises(errors.AmbiguousParameter, match="several encoders can answer") as refused:
        rows(spaces.urls[TOGETHER], f"SELECT * FROM catalog.{name}('face', 5)")  # noqa: S608
    assert "lab-a, lab-b, lab-c, lab-d" in (refused.value.diag.message_hint or "")
    with psycopg.connect(spaces.urls[TOGETHER]) as owner:
        # Two datasets in one space are one list.
        owner.execute("DELETE FROM catalog.dataset WHERE slug IN ('lab-b', 'lab-c')")
        found = owner.execute(f"SELECT dataset FROM catalog.{name}('face', 100)")  # noqa: S608
        assert {slug for (slug,) in found} == {"lab-a", "lab-d"}
        owner.rollback()


def test_a_prompt_has_a_vector_of_each_space(
    at: Callable[[str], None], client: TestClient, spaces: Spaces
) -> None:
    """The same words, asked of each, are embedded by each one's own encoder."""
    at(TOGETHER)
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("reader", ["read"], [], 1), "a test").key
    with_key = {"Authorization": f"Bearer {key}"}
    vectors = {}
    for slug, one in spaces.published.items():
        asked = {"q": "the portrait", "dataset": slug}
        answers = [
            client.get("/v1/search", params=asked, headers=headers).json()
            for headers in ({}, with_key)
        ]
        # What nobody asks is remembered by encoder, and never taken for another's.
        assert answers[0] == answers[1]
        assert answers[0]["encoder"] == one.encoder
        with psycopg.connect(spaces.urls[TOGETHER]) as owner:
            found = owner.execute(
                "SELECT encoder.name, vector::text FROM catalog.term JOIN catalog.encoder"
                " ON encoder.id = encoder_id WHERE text = 'the portrait'"
            ).fetchall()
        vectors = {name: json.loads(vector) for name, vector in found}
        assert one.encoder in vectors
    assert {len(each) for each in vectors.values()} == {8, 10}
    assert len(vectors) == len(set(SPACES.values())) == 3

"""Tests that every bound is a setting, with a refusal of its own that names it."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from app.api import make_api
from app.mcp.tools import make_tools
from app.settings import get_settings
from tests.app.conftest import Counts, Sdc
from tests.app.mcp.conftest import call, environment, fault, over_stdio
from tests.app.published import Published

LONG = {"SDC_PROMPT_LENGTH": "20"}
TOO_LONG = ("has 21 characters", "20 are the most, the setting SDC_PROMPT_LENGTH")
MANY = {"SDC_K_LIMIT": "12"}
TOO_MANY = ("k is 13", "ask for 1 to 12 answers, the setting SDC_K_LIMIT")
FACE = {"query": "face"}


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Sets settings."""

    def bound(settings: dict[str, str]) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    yield bound
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("settings", "method", "path", "asked", "status", "told"),
    [
        (LONG, "GET", "/v1/search", {"q": "x" * 21}, 422, TOO_LONG),
        (LONG, "GET", "/v1/search", {"q": "face", "plus": "x" * 21}, 422, TOO_LONG),
        (LONG, "GET", "/v1/search", {"q": "face", "template": "x" * 19 + "{}"}, 422, TOO_LONG),
        (LONG, "GET", "/v1/components", {"text": "x" * 21}, 422, TOO_LONG),
        (LONG, "GET", "/v1/validation", {"atlas": "floc", "prompt": "x" * 21}, 422, TOO_LONG),
        (LONG, "POST", "/v1/search", {"questions": [{"query": "x" * 21}]}, 422, TOO_LONG),
        (MANY, "GET", "/v1/search", {"q": "face", "k": 13}, 422, TOO_MANY),
        (MANY, "GET", "/v1/search/place", {"x": 0, "y": 0, "z": 0, "k": 13}, 422, TOO_MANY),
        (MANY, "GET", "/v1/search/region", {"atlas": "a", "region": "b", "k": 13}, 422, TOO_MANY),
        (MANY, "GET", "/v1/components/1/similar", {"k": 13}, 422, TOO_MANY),
        (MANY, "POST", "/v1/search", {"questions": [FACE], "k": 13}, 422, TOO_MANY),
        (
            {"SDC_PROMPT_BATCH": "2"},
            *("POST", "/v1/search", {"questions": [FACE] * 3}, 422),
            ("there are 3 questions", "2 at once are the most, the setting SDC_PROMPT_BATCH"),
        ),
        (
            {"SDC_PAGE_LIMIT": "60"},
            *("GET", "/v1/components", {"limit": 61}, 422),
            ("limit is 61", "ask for 1 to 60 items a page, the setting SDC_PAGE_LIMIT"),
        ),
        (
            {"SDC_JSON_MB": "0.0001"},
            *("POST", "/v1/search", {"questions": [{"query": "x" * 99}]}, 413),
            ("the body is larger than 0.0001 MB, the setting SDC_JSON_MB", None),
        ),
        (
            {"SDC_REQUESTS_PER_MINUTE": "1"},
            *("GET", "/v1/runs", {}, 429),
            ("more than 1 requests in a minute, the setting SDC_REQUESTS_PER_MINUTE", "wait "),
        ),
    ],
)
def test_over_http(
    published: Published,
    bounded: Callable[[dict[str, str]], None],
    count_rows: Callable[[], Counts],
    settings: dict[str, str],
    method: str,
    path: str,
    asked: dict[str, Any],
    status: int,
    told: tuple[str, str | None],
) -> None:
    before = count_rows()
    bounded(settings)
    client = TestClient(make_api(), raise_server_exceptions=False)
    if status == 429:
        assert client.get("/v1/runs").status_code == 200
    words = {"params": asked} if method == "GET" else {"json": asked}
    response = client.request(method, path, **words)
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert told[0] in problem["detail"]
    assert (problem.get("hint") or "").startswith(told[1] or "")
    assert count_rows() == before


@pytest.mark.parametrize(
    ("settings", "words", "told"),
    [
        (LONG, ("search", "x" * 21), TOO_LONG),
        (LONG, ("validate", "--atlas", "floc", "--prompt", "x" * 21), TOO_LONG),
        (LONG, ("terms", "add", "face", "x" * 21), TOO_LONG),
        (MANY, ("search", "face", "-k", "13"), TOO_MANY),
        (MANY, ("similar", "1", "-k", "13"), TOO_MANY),
    ],
)
def test_on_the_command_line(
    published: Published,
    sdc: Sdc,
    bounded: Callable[[dict[str, str]], None],
    count_rows: Callable[[], Counts],
    settings: dict[str, str],
    words: tuple[str, ...],
    told: tuple[str, str],
) -> None:
    before = count_rows()
    bounded(settings)
    result = sdc(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"{told[0]} ({told[1]})\n")
    assert count_rows() == before


def test_schemas_tell_them(bounded: Callable[[dict[str, str]], None]) -> None:
    bounded(LONG | MANY | {"SDC_PAGE_LIMIT": "60", "SDC_PROMPT_BATCH": "2"})
    document = make_api().openapi()
    told = {
        (path, parameter["name"]): parameter["schema"]
        for path, operations in document["paths"].items()
        for parameter in operations.get("get", {}).get("parameters", [])
    }
    counts = {path: schema for (path, name), schema in told.items() if name == "k"}
    assert len(counts) >= 4
    assert {schema["maximum"] for schema in counts.values()} == {12}
    pages = [schema["maximum"] for (_, name), schema in told.items() if name == "limit"]
    assert set(pages) == {60}
    for place in (("/v1/search", "q"), ("/v1/components", "text"), ("/v1/validation", "prompt")):
        assert told[place]["maxLength"] == 20
    for name in ("plus", "minus", "template"):
        assert told["/v1/search", name]["items"]["maxLength"] == 20
    schemas = document["components"]["schemas"]
    assert schemas["Questions"]["properties"]["questions"]["maxItems"] == 2
    assert schemas["Questions"]["properties"]["k"]["maximum"] == 12
    assert schemas["Question"]["properties"]["query"]["maxLength"] == 20
    for tool in make_tools():
        taken = tool.parameters["properties"]
        if tool.name in ("search", "regions"):
            assert taken["prompt"]["maxLength"] == 20
        if "k" in taken:
            assert taken["k"]["maximum"] == 12


@pytest.fixture
def locked(own_published: Published) -> Iterator[None]:
    """A catalog whose queries on datasets wait for somebody who never ends."""
    url = get_settings().database_url
    assert url is not None
    with psycopg.connect(url.get_secret_value()) as connection:
        connection.execute("LOCK TABLE catalog.dataset IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


SLOW = "the database query took too long and was stopped"
SLOW_HINT = "ask for less, or raise SDC_STATEMENT_TIMEOUT_S"


def test_time_over_http(locked: None, bounded: Callable[[dict[str, str]], None]) -> None:
    bounded({"SDC_STATEMENT_TIMEOUT_S": "0.1"})
    client = TestClient(make_api(), raise_server_exceptions=False)
    for path in ("/v1/datasets", "/v1/search?q=face", "/v1/components"):
        response = client.get(path)
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert (response.status_code, problem["title"]) == (504, "Gateway Timeout")
        assert (problem["detail"], problem["hint"]) == (SLOW, SLOW_HINT)


def test_time_on_the_command_line(
    locked: None, sdc: Sdc, bounded: Callable[[dict[str, str]], None]
) -> None:
    bounded({"SDC_STATEMENT_TIMEOUT_S": "0.1"})
    for words in (("datasets",), ("search", "face")):
        result = sdc(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"error: {SLOW} ({SLOW_HINT})\n"


def test_time_of_a_model_s_question(locked: None, catalog: Any) -> None:
    url = get_settings().database_url
    assert url is not None
    own = environment(catalog, url.get_secret_value()) | {"SDC_STATEMENT_TIMEOUT_S": "0.1"}
    assert fault(call(over_stdio(own), "datasets", {})) == f"{SLOW} ({SLOW_HINT})"

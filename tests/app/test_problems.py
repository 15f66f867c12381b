"""Tests of errors told as problem details."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.errors import ConflictError, NotFoundError, StorageError
from app.problems import MOST_FAULTS, tell_problems


def asked(error: Exception) -> TestClient:
    """A client of an application that fails so."""
    api = FastAPI()
    tell_problems(api)

    @api.get("/fails")
    def fail(count: int = 1) -> None:
        raise error

    return TestClient(api, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (NotFoundError("no such thing", hint="look elsewhere"), 404, "Not Found"),
        (ConflictError("two things", hint="look elsewhere"), 409, "Conflict"),
        (StorageError("no room", hint="look elsewhere"), 507, "Insufficient Storage"),
    ],
)
def test_errors_of_the_catalog(error: Exception, status: int, title: str) -> None:
    response = asked(error).get("/fails")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": str(error).partition(" (")[0],
        "hint": "look elsewhere",
    }
    assert response.status_code == status


def test_an_unknown_failure_gives_nothing_away() -> None:
    response = asked(RuntimeError("password=hunter2")).get("/fails")
    assert response.status_code == 500
    assert "hunter2" not in response.text
    assert response.json()["detail"] == "the catalog failed to answer"


def test_what_is_misformed_is_named_but_not_repeated() -> None:
    response = asked(RuntimeError()).get("/fails", params={"count": "hunter2"})
    assert response.status_code == 422
    assert "hunter2" not in response.text
    problem = response.json()
    assert problem["detail"].startswith("query.count: ")
    assert problem["errors"][0]["where"] == "query.count"


def test_of_many_faults_the_first_are_told() -> None:
    api = FastAPI()
    tell_problems(api)

    @api.post("/counts")
    def count(counts: list[int]) -> None:
        raise RuntimeError

    response = TestClient(api).post("/counts", json=["x"] * 1000)
    assert response.status_code == 422
    assert [each["where"] for each in response.json()["errors"]] == [
        f"body.{number}" for number in range(MOST_FAULTS)
    ]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/x", 404), ("PUT", "/fails", 405)])
def test_http_errors(method: str, path: str, status: int) -> None:
    response = asked(RuntimeError()).request(method, path)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code == status
    assert status != 405 or response.headers["allow"] == "GET"

"""Tests of bounded bodies."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.settings import get_settings
from tests.app.published import Published

LIMIT = "the body is larger than 0.001 MB, the setting SDC_JSON_MB"
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture(autouse=True)
def small(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of 1,000 bytes at most, with files of 2,000."""
    monkeypatch.setenv("SDC_JSON_MB", "0.001")
    monkeypatch.setenv("SDC_UPLOAD_MB", "0.002")
    get_settings.cache_clear()


def pieces(count: int) -> Iterator[bytes]:
    """A body that comes in pieces, whose length nobody tells."""
    yield b'{"questions": [{"query": "'
    for _ in range(count):
        yield b"face" * 25
    yield b'"}]}'


def test_a_length_that_is_told(client: TestClient) -> None:
    response = client.post("/v1/search", content=b"x" * 1001)
    assert (response.status_code, response.json()["detail"]) == (413, LIMIT)
    assert response.headers["content-type"] == "application/problem+json"


def test_a_body_in_pieces(client: TestClient) -> None:
    """It is refused as soon as it is too long; one that is not gets through to its own fault."""
    assert client.post("/v1/search", content=pieces(20)).json()["detail"] == LIMIT
    short = client.post("/v1/search", content=pieces(9))
    assert short.status_code != 413


def test_a_length_that_is_a_lie(client: TestClient) -> None:
    response = client.post("/v1/search", content=pieces(20), headers={"content-length": "10"})
    assert response.status_code == 413


@pytest.mark.parametrize("digits", ["9" * 5000, "0" * 5000 + "1001"])
def test_a_length_of_many_digits(client: TestClient, digits: str) -> None:
    response = client.post("/v1/search", content=b"{}", headers={"content-length": digits})
    assert (response.status_code, response.json()["detail"]) == (413, LIMIT)


def test_an_upload_may_be_larger(client: TestClient) -> None:
    assert client.post("/v1/search/image", content=b"x" * 2000, headers=FORM).status_code != 413
    response = client.post("/v1/search/image", content=b"x" * 2001, headers=FORM)
    assert response.status_code == 413
    assert (
        response.json()["detail"] == "the body is larger than 0.002 MB, the setting SDC_UPLOAD_MB"
    )

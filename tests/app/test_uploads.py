"""Tests of bounded bodies."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.settings import get_settings
from tests.app.published import Published

LIMIT = "the body is larger than 0.001 MB, the setting upload_mb"


@pytest.fixture(autouse=True)
def small(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of 1,000 bytes at most."""
    monkeypatch.setenv("SDC_UPLOAD_MB", "0.001")
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

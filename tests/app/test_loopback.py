"""Proxies of the environment's, and this machine itself."""

import os
import socket
from threading import Thread

import httpx
import pytest

from app.client import Catalog
from app.errors import UnavailableError
from app.health.probe import is_well
from app.loopback import never_proxy_loopback


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        # Nobody answers there.
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def url() -> str:
    """URL of a server that answers one request."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listening, listening.accept()[0] as asked:
            asked.recv(65536)
            asked.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_probe_asks_directly(proxied: None, url: str) -> None:
    assert is_well(url)


def test_a_client_asks_directly_and_changes_nothing(proxied: None, url: str) -> None:
    before = dict(os.environ)
    with pytest.raises(UnavailableError) as caught, Catalog(url) as catalog:
        catalog.datasets()
    # It was reached, and is no catalog.
    assert "cannot be reached" not in caught.value.message
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("told", "then"),
    [
        ("", "localhost,127.0.0.1,::1"),
        ("lab.example, localhost", "lab.example,localhost,127.0.0.1,::1"),
        ("*", "*"),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_what_else_is_asked_directly_stays(
    proxied: None, url: str, monkeypatch: pytest.MonkeyPatch, name: str, told: str, then: str
) -> None:
    monkeypatch.setenv(name, told)
    for _ in range(2):
        never_proxy_loopback()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == then
    assert httpx.get(url).is_success

"""Requests that claim another address, another name, or another length, and URLs with passwords."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient

from app.api import make_api
from app.database.engine import open_session
from app.errors import InputError
from app.guard import host_of, is_allowed
from app.ingestions.schemas import IngestionWanted
from app.ingestions.service import ask_ingestion
from app.keys.service import create_key, wanted_key
from app.settings import Settings, get_settings
from app.triggers.schemas import TriggerWanted
from app.triggers.service import make_trigger
from flows.sources import open_source
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published

PASSWORD = "hunter2"  # noqa: S105


@contextmanager
def served(sdc: Sdc, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of what `sdc serve` serves, as it serves it."""
    found: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **words: found.append((app, words)))
    result = sdc("serve")
    assert result.exit_code == 0, result.stderr
    ((app, words),) = found
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, **words))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize(("trusted", "statuses"), [([], [200, 429]), (["127.0.0.1"], [200, 200])])
def test_who_asks_is_told_by_the_connection_and_trusted_proxies(
    published: Published,
    sdc: Sdc,
    monkeypatch: pytest.MonkeyPatch,
    trusted: list[str],
    statuses: list[int],
) -> None:
    """The rate of one address is not escaped by claiming others."""
    monkeypatch.setenv("SDC_REQUESTS_PER_MINUTE", "1")
    monkeypatch.setenv("SDC_TRUSTED_PROXIES", json.dumps(trusted))
    get_settings.cache_clear()
    with served(sdc, monkeypatch) as url:
        told = [
            httpx.get(f"{url}/v1/datasets", headers={"X-Forwarded-For": f"10.0.0.{number}"})
            for number in (1, 2)
        ]
        assert [each.status_code for each in told] == statuses
        # What a client says of itself is not what the proxy says of it.
        claimed = {"X-Forwarded-For": "10.9.9.9, 10.0.0.1"}
        assert httpx.get(f"{url}/v1/datasets", headers=claimed).status_code == 429


@pytest.mark.parametrize(
    ("header", "allowed", "is_let_in"),
    [
        ("127.0.0.1:8000", [], True),
        ("[::1]:8000", [], True),
        ("192.168.1.7", [], True),
        ("localhost:8000", [], True),
        ("api:8000", [], True),
        ("evil.example", [], False),
        ("evil.example:8000", [], False),
        ("EVIL.example.", [], False),
        ("127.0.0.1.evil.example", [], False),
        ("localhost.evil.example", [], False),
        ("catalog.lab.org", ["catalog.lab.org"], True),
        ("Catalog.Lab.org.:443", ["catalog.lab.org"], True),
        ("xcatalog.lab.org", ["catalog.lab.org"], False),
        ("a.lab.org", ["*.lab.org"], True),
        ("alab.org", ["*.lab.org"], False),
        ("evil.example", ["*"], True),
    ],
)
def test_names_that_lead_here(
    published: Published,
    monkeypatch: pytest.MonkeyPatch,
    header: str,
    allowed: list[str],
    is_let_in: bool,
) -> None:
    assert is_allowed(host_of(header), allowed) is is_let_in
    monkeypatch.setenv("SDC_ALLOWED_HOSTS", json.dumps(allowed))
    get_settings.cache_clear()
    client = TestClient(make_api())
    for path in ("/v1/datasets", "/metrics", "/healthz", "/docs"):
        response = client.get(path, headers={"host": header})
        if is_let_in:
            assert response.status_code != 421
            continue
        assert response.status_code == 421
        assert response.json()["detail"] == f"this server is not {host_of(header)!r}"
        assert "SDC_ALLOWED_HOSTS" in response.json()["hint"]


def test_what_answers_tell_browsers(client: TestClient) -> None:
    for path in ("/v1/datasets", "/nowhere", "/v1/components/0"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")


def test_two_lengths(
    published: Published,
    sdc: Sdc,
    monkeypatch: pytest.MonkeyPatch,
    count_rows: Callable[[], Counts],
) -> None:
    before = count_rows()
    with served(sdc, monkeypatch) as url, socket.socket() as asked:
        host, _, port = url.removeprefix("http://").partition(":")
        asked.connect((host, int(port)))
        asked.sendall(
            b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\n\r\nGET /v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        asked.settimeout(10)
        told = b""
        while block := asked.recv(65536):
            told += block
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1 ") == 1
    assert count_rows() == before


@pytest.mark.parametrize(
    "source",
    [
        f"https://me:{PASSWORD}@data.example/faces",
        f"s3://{PASSWORD}@bucket/faces",
        f"simplecache::https://me:{PASSWORD}@data.example/faces",
    ],
)
def test_passwords_in_urls_stay_out(
    catalog: Path,
    sdc: Sdc,
    count_rows: Callable[[], Counts],
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    monkeypatch.setenv("SDC_INGEST_URLS", json.dumps(["https://", "s3://", "simplecache::"]))
    monkeypatch.setenv("SDC_HOOK_SECRET", "x" * 32)
    get_settings.cache_clear()
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("test", ["ingest"], [], 30), "a test").key
    before = count_rows()
    files = sorted(catalog.rglob("*"))
    told = []
    with TestClient(make_api()) as client:
        for path, more in (
            ("ingestions", {}),
            ("schedules", {"every_s": 3600}),
            ("triggers", {"kind": "webhook"}),
        ):
            response = client.post(
                f"/v1/{path}",
                json={"source": source} | more,
                headers={"Authorization": f"Bearer {key}"},
            )
            assert response.status_code == 422, response.text
            told.append(response.text)
    with open_session() as session:
        wanted = IngestionWanted(source=source)
        with pytest.raises(InputError) as caught:
            ask_ingestion(session, wanted, "a test", "manual")
    told.append(str(caught.value))
    with pytest.raises(InputError) as caught:
        open_source(source)
    told.append(str(caught.value))
    assert sorted(catalog.rglob("*")) == files
    result = sdc("ingest", source)
    assert result.exit_code == 2
    told.append(result.output)
    for each in told:
        assert "a URL with a user or a password in it" in each
        assert PASSWORD not in each
    assert count_rows() == before
    for file in catalog.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()


def test_a_store_with_a_password() -> None:
    with pytest.raises(InputError, match="SDC_STORE is a URL with a user or a password") as caught:
        _ = Settings(store=f"s3://key:{PASSWORD}@bucket").store_url
    assert PASSWORD not in str(caught.value)


def test_whether_a_webhook_is_there_is_not_told(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_HOOK_SECRET", "x" * 32)
    get_settings.cache_clear()
    with open_session() as session, session.begin():
        wanted = TriggerWanted(source=str(catalog), kind="webhook")
        made = make_trigger(session, wanted, "a test")
    signed = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    now = signed | {"webhook-timestamp": str(int(time.time()))}
    with TestClient(make_api()) as client:
        for headers in (signed, now, now | {"webhook-signature": "x"}):
            there, nowhere = (
                client.post(f"/v1/hooks/{number}", content=b"{}", headers=headers)
                for number in (made.id, made.id + 1)
            )
            assert there.status_code == nowhere.status_code == 401
            assert there.json() == nowhere.json()
        monkeypatch.delenv("SDC_HOOK_SECRET")
        get_settings.cache_clear()
        there, nowhere = (
            client.post(f"/v1/hooks/{number}", content=b"{}", headers=now)
            for number in (made.id, made.id + 1)
        )
        assert there.json() == nowhere.json()


def test_metrics_tell_of_no_embargo(own_published: Published, sdc: Sdc) -> None:
    with TestClient(make_api()) as client:
        assert 'sdc_rows{table="dataset"} 1.0' in client.get("/metrics").text
        assert sdc("embargo", "lab-a").exit_code == 0
        told = client.get("/metrics").text
        for name in ('sdc_rows{table="dataset"}', 'sdc_rows{table="run"}', "sdc_current_runs"):
            assert f"{name} 0.0" in told

"""Tests of telling others, by servers that are really called."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks import Webhook

from flows import telling
from flows.telling import Email, Event, tell
from tests.conftest import forget_settings

SECRET = "whsec_c2VjcmV0IG9mIGEgdGVzdA=="  # noqa: S105
EVENT = Event("published", "faces", "run 7 answers for faces", run=7)


@contextmanager
def server(*statuses: int) -> Iterator[tuple[str, list[tuple[dict[str, str], str]]]]:
    """URL of a server that answers with these statuses in turn, and what it was sent."""
    received: list[tuple[dict[str, str], str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = statuses[min(len(received), len(statuses) - 1)]
            received.append(({name.lower(): each for name, each in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://user:hidden@127.0.0.1:{http.server_port}/told", received
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture(autouse=True)
def at_once(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other without a pause."""
    monkeypatch.setattr(telling, "PAUSES_S", (0.0, 0.0))


def settings(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"SDC_{name.upper()}", text)
    forget_settings()


def test_a_webhook_is_told_and_can_check_who_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(204) as (url, received):
        settings(monkeypatch, notify_urls=[url], notify_secret=SECRET)
        tell(EVENT)
    ((headers, body),) = received
    told = Webhook(SECRET).verify(body, headers)
    assert (told["kind"], told["dataset"], told["run"], told["ingestion"]) == (
        "published",
        "faces",
        7,
        None,
    )
    assert told["subject"] == "a run of faces was published"


@pytest.mark.parametrize(
    ("statuses", "tries", "heard"),
    [((503, 204), 2, True), ((503, 500, 502, 204), 3, False), ((404, 204), 1, False)],
)
def test_what_may_pass_is_tried_again_with_the_same_id(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    statuses: tuple[int, ...],
    tries: int,
    heard: bool,
) -> None:
    with server(*statuses) as (url, received):
        settings(monkeypatch, notify_urls=[url], notify_secret=SECRET)
        tell(EVENT)
    assert len(received) == tries
    assert len({headers["webhook-id"] for headers, _ in received}) == 1
    assert ("could not be told" in caplog.text) != heard
    assert "hidden" not in caplog.text


def test_who_is_away_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with server(204) as (url, received):
        settings(monkeypatch, notify_urls=["http://127.0.0.1:1/x?key=hidden", url])
        tell(EVENT)
    assert len(received) == 1
    assert "webhook-signature" not in received[0][0]
    assert "the webhook at 127.0.0.1 could not be told: ConnectError" in caplog.text
    assert "hidden" not in caplog.text


# A part of the library that reads pictures, which nobody sends.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_an_e_mail_is_sent_by_prefects_block(
    flows_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[str] = []

    class Inbox:
        async def handle_DATA(self, _server: SMTP, _: Session, envelope: Envelope) -> str:  # noqa: N802
            messages.append(envelope.content.decode())  # type: ignore[union-attr]
            return "250 OK"

    controller = Controller(Inbox(), hostname="127.0.0.1", port=0)
    controller.port = free_port()
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{controller.port}?from=sdc@lab.example&to=team@lab.example"
        Email(url=url).save("team", overwrite=True)  # type: ignore[arg-type]
        settings(monkeypatch, notify_blocks=["email/nobody", "email/team"])
        tell(Event("failed", "faces", "it went wrong"))
    finally:
        controller.stop()
    (message,) = messages
    assert "Subject: work on faces failed" in message
    assert "team@lab.example" in message
    assert "it went wrong" in message
    assert "the block email/nobody could not be told" in caplog.text


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])

"""Tests of watched folders and webhooks, over HTTP and from the queue's side."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from httpx import Response
from schemathesis.openapi.checks import JsonSchemaError
from sqlalchemy import select, update
from standardwebhooks import Webhook

from app.api import make_api
from app.database.engine import open_session
from app.database.models import IngestionRequest, IngestionTrigger
from app.keys.service import create_key, wanted_key
from app.triggers.service import look_once
from tests.app.conftest import Sdc
from tests.conftest import forget_settings

Counts = dict[str, int]


@pytest.fixture
def root(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that requests may read, and a secret of webhooks."""
    folder = catalog / "incoming"
    folder.mkdir()
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(folder)]))
    monkeypatch.setenv("SDC_HOOK_SECRET", "something random")
    forget_settings()
    return folder


@pytest.fixture
def client(root: Path) -> TestClient:
    return TestClient(make_api(), raise_server_exceptions=False)


def headers_of(*scopes: str) -> dict[str, str]:
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("test", scopes, (), 30), "a test").key
    return {"Authorization": f"Bearer {key}"}


def make(client: TestClient, **wanted: Any) -> dict[str, Any]:
    made = client.post("/v1/triggers", json=wanted, headers=headers_of("ingest"))
    assert made.status_code == 201, made.text
    answer: dict[str, Any] = made.json()
    return answer


def send(
    client: TestClient,
    hook: dict[str, Any],
    body: str,
    *,
    identity: str = "msg_1",
    age: timedelta = timedelta(),
    **changed: str,
) -> Response:
    """A message as another system sends it; `changed` replaces headers after it was signed."""
    at = datetime.now(UTC) - age
    signature = Webhook(hook["secret"]).sign(identity, at.replace(tzinfo=None), body)
    headers = {
        "webhook-id": identity,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    return client.post(f"/v1/hooks/{hook['id']}", content=body, headers=headers)


def requests() -> list[IngestionRequest]:
    with open_session() as session:
        return list(session.scalars(select(IngestionRequest).order_by(IngestionRequest.id)))


def test_a_signed_message_asks_once_however_often_it_comes(client: TestClient, root: Path) -> None:
    hook = make(client, kind="webhook", source=str(root), then_run=True, options={"n_test": 9})
    body = json.dumps({"source": str(root / "faces"), "and": "more"})
    answers = [send(client, hook, body) for _ in range(3)]
    assert [each.status_code for each in answers] == [202] * 3
    assert {each.text for each in answers} == {'{"ingestion":1,"state":"queued"}'}
    (request,) = requests()
    assert (request.source, request.trigger, request.then_run, request.options) == (
        str(root / "faces"),
        "webhook",
        True,
        {"n_test": 9},
    )
    assert send(client, hook, body, identity="msg_2").json()["ingestion"] == 2


def test_answers_to_messages_are_those_of_the_document(client: TestClient, root: Path) -> None:
    """Which requests made from the document cannot show: none of these has a right signature."""
    document = schemathesis.openapi.from_asgi("/openapi.json", make_api())
    operation = document["/v1/hooks/{trigger_id}"]["POST"]
    hook = make(client, kind="webhook", source=str(root))
    answers = {
        202: send(client, hook, json.dumps({"source": str(root / "faces")})),
        401: send(client, hook, "{}", webhook_signature="v1,AAAA"),
        422: send(client, hook, json.dumps({"source": "/elsewhere"})),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        operation.validate_response(answer)
    answers[202]._content = b'{"ingestion": 1}'
    with pytest.raises(JsonSchemaError, match='"state" is a required property'):
        operation.validate_response(answers[202])


@pytest.mark.parametrize(
    ("changed", "age", "message"),
    [
        ({"webhook_signature": "v1,AAAA"}, 0, "the message's signature is wrong or missing"),
        ({"webhook_signature": ""}, 0, "the message's signature is wrong or missing"),
        ({"webhook_signature": "nonsense"}, 0, "the message's signature is wrong or missing"),
        ({"webhook_id": "msg_2"}, 0, "the message's signature is wrong or missing"),
        ({"webhook_timestamp": "soon"}, 0, "the message's signature is wrong or missing"),
        ({}, 301, "the message's signature is old"),
        ({}, 3600 * 24, "the message's signature is old"),
        ({}, -400, "the message's signature is from the future"),
    ],
)
def test_a_signature_that_is_wrong_or_old_changes_nothing(
    client: TestClient,
    root: Path,
    count_rows: Callable[[], Counts],
    changed: dict[str, str],
    age: int,
    message: str,
) -> None:
    hook = make(client, kind="webhook", source=str(root))
    before = count_rows()
    body = json.dumps({"source": str(root / "faces")})
    refused = send(client, hook, body, age=timedelta(seconds=age), **changed)
    assert (refused.status_code, refused.json()["detail"]) == (401, message)
    assert count_rows() == before


def test_a_body_that_was_changed_or_signed_for_another_webhook(
    client: TestClient, root: Path, count_rows: Callable[[], Counts]
) -> None:
    hook, other = (make(client, kind="webhook", source=str(root)) for _ in range(2))
    assert hook["secret"] != other["secret"]
    before = count_rows()
    body = json.dumps({"source": str(root)})
    assert send(client, {**hook, "id": other["id"]}, body).status_code == 401
    at = datetime.now(UTC)
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(hook["secret"]).sign("m", at.replace(tzinfo=None), body),
    }
    changed = client.post(f"/v1/hooks/{hook['id']}", content=body + " ", headers=headers)
    assert changed.status_code == 401
    assert count_rows() == before


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", "source: Field required"),
        ("nonsense", "the message: Invalid JSON"),
        ('{"source": ""}', "source: String should have at least 1 character"),
        ('{"source": "/etc"}', "/etc lies outside the webhook's folder"),
        ('{"source": "faces"}', "faces lies outside the webhook's folder"),
    ],
)
def test_a_message_that_says_nothing_of_use(
    client: TestClient, root: Path, count_rows: Callable[[], Counts], body: str, message: str
) -> None:
    hook = make(client, kind="webhook", source=str(root))
    before = count_rows()
    refused = send(client, hook, body)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith(message)
    assert count_rows() == before


def test_no_one_is_told_which_webhooks_there_are(client: TestClient, root: Path) -> None:
    watch = make(client, kind="watch", source=str(root))
    ended = make(client, kind="webhook", source=str(root))
    admin = headers_of("admin")
    assert client.delete(f"/v1/triggers/{ended['id']}", headers=admin).status_code == 200
    told = {
        send(client, {**ended, "id": number}, "{}").text.replace(f"/hooks/{number}", "")
        for number in (watch["id"], ended["id"], 99, 2**40)
    }
    assert len(told) == 1
    assert '"status":401' in told.pop()


def test_reading_that_needs_a_key_leaves_webhooks_open(
    client: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = make(client, kind="webhook", source=str(root))
    monkeypatch.setenv("SDC_READING_NEEDS_KEY", "true")
    forget_settings()
    assert send(client, hook, json.dumps({"source": str(root)})).status_code == 202


def test_without_a_secret_there_are_no_webhooks(
    client: TestClient,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    count_rows: Callable[[], Counts],
) -> None:
    monkeypatch.delenv("SDC_HOOK_SECRET")
    forget_settings()
    mine = headers_of("ingest")
    before = count_rows()
    wanted = {"kind": "webhook", "source": str(root)}
    refused = client.post("/v1/triggers", json=wanted, headers=mine)
    assert (refused.status_code, refused.json()["detail"]) == (
        503,
        "webhooks have no secret here",
    )
    assert count_rows() == before


def look(seconds_later: int = 0) -> None:
    """Look at all watched folders, as if so much time had passed since they were looked at."""
    with open_session() as session, session.begin():
        for trigger in session.scalars(select(IngestionTrigger)):
            trigger.seen = {
                path: one | {"since": _earlier(one["since"], seconds_later)}
                for path, one in trigger.seen.items()
            }
        session.execute(update(IngestionTrigger).values(look_at=datetime.now(UTC)))
    more = True
    while more:
        with open_session() as session, session.begin():
            more = look_once(session)


def _earlier(since: str, seconds: int) -> str:
    return (datetime.fromisoformat(since) - timedelta(seconds=seconds)).isoformat()


def test_what_arrives_in_a_watched_folder_is_asked_for_when_it_is_whole(
    client: TestClient, root: Path
) -> None:
    make(client, kind="watch", source=str(root), settle_s=60)
    faces = root / "faces"
    faces.mkdir()
    (faces / "betas.npy").write_text("some")
    look(100)
    look(100)
    assert requests() == []
    (faces / "dataset.toml").write_text("")
    look()
    (faces / "betas.npy").write_text("some and more")
    look(100)
    assert requests() == []
    look(100)
    look(100)
    (request,) = requests()
    assert (request.source, request.trigger) == (str(faces), "watch")
    (faces / "session2.npy").write_text("new")
    look(100)
    look(100)
    assert [each.source for each in requests()] == [str(faces)] * 2


def test_two_who_look_at_once_ask_once(client: TestClient, root: Path) -> None:
    make(client, kind="watch", source=str(root), settle_s=1)
    with open_session() as one, open_session() as other:
        assert (look_once(one), look_once(other)) == (True, False)


def test_a_folder_that_is_away_is_looked_at_again(client: TestClient, root: Path) -> None:
    (root / "later").mkdir()
    make(client, kind="watch", source=str(root / "later"), settle_s=1)
    (root / "later").rmdir()
    look()
    (root / "later" / "faces").mkdir(parents=True)
    (root / "later" / "faces" / "_SUCCESS").touch()
    look()
    look(10)
    assert len(requests()) == 1


def test_keys_see_and_end_their_own(client: TestClient, root: Path) -> None:
    mine, others, admin = headers_of("ingest"), headers_of("ingest"), headers_of("admin")
    wanted = {"kind": "watch", "source": str(root)}
    made = client.post("/v1/triggers", json=wanted, headers=mine).json()
    assert made.pop("secret") is None
    for headers, expected in ((mine, [made]), (others, []), (admin, [made])):
        assert client.get("/v1/triggers", headers=headers).json()["triggers"] == expected
    place = f"/v1/triggers/{made['id']}"
    assert client.delete(place, headers=others).json()["detail"] == "there is no trigger 1"
    assert client.delete(place, headers=mine).json()["ended_at"] is not None
    look()
    assert client.get("/v1/triggers", headers=mine).json()["triggers"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "/etc"}, "/etc: no folder that requests may read"),
        ({"options": {"x": 1}}, "x: Extra inputs are not permitted"),
        ({"settle_s": 0}, "greater than or equal to 1"),
        ({"kind": "guess"}, "'watch' or 'webhook'"),
    ],
)
def test_what_is_no_trigger_is_refused_and_nothing_is_made(
    client: TestClient,
    root: Path,
    count_rows: Callable[[], Counts],
    change: dict[str, Any],
    message: str,
) -> None:
    mine = headers_of("ingest")
    before = count_rows()
    wanted = {"kind": "watch", "source": str(root)} | change
    refused = client.post("/v1/triggers", json=wanted, headers=mine)
    assert refused.status_code == 422
    assert message in refused.json()["detail"]
    assert count_rows() == before


def test_on_the_command_line(root: Path, sdc: Sdc) -> None:
    made = sdc("triggers", "--watch", root, "--webhook", root, "--settle", 5, "--json")
    told = json.loads(made.stdout)["triggers"]
    assert [(each["kind"], each["settle_s"]) for each in told] == [("watch", 5), ("webhook", 5)]
    assert "POST /v1/hooks/2, signed with whsec_" in made.stderr
    assert "webhook" not in sdc("triggers", "--end", 2).stdout
    refused = sdc("triggers", "--end", 99)
    assert (refused.exit_code, "there is no trigger 99" in refused.stderr) == (2, True)

"""Tests of keys, of what they open, and of what is recorded."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.api import make_api
from app.database.engine import get_engine, open_session
from app.database.models import ApiKey, Audit
from app.keys.service import create_key, wanted_key
from app.settings import get_settings
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published

INVALID = "the key is not valid: it is none, has expired, or was revoked"


def make_key(*scopes: str, datasets: tuple[str, ...] = ()) -> str:
    with open_session() as session, session.begin():
        return create_key(session, wanted_key("test", scopes, datasets, 30), "a test").key


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def own_client(own_published: Published) -> TestClient:
    """A client of the API on a catalog of the test's own."""
    return TestClient(make_api(), raise_server_exceptions=False)


def test_a_secret_is_shown_once_and_stored_hashed(own_published: Published, sdc: Sdc) -> None:
    result = sdc("keys", "create", "notebook", "--scope", "read", "--scope", "ingest")
    (secret,) = result.stdout.splitlines()
    assert re.fullmatch(r"sdc_[A-Za-z0-9_-]{43}", secret)
    with get_engine().connect() as connection:
        for table in ("api_key", "audit"):
            rows = connection.execute(text(f"SELECT {table}::text FROM catalog.{table}")).all()  # noqa: S608
            assert rows
            assert secret not in str(rows)
            assert secret.removeprefix("sdc_") not in str(rows)
    listed = sdc("keys", "list", "--json")
    (told,) = json.loads(listed.stdout)["keys"]
    assert secret not in listed.stdout
    assert (told["name"], told["scopes"]) == ("notebook", ["ingest", "read"])


@pytest.mark.parametrize(
    "key", ["", "x", "sdc_" + "A" * 43, "sdc_" + "A" * 4000, "' OR 1=1 --", "Bearer"]
)
def test_what_is_no_key(own_client: TestClient, key: str) -> None:
    """It is refused even where reading is open, so that nobody believes to be known."""
    response = own_client.get("/v1/datasets", headers=bearer(key))
    if not key:
        assert response.status_code in (200, 401)
        return
    assert (response.status_code, response.json()["detail"]) == (401, INVALID)
    assert response.headers["www-authenticate"] == "Bearer"


def test_expired_and_revoked_keys(own_client: TestClient, sdc: Sdc) -> None:
    expired, revoked = make_key("read"), make_key("read")
    for key in (expired, revoked):
        assert own_client.get("/v1/datasets", headers=bearer(key)).status_code == 200
    with open_session() as session, session.begin():
        first = session.scalars(select(ApiKey).order_by(ApiKey.id)).first()
        assert first is not None
        first.expires_at = datetime.now(UTC) - timedelta(seconds=1)
        second = first.id + 1
    assert sdc("keys", "revoke", second).exit_code == 0
    for key in (expired, revoked):
        response = own_client.get("/v1/datasets", headers=bearer(key))
        assert (response.status_code, response.json()["detail"]) == (401, INVALID)
    missing = sdc("keys", "revoke", 99)
    assert (missing.exit_code, "there is no key 99" in missing.stderr) == (2, True)


def test_reading_may_need_a_key(own_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_client.get("/v1/datasets").status_code == 200
    monkeypatch.setenv("SDC_READING_NEEDS_KEY", "true")
    get_settings.cache_clear()
    response = own_client.get("/v1/datasets")
    assert (response.status_code, response.json()["detail"]) == (401, "a key is needed")
    assert own_client.get("/healthz").status_code == 200
    ingest = own_client.get("/v1/datasets", headers=bearer(make_key("ingest")))
    assert (ingest.status_code, ingest.json()["detail"]) == (403, "the key has not the scope read")
    for scope in ("read", "admin"):
        assert own_client.get("/v1/datasets", headers=bearer(make_key(scope))).status_code == 200


WRITES = [
    ("POST", "/v1/keys", {"name": "x", "scopes": ["read"]}),
    ("GET", "/v1/keys", None),
    ("DELETE", "/v1/keys/1", None),
    ("PUT", "/v1/datasets/lab-a/embargo", None),
    ("DELETE", "/v1/datasets/lab-a/embargo", None),
    ("GET", "/v1/audit", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_administration_needs_an_admin(
    own_client: TestClient,
    count_rows: Callable[[], Counts],
    method: str,
    path: str,
    body: dict[str, object] | None,
) -> None:
    keys = make_key("read"), make_key("ingest", "read")
    for key in keys:
        # The first use is noted.
        own_client.get("/v1/datasets", headers=bearer(key))
    before = count_rows()
    assert own_client.request(method, path, json=body).status_code == 401
    for key in keys:
        response = own_client.request(method, path, json=body, headers=bearer(key))
        assert response.status_code == 403
        assert response.json()["detail"] == "the key has not the scope admin"
    assert count_rows() == before


def test_every_change_is_recorded(own_client: TestClient, session_of: Session) -> None:
    headers = bearer(make_key("admin"))
    made = own_client.post(
        "/v1/keys", json={"name": "b", "scopes": ["read"], "datasets": ["lab-a"]}, headers=headers
    )
    assert made.status_code == 201
    for method, path in (
        ("PUT", "/v1/datasets/lab-a/embargo"),
        ("PUT", "/v1/datasets/lab-a/embargo"),
        ("DELETE", "/v1/datasets/lab-a/embargo"),
        ("DELETE", f"/v1/keys/{made.json()['id']}"),
        ("DELETE", f"/v1/keys/{made.json()['id']}"),
    ):
        assert own_client.request(method, path, headers=headers).status_code == 200
    told = own_client.get("/v1/audit", headers=headers).json()
    assert [(each["action"], each["subject"]) for each in told["items"]] == [
        ("create key", "1"),
        ("create key", "2"),
        # Told twice, changed once.
        ("embargo dataset", "lab-a"),
        ("lift embargo", "lab-a"),
        ("revoke key", "2"),
    ]
    assert [each["actor"] for each in told["items"]] == ["a test", *["key 1 (test)"] * 4]
    assert made.json()["key"] not in json.dumps(told)
    assert len(session_of.scalars(select(Audit)).all()) == 5


@pytest.fixture
def session_of(own_published: Published) -> Session:
    """A session on the test's own catalog."""
    return open_session()


@pytest.mark.parametrize(
    ("wanted", "detail"),
    [
        ({"name": "", "scopes": ["read"]}, "body.name: String should have at least 1 character"),
        ({"name": "x", "scopes": []}, "body.scopes: List should have at least 1 item"),
        ({"name": "x", "scopes": ["all"]}, "body.scopes.0: Input should be 'read', 'ingest'"),
        ({"name": "x", "scopes": ["read"], "days": 0}, "body.days: Input should be greater"),
        ({"name": "x", "scopes": ["read"], "datasets": ["lab-x"]}, "no dataset 'lab-x' is in"),
    ],
)
def test_keys_that_cannot_be_made(
    own_client: TestClient,
    count_rows: Callable[[], Counts],
    wanted: dict[str, object],
    detail: str,
) -> None:
    headers = bearer(make_key("admin"))
    before = count_rows()
    response = own_client.post("/v1/keys", json=wanted, headers=headers)
    assert response.status_code in (404, 422)
    assert response.json()["detail"].startswith(detail)
    assert count_rows() == before


def test_a_rate_for_each_asker(own_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_key("read"), make_key("read")
    monkeypatch.setenv("SDC_REQUESTS_PER_MINUTE", "2")
    get_settings.cache_clear()
    for headers in ({}, bearer(one), bearer(other)):
        told = [own_client.get("/v1/datasets", headers=headers).status_code for _ in range(3)]
        assert told == [200, 200, 429]
    response = own_client.get("/v1/datasets")
    assert response.json()["detail"] == (
        "more than 2 requests in a minute, the setting SDC_REQUESTS_PER_MINUTE"
    )
    assert re.fullmatch(r"wait \d+ s", response.json()["hint"])
    # Guesses count for the address, which has used up its own, and so do keys that do not reach.
    assert own_client.get("/v1/datasets", headers=bearer("sdc_guess")).status_code == 429
    monkeypatch.setenv("SDC_READING_NEEDS_KEY", "true")
    get_settings.cache_clear()
    ingest = bearer(make_key("ingest"))
    assert own_client.get("/v1/datasets", headers=ingest).status_code == 429

"""Tests of adding terms over HTTP: who may, how many, and that all or none are stored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from app.api import make_api
from app.database.engine import open_session
from app.database.models import Audit, Encoder, Term
from app.keys.service import create_key, set_embargo, wanted_key
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published, publish, write_table

NEW = ["the dog", " the sign "]


@pytest.fixture
def own_client(own_published: Published) -> TestClient:
    """A client of the API on a catalog of the test's own."""
    return TestClient(make_api(), raise_server_exceptions=False)


def key_of(*scopes: str, datasets: tuple[str, ...] = ()) -> dict[str, str]:
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("test", scopes, datasets, 30), "a test").key
    return {"Authorization": f"Bearer {key}"}


def used(client: TestClient, *scopes: str) -> dict[str, str]:
    """A key whose first use has been noted."""
    headers = key_of(*scopes)
    client.get("/v1/datasets", headers=headers)
    return headers


@pytest.mark.parametrize("scope", ["ingest", "admin"])
def test_added_terms_can_be_asked_in_sql_and_are_recorded(
    own_client: TestClient, own_published: Published, scope: str
) -> None:
    headers = key_of(scope)
    response = own_client.post("/v1/terms", json={"texts": [*NEW, "face"]}, headers=headers)
    assert response.status_code == 200
    (told,) = response.json()["encoders"]
    assert (told["encoder"], told["added"], told["known"]) == (own_published.encoder, 2, 1)
    with open_session() as session:
        query = text("SELECT component_id FROM catalog.search_concepts('the sign', 1)")
        assert session.scalar(query) == own_published.components["letter"]
        audit = session.scalars(select(Audit).order_by(Audit.id.desc())).first()
    assert audit is not None
    assert (audit.actor, audit.action) == ("key 1 (test)", "add terms")
    assert (audit.subject, audit.detail) == (own_published.encoder, {"added": 2})


def test_what_is_known_changes_nothing(
    own_client: TestClient, count_rows: Callable[[], Counts]
) -> None:
    headers = used(own_client, "ingest")
    before = count_rows()
    response = own_client.post(
        "/v1/terms", json={"texts": ["face"], "dataset": "lab-a"}, headers=headers
    )
    assert response.json()["encoders"][0]["added"] == 0
    assert count_rows() == before


@pytest.mark.parametrize(
    ("scopes", "status", "detail"),
    [
        ((), 401, "a key is needed"),
        (("read",), 403, "the key has not the scope ingest"),
    ],
)
def test_who_may_not(
    own_client: TestClient,
    count_rows: Callable[[], Counts],
    scopes: tuple[str, ...],
    status: int,
    detail: str,
) -> None:
    headers = used(own_client, *scopes) if scopes else {}
    before = count_rows()
    response = own_client.post("/v1/terms", json={"texts": NEW}, headers=headers)
    assert (response.status_code, response.json()["detail"]) == (status, detail)
    assert count_rows() == before


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"texts": []}, 422, "body.texts: List should have at least 1 item", ""),
    ({"texts": ["the dog", " "]}, 422, "body.texts.1: String should match pattern", ""),
    ({"texts": ["the dog", "a\0b"]}, 422, "body.texts.1: String should match pattern", ""),
    ({"texts": ["the dog", "half \ud800"]}, 422, "body.texts.1: Input should be a valid", ""),
    (
        {"texts": ["the dog", "x" * 1001]},
        *(422, "text 2 has 1001 characters", "1,000 are the most, the setting SDC_PROMPT_LENGTH"),
    ),
    (
        {"texts": ["the dog"] * 51},
        *(422, "there are 51 texts", "50 at once are the most, the setting SDC_PROMPT_BATCH"),
    ),
    ({"texts": ["the dog", "quasar"]}, 404, "vectors:words@", ""),
    ({"texts": ["the dog"], "dataset": "lab-x"}, 404, "no dataset 'lab-x'", "known: lab-a"),
    ({"texts": "the dog"}, 422, "body.texts: Input should be a valid list", ""),
]


def test_all_or_nothing(own_client: TestClient, count_rows: Callable[[], Counts]) -> None:
    headers = used(own_client, "ingest") | {"Content-Type": "application/json"}
    before = count_rows()
    for body, status, detail, hint in BAD:
        response = own_client.post("/v1/terms", content=json.dumps(body), headers=headers)
        assert response.status_code == status
        assert response.json()["detail"].startswith(detail)
        assert response.json().get("hint", "").startswith(hint)
    assert count_rows() == before


def test_an_encoder_of_an_embargoed_dataset_is_not_there(
    own_client: TestClient, own_published: Published, tmp_path: Path
) -> None:
    """Neither told nor written to, but by a key that sees the dataset."""
    table = write_table(tmp_path / "secret.csv", dimension=12, seed=5)
    with open_session() as session, session.begin():
        store = ArtefactStore(get_settings().store_url)
        hidden = publish(session, f"vectors:{table}", store, slug="hidden")
        set_embargo(session, "hidden", True, "a test")

    def holders() -> set[str]:
        with open_session() as session:
            query = select(Encoder.name).join(Term, Term.encoder_id == Encoder.id)
            return set(session.scalars(query.where(Term.text == "the dog")))

    outsider, insider = key_of("ingest"), key_of("ingest", datasets=("hidden",))
    told = own_client.post("/v1/terms", json={"texts": ["the dog"]}, headers=outsider)
    assert [each["encoder"] for each in told.json()["encoders"]] == [own_published.encoder]
    assert holders() == {own_published.encoder}
    asked = {"texts": ["the dog"], "dataset": "hidden"}
    missing = own_client.post("/v1/terms", json=asked, headers=outsider)
    assert (missing.status_code, missing.json()["hint"]) == (404, "known: lab-a")
    assert "secret" not in missing.text
    told = own_client.post("/v1/terms", json=asked, headers=insider)
    assert [each["encoder"] for each in told.json()["encoders"]] == [hidden.encoder]
    assert holders() == {own_published.encoder, hidden.encoder}


def test_the_command_line_is_recorded_too(own_published: Published, sdc: Sdc) -> None:
    assert sdc("terms", "add", "the dog").exit_code == 0
    with open_session() as session:
        audit = session.scalars(select(Audit)).one()
    assert audit.actor.startswith("command line (")
    assert (audit.action, audit.detail) == ("add terms", {"added": 1})

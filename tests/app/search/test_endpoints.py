"""Tests of questions over HTTP: the answers are the service's."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.search.service import search
from app.settings import get_settings
from tests.app.published import Published


def test_text(client: TestClient, session: Session) -> None:
    asked = {"q": "face", "k": 3, "subject": "subj01", "atlas": "floc"}
    response = client.get("/v1/search", params=asked)
    assert response.status_code == 200
    expected = search(session, "face", k=3, subject="subj01", atlas="floc")
    assert response.json() == expected.model_dump(mode="json")


def test_arithmetic_and_negation(client: TestClient, session: Session) -> None:
    """Unit directions are added and taken off; what is negated comes in the other order."""
    answer = client.get("/v1/search", params={"q": "face", "minus": "body", "k": 6}).json()
    assert answer["concepts"][0]["label"].startswith("face")
    assert answer["concepts"][-1]["label"].startswith("body")
    assert answer["minus"] == ["body"]
    both = client.get("/v1/search", params={"q": "face", "plus": ["food"], "k": 6}).json()
    assert {each["label"].split(",")[0] for each in both["concepts"][:2]} == {"face", "food"}
    plain, negated = (
        client.get("/v1/search", params={"q": "face", "k": 6, "negate": negate}).json()
        for negate in (False, True)
    )
    assert negated["negated"]
    assert [each["id"] for each in negated["concepts"]] == [
        each["id"] for each in reversed(plain["concepts"])
    ]
    np.testing.assert_allclose(
        [each["similarity"] for each in negated["concepts"]],
        [-each["similarity"] for each in reversed(plain["concepts"])],
        atol=1e-6,
    )


def test_several_at_once(client: TestClient) -> None:
    body = {"questions": [{"query": "face"}, {"query": "food", "minus": ["body"]}], "k": 2}
    answers = client.post("/v1/search", json=body).json()["answers"]
    alone = client.get("/v1/search", params={"q": "food", "minus": "body", "k": 2}).json()
    assert [each["query"] for each in answers] == ["face", "food"]
    assert answers[1] == alone


@pytest.mark.parametrize(
    ("asked", "status", "detail"),
    [
        ({}, 422, "query.q: Field required"),
        ({"q": " "}, 422, "the prompt is empty"),
        ({"q": "x" * 1001}, 422, "the prompt has 1001 characters"),
        ({"q": "face", "k": 0}, 422, "k is 0"),
        ({"q": "face", "minus": "face"}, 422, "face - face leaves nothing"),
        ({"q": "face", "minus": " "}, 422, "the prompt is empty"),
        ({"q": "face", "template": "x", "ensemble": True}, 422, "both template and ensemble"),
        ({"q": "face", "dataset": "lab-x"}, 404, "no dataset 'lab-x' is in the catalog"),
        ({"q": "face", "run": 10**12}, 404, f"there is no run {10**12}"),
        ({"q": "face", "subject": "nobody"}, 404, "the dataset lab-a has no subject 'nobody'"),
        ({"q": "nothing of the table"}, 404, "vectors:words@"),
    ],
)
def test_bad_questions(
    client: TestClient, asked: dict[str, object], status: int, detail: str
) -> None:
    response = client.get("/v1/search", params=asked)
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)


def test_too_many_at_once(
    client: TestClient, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_PROMPT_BATCH", "1")
    get_settings.cache_clear()
    response = client.post("/v1/search", json={"questions": [{"query": "face"}] * 2})
    assert response.status_code == 422
    assert response.json()["detail"] == "there are 2 questions"

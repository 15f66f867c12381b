"""Tests of questions over HTTP: the answers are the service's."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.api import make_api
from app.database import models
from app.database.engine import open_session
from app.embedding import load_encoder
from app.embedding.centring import centre
from app.search.service import search
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.published import Published, publish
from tests.app.small_clip import write_small_clip


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
        ({"q": " "}, 422, "query.q: String should match pattern"),
        ({"q": "x" * 1001}, 422, "the prompt has 1001 characters"),
        ({"q": "face", "k": 0}, 422, "query.k: Input should be greater than"),
        ({"q": "face", "minus": "face"}, 409, "face - face leaves nothing"),
        ({"q": "face", "minus": " "}, 422, "query.minus.0: String should match pattern"),
        ({"q": "face", "template": "a {}", "ensemble": True}, 409, "both template and ensemble"),
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


def test_place_and_region(client: TestClient, published: Published) -> None:
    asked = {"x": -40, "y": -40, "z": -40, "radius": 1}
    answer = client.get("/v1/search/place", params=asked).json()
    assert [each["id"] for each in answer["concepts"]] == [published.components["face"]]
    answer = client.get("/v1/search/region", params={"atlas": "floc", "region": "PPA"}).json()
    assert answer["concepts"][0]["id"] == published.components["house"]
    nowhere = client.get("/v1/search/place", params=asked | {"x": "nan"})
    assert nowhere.status_code == 422


def picture(seed: int) -> tuple[np.ndarray, bytes]:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return pixels, out.getvalue()


def test_image(catalog: Path, tmp_path: Path) -> None:
    """The concept whose vector is nearest to the picture's, the pictures' mean taken off."""
    spec = write_small_clip(tmp_path)
    encoder = load_encoder(spec)
    pixels, content = picture(0)
    mean = encoder.encode_images([picture(seed)[0] for seed in (1, 2, 3)]).mean(axis=0)
    with open_session() as session, session.begin():
        written = publish(session, spec, ArtefactStore(get_settings().store_url))
        row = session.scalars(select(models.Encoder)).one()
        row.stimulus_mean = mean
        vectors = {
            each.id: np.asarray(each.vector) for each in session.scalars(select(models.Component))
        }
    direction = centre(encoder.encode_images([pixels]), mean)[0]
    expected = {
        each: float(vector @ direction / np.linalg.norm(vector)) for each, vector in vectors.items()
    }
    with TestClient(make_api()) as asked:
        response = asked.post("/v1/search/image", files={"image": ("kitchen.png", content)})
        broken = asked.post("/v1/search/image", files={"image": ("kitchen.png", content[:99])})
    answer = response.json()
    assert (answer["query"], answer["prompt"], answer["run"]) == ("kitchen.png", [], written.run)
    told = {each["id"]: each["similarity"] for each in answer["concepts"]}
    assert list(told) == sorted(expected, key=lambda each: -expected[each])
    for each, similarity in told.items():
        assert similarity == pytest.approx(expected[each], abs=1e-5)
    assert broken.status_code == 422
    assert broken.json()["detail"].startswith("kitchen.png cannot be read: ")


def test_an_image_is_taken_as_a_stimulus_is(catalog: Path, tmp_path: Path) -> None:
    """Turned upright; transparent parts are mid grey, and the answer says so."""
    spec = write_small_clip(tmp_path)
    with open_session() as session, session.begin():
        publish(session, spec, ArtefactStore(get_settings().store_url))
        session.scalars(select(models.Encoder)).one().stimulus_mean = np.ones(32, np.float32) / 32
    pixels, _ = picture(0)
    alpha = np.full((40, 50, 1), 255, np.uint8)
    alpha[10:30] = 0
    on_grey = np.where(alpha == 0, 128, pixels).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    lying, clear, grey, plain = BytesIO(), BytesIO(), BytesIO(), BytesIO()
    Image.fromarray(pixels.swapaxes(0, 1)[::-1].copy()).save(lying, "PNG", exif=exif)
    Image.fromarray(np.dstack([pixels, alpha])).save(clear, "PNG")
    Image.fromarray(on_grey).save(grey, "PNG")
    Image.fromarray(pixels).save(plain, "PNG")
    with TestClient(make_api()) as asked:
        told = [
            asked.post("/v1/search/image", files={"image": ("p.png", each.getvalue())}).json()
            for each in (lying, plain, clear, grey)
        ]
    assert [each.pop("warnings") for each in told] == [
        *([], []),
        ["p.png has transparent parts, which are read as mid grey"],
        [],
    ]
    assert told[0] == told[1]
    assert told[2] == told[3] != told[1]


def test_an_encoder_that_reads_text_alone(client: TestClient, published: Published) -> None:
    response = client.post("/v1/search/image", files={"image": ("p.png", picture(0)[1])})
    assert response.status_code == 409
    assert response.json()["detail"] == f"the encoder {published.encoder} reads no pictures"

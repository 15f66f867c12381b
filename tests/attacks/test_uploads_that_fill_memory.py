"""Small files that stand for much memory: bounded before anything of them is decoded."""

import gzip
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from nibabel.nifti1 import Nifti1Image
from PIL import Image
from sqlalchemy import select

from app import upload_memory
from app.api import make_api
from app.database import models
from app.database.engine import open_session
from app.embedding.encoder import Vectors
from app.embedding.open_clip import OpenClipEncoder
from app.maps.nifti import BrainMap
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.conftest import Counts
from tests.app.published import Published, publish
from tests.app.small_clip import write_small_clip

MANY = 40


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    out = BytesIO()
    Image.new("RGB", (width, height)).save(out, kind)
    return out.getvalue()


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDC_UPLOAD_MEMORY_MB", "400")
    get_settings.cache_clear()
    yield
    assert upload_memory._taken == 0


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures of which a pixel was decoded."""
    found: list[str] = []
    load = Image.Image.convert

    def counted(self: Image.Image, *words: object, **more: object) -> Image.Image:
        found.append(f"{self.size}")
        return load(self, *words, **more)

    monkeypatch.setattr(Image.Image, "convert", counted)
    return found


@pytest.fixture
def seeing(catalog: Path, tmp_path: Path) -> Iterator[TestClient]:
    """The API on a run whose encoder reads pictures."""
    with open_session() as session, session.begin():
        publish(session, write_small_clip(tmp_path), ArtefactStore(get_settings().store_url))
        session.scalars(select(models.Encoder)).one().stimulus_mean = np.ones(32, np.float32) / 32
    with TestClient(make_api(), raise_server_exceptions=False) as asked:
        yield asked


def test_nothing_is_decoded_for_an_encoder_of_texts(
    client: TestClient, published: Published, decoded: list[str]
) -> None:
    bomb = picture(7000, 7000)
    assert len(bomb) < 200_000
    response = client.post("/v1/search/image", files={"image": ("p.png", bomb)})
    assert response.status_code == 409
    assert response.json()["detail"] == f"the encoder {published.encoder} reads no pictures"
    assert not decoded


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_one_that_never_fits(seeing: TestClient, decoded: list[str], kind: str) -> None:
    content = picture(6000, 6000, kind)
    response = seeing.post("/v1/search/image", files={"image": ("p.png", content)})
    problem = response.json()
    assert response.status_code == 413
    assert problem["detail"].startswith("p.png takes ")
    assert problem["detail"].endswith("of memory, more than 400, the setting SDC_UPLOAD_MEMORY_MB")
    assert "SDC_UPLOAD_MEMORY_MB" in problem["hint"]
    assert not decoded


def test_many_at_once(
    seeing: TestClient, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as fit are in work; the others are told when to come again, and then do fit."""
    content = picture(2000, 2000)
    fits = int(400e6 // (upload_memory.LEAST + 2000 * 2000 * 16))
    assert fits == 3
    go, encode = threading.Event(), OpenClipEncoder.encode_images
    # Loaded, so that all are at their pictures soon.
    assert seeing.post("/v1/search/image", files={"image": ("p.png", content)}).is_success
    decoded.clear()

    def held(self: OpenClipEncoder, images: list[np.ndarray]) -> Vectors:
        assert go.wait(60)
        return encode(self, images)

    monkeypatch.setattr(OpenClipEncoder, "encode_images", held)
    told: list[tuple[int, dict[str, str], dict[str, str]]] = []

    def ask() -> None:
        response = seeing.post("/v1/search/image", files={"image": ("p.png", content)})
        told.append((response.status_code, response.json(), dict(response.headers)))
        if len(told) == MANY - fits:
            go.set()

    threads = [threading.Thread(target=ask) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, *_ in told) == [200] * fits + [503] * (MANY - fits)
    assert decoded.count("(2000, 2000)") == fits
    for status, problem, headers in told:
        if status == 503:
            assert problem["detail"].startswith("other uploads are in work, and p.png")
            assert problem["hint"] == "send it again in 5 s"
            assert headers["retry-after"] == "5"
    assert seeing.post("/v1/search/image", files={"image": ("p.png", content)}).is_success


def test_maps_are_of_the_same_budget(
    client: TestClient,
    count_rows: Callable[[], Counts],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    monkeypatch.setattr(BrainMap, "__init__", lambda *_: read.append(1))
    before = count_rows()
    header = Nifti1Image(np.zeros((1, 1, 1), np.float64), np.eye(4)).header
    header.set_data_shape((360, 360, 360))
    header["sform_code"] = 1
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    content = gzip.compress(header.binaryblock + bytes(10_000))
    monkeypatch.setenv("SDC_MAP_MVOXELS", "100")
    get_settings.cache_clear()
    response = client.post("/v1/search/map", files={"map": ("m.nii.gz", content)})
    assert response.status_code == 413
    assert response.json()["detail"].startswith("m.nii.gz takes ")
    with upload_memory.upload_work() as other:
        other.take(330_000_000, "other")
        small = gzip.compress(Nifti1Image(np.zeros((9, 9, 9), np.int8), np.eye(4)).to_bytes())
        response = client.post("/v1/search/map", files={"map": ("m.nii.gz", small)})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
    assert not read
    assert count_rows() == before

"""The figure: a real picture, made without a network, whatever is missing of an answer."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.concepts.claims import no_claims
from app.errors import InputError
from app.masks.response import Response
from app.validation.figure import write_figure
from app.validation.repository import MaskView
from app.validation.schemas import CategoryResult, SubjectResult, ValidationAnswer

SUBJECTS = ("subj01", "subj02")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses every connection: a template that is fetched would fail."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def view(*, is_mni: bool = True, mask: bool = True, regions: bool = True) -> MaskView:
    axes = (np.arange(-60, 61, 4.0), np.arange(-100, -50, 4.0), np.arange(-24, 25, 4.0))
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(places - [40, -60, -12], axis=1)
    return MaskView(
        places=places,
        is_mni=is_mni,
        weight=np.where(distance < 12, 0.8, 0.0) * mask,
        inside=(distance < 16) & regions,
    )


def subject(
    label: str,
    auc: float | None = 0.93,
    reason: str | None = None,
    decodes: bool | None = True,
    responds: Response | None = "more",
) -> SubjectResult:
    numbers = (
        {"dice": 0.5, "p_value": 0.001, "q_value": 0.004, "rho": 0.4}
        if auc is not None
        else dict.fromkeys(("dice", "p_value", "q_value", "rho"))
    )
    return SubjectResult(
        **numbers,
        subject=label,
        decodes=decodes,
        responds=responds,
        auc=auc,
        map="t",
        n_voxels=10,
        n_region=20,
        reason=reason,
        regions=[],
    )


def answer(*categories: CategoryResult) -> ValidationAnswer:
    return ValidationAnswer(
        dataset="lab-a",
        run=1,
        encoder="e",
        method="masks",
        choice="",
        q_family="",
        categories=[*categories],
    )


def category(name: str, *subjects: SubjectResult, found: bool = True) -> CategoryResult:
    return CategoryResult(
        category=name,
        prompt="costs $5 or $6",
        atlas="floc",
        component=3 if found else None,
        label="man, grin" if found else None,
        **no_claims(None if found else "no vector"),
        similarity=0.4 if found else None,
        subjects=[*subjects],
    )


def test_a_brain_for_each_participant_of_each_category(tmp_path: Path) -> None:
    told = answer(*(category(name, *map(subject, SUBJECTS)) for name in ("faces", "words")))
    views = {(name, label): view() for name in ("faces", "words") for label in SUBJECTS}
    write_figure(told, views, tmp_path / "whole.png")
    with Image.open(tmp_path / "whole.png") as picture:
        assert picture.format == "PNG"
        width, height = picture.size
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert 1000 < width < 3000
    assert 600 < height < 3000
    # Reds of the mask and blues of the outline, in both columns and both rows of brains.
    red = (pixels[..., 0] > 150) & (pixels[..., 2] < 80)
    blue = (pixels[..., 2] > 150) & (pixels[..., 0] < 80)
    for colour in (red, blue):
        for half in (colour[:, : width // 2], colour[:, width // 2 :]):
            rows = np.flatnonzero(half.any(axis=1))
            assert len(rows) > 20
            assert np.ptp(rows) > 150
    assert [path.name for path in tmp_path.iterdir()] == ["whole.png"]


def test_what_is_missing_leaves_its_place_empty(tmp_path: Path) -> None:
    told = answer(
        category("faces", subject("subj01", None, "the mask is empty"), subject("subj02")),
        category("cars", found=False),
        category("places", subject("subj02")),
    )
    views = {
        ("faces", "subj01"): view(mask=False),
        ("faces", "subj02"): view(regions=False),
        ("places", "subj02"): view(mask=False, regions=False),
    }
    write_figure(told, views, tmp_path / "part.png")
    assert (tmp_path / "part.png").stat().st_size > 10_000


def test_who_does_not_decode_has_a_hollow_dot(tmp_path: Path) -> None:
    dark = []
    for decodes in (True, False, None):
        file = tmp_path / f"{decodes}.png"
        write_figure(answer(category("faces", subject("subj01", decodes=decodes))), {}, file)
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("L"))
        # What is written of participants is below the plots.
        dark.append(int((pixels[: len(pixels) // 2] < 100).sum()))
    filled, hollow, untested = dark
    assert hollow < filled
    assert untested == hollow


def test_who_responds_less_is_named_so(tmp_path: Path) -> None:
    pictures = []
    answers: tuple[Response | None, ...] = ("more", "less", None)
    for responds in answers:
        file = tmp_path / f"{responds}.png"
        write_figure(answer(category("faces", subject("subj01", responds=responds))), {}, file)
        with Image.open(file) as picture:
            pictures.append(np.asarray(picture.convert("L")))
    more, less, unknown = pictures
    assert (more == unknown).all()
    assert (less < 100).sum() > (more < 100).sum()


def test_native_space_is_cut_where_the_regions_are(tmp_path: Path) -> None:
    told = answer(category("faces", subject("subj01"), subject("subj02")))
    views = {
        ("faces", "subj01"): view(is_mni=False),
        ("faces", "subj02"): view(is_mni=False, mask=False, regions=False),
    }
    write_figure(told, views, tmp_path / "native.png")
    with Image.open(tmp_path / "native.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert ((pixels[..., 0] > 150) & (pixels[..., 2] < 80)).sum() > 100


def test_a_figure_replaces_an_older_one(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    file.write_text("an older one")
    write_figure(answer(category("cars", found=False)), {}, file)
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("figure.jpg", "is no name of a PNG file"),
        ("figure", "is no name of a PNG file"),
        ("nowhere/figure.png", "there is no folder"),
        ("folder.png", "is no file"),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        write_figure(answer(category("cars", found=False)), {}, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]

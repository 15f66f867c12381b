"""Which encoder is chosen: by pictures, captions, and whether weights can be had."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConflictError, InputError, UnavailableError
from flows.catalog import DatasetTables
from flows.config import RunConfig
from flows.encoder_choice import (
    OF_CAPTIONS,
    OF_PICTURES,
    choose_encoder,
    foresee_encoder,
    naming_alternative,
)
from flows.progress import listening
from flows.sources import open_source
from flows.train import embed_dataset
from tests.flows.lab_sized import write_blocks, write_lab_sized

NO_NETWORK = "the weights ViT-B-32:openai cannot be fetched: nobody answers"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Encoders that are loaded, all of which can be."""
    specs: list[str] = []
    monkeypatch.setattr("flows.encoder_choice.require_fetchable", lambda spec: None)
    monkeypatch.setattr("flows.stages.encoder_at", lambda spec, device: specs.append(spec))
    return specs


@pytest.fixture
def unreachable(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As `loaded`, but that weights cannot be downloaded."""

    def refuse(spec: str) -> None:
        raise UnavailableError(NO_NETWORK, hint="mend the network")

    monkeypatch.setattr("flows.encoder_choice.require_fetchable", refuse)
    return loaded


def tables(folder: Path) -> DatasetTables:
    """What the catalog would have of a manifest's stimuli."""
    stimuli = open_source(folder).stimuli()
    return DatasetTables(
        id=1,
        slug="lab",
        fingerprint="",
        source_uri=str(folder),
        configuration={"source": {}},
        subjects=[],
        stimulus_ids=list(range(len(stimuli))),
        keys=[each.key for each in stimuli],
        folds=["train"] * len(stimuli),
        captions=[list(each.captions) for each in stimuli],
    )


def lab(folder: Path, **what: bool) -> DatasetTables:
    return tables(write_lab_sized(folder, participants=1, images=20, **what))


def test_the_published_encoder_where_there_are_pictures(loaded: list[str], tmp_path: Path) -> None:
    heard: list[tuple[int, str]] = []
    with listening(lambda stage, done, total, detail: heard.append((done, detail))):
        spec, reason = choose_encoder(lab(tmp_path))
    assert (spec, loaded) == (OF_PICTURES, [OF_PICTURES])
    assert reason == "the stimuli have pictures, and its weights can be loaded"
    assert heard == [(0, ""), (1, f"{OF_PICTURES} ({reason})")]


def test_captions_where_weights_cannot_be_had(unreachable: list[str], tmp_path: Path) -> None:
    assert choose_encoder(lab(tmp_path)) == (
        OF_CAPTIONS,
        f"{NO_NETWORK}; every stimulus has captions",
    )
    assert unreachable == []


def test_captions_where_weights_are_broken(
    loaded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(spec: str, device: str) -> None:
        raise InputError("checkpoint x does not load into ViT-B-32", hint="")

    monkeypatch.setattr("flows.stages.encoder_at", broken)
    spec, reason = choose_encoder(lab(tmp_path))
    assert spec == OF_CAPTIONS
    assert reason == "checkpoint x does not load into ViT-B-32; every stimulus has captions"


def test_captions_where_there_are_no_pictures_and_nothing_is_loaded(
    loaded: list[str], tmp_path: Path
) -> None:
    spec, reason = choose_encoder(tables(write_blocks(tmp_path)))
    assert spec == OF_CAPTIONS
    assert reason == "stimulus bottle-run00 has no picture; every stimulus has captions"
    assert loaded == []


def test_captions_where_pictures_are_gone(loaded: list[str], tmp_path: Path) -> None:
    dataset = lab(tmp_path)
    for picture in (tmp_path / "pictures").glob("pic01*"):
        picture.unlink()
    spec, reason = choose_encoder(dataset)
    assert spec == OF_CAPTIONS
    assert "pic014.png" in reason
    away = replace(dataset, source_uri=str(tmp_path / "away"))
    assert choose_encoder(away)[0] == OF_CAPTIONS
    assert "no data set of a known layout" in choose_encoder(away)[1]


@pytest.mark.parametrize("pictures", [True, False])
def test_neither_pictures_nor_captions_says_what_each_needs(
    unreachable: list[str], tmp_path: Path, pictures: bool
) -> None:
    with pytest.raises(InputError) as caught:
        choose_encoder(lab(tmp_path, pictures=pictures, captions=False))
    lacking = NO_NETWORK if pictures else "stimulus pic000 has no picture"
    assert caught.value.message == (
        f"no encoder can embed the stimuli of lab: {OF_PICTURES}: {lacking}; "
        f"{OF_CAPTIONS}: 20 of 20 stimuli have no caption (the first: pic000)"
    )
    for needed in ("a picture of every", "a network", "a caption of every", "vectors:PATH"):
        assert needed in caught.value.hint


def test_a_named_encoder_is_taken_as_it_is(unreachable: list[str], tmp_path: Path) -> None:
    assert RunConfig().encoder == "auto"
    dataset = lab(tmp_path)
    assert choose_encoder(dataset, "vectors:x.csv") == ("vectors:x.csv", "as configured")
    assert choose_encoder(dataset, RunConfig().encoder)[0] == OF_CAPTIONS


def test_a_check_foresees_the_choice_and_loads_nothing(loaded: list[str], tmp_path: Path) -> None:
    def foreseen(name: str, **what: bool) -> str:
        folder = write_lab_sized(tmp_path / name, participants=1, images=20, **what)
        return foresee_encoder(open_source(folder)).told

    assert (
        foreseen("both")
        == f"{OF_PICTURES} where its weights can be loaded, {OF_CAPTIONS} otherwise"
    )
    assert foreseen("pictures", captions=False) == (
        f"{OF_PICTURES} where its weights can be loaded, there is no other: 20 of 20 stimuli have "
        "no caption (the first: pic000)"
    )
    assert foreseen("captions", pictures=False) == (
        f"{OF_CAPTIONS} (stimulus pic000 has no picture; every stimulus has captions)"
    )
    nothing = foreseen("nothing", pictures=False, captions=False)
    assert nothing.startswith("none: stimulus pic000 has no picture, and 20 of 20 stimuli")
    assert loaded == []


@pytest.mark.parametrize(
    ("encoder", "what", "expected"),
    [
        (OF_PICTURES, {}, f"{OF_CAPTIONS} needs no download, and every stimulus has captions"),
        ("vectors:x", {}, f"{OF_CAPTIONS} needs no download, and every stimulus has captions"),
        (
            OF_CAPTIONS,
            {"captions": False},
            f"{OF_PICTURES} embeds pictures, which the stimuli have",
        ),
        (OF_PICTURES, {"captions": False}, None),
        (OF_CAPTIONS, {"captions": False, "pictures": False}, None),
    ],
)
@pytest.mark.parametrize("error", [UnavailableError, InputError, ConflictError])
def test_an_encoder_that_fails_names_another_that_would_do(
    tmp_path: Path, encoder: str, what: dict[str, bool], expected: str | None, error: type[Any]
) -> None:
    cause = OSError("no route")
    with pytest.raises(error) as caught, naming_alternative(lab(tmp_path, **what), encoder):
        raise error("it failed", hint="mend it") from cause
    assert caught.value.message == "it failed"
    assert caught.value.hint == ("mend it" if expected is None else f"mend it; {expected}")
    assert caught.value.__cause__ is cause


def test_a_run_whose_encoder_fails_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UnavailableError(NO_NETWORK, hint="mend the network")

    monkeypatch.setattr("flows.train.embed_stimuli", refuse)
    with pytest.raises(UnavailableError, match="nobody answers") as caught:
        embed_dataset(lab(tmp_path), OF_PICTURES)
    assert OF_CAPTIONS in caught.value.hint


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(KeyError), naming_alternative(lab(tmp_path), OF_PICTURES):
        raise KeyError("x")

"""What was chosen for whoever brings a data set, and the command that comes next."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from flows.choices import gather_choices, next_command
from flows.config import IngestConfig
from flows.folds import assign_folds
from flows.ingest import ingest_dataset
from flows.sources import open_source
from tests.flows.lab_sized import CATEGORIES, write_blocks, write_lab_sized
from tests.flows.newcomer import SLUG, write_newcomer
from tests.flows.sources.faults import snapshot
from tests.flows.sources.nsd_tree import write_image
from tests.flows.sources.surface_tree import write_gifti_tree

CONSTANT = "59 of 60 kept (all usable voxels: no image has three training repeats); "
CONSTANT += "1 are constant over a session's trials"


def choices(folder: Path, **config: Any) -> dict[str, str]:
    """What a check tells."""
    source, options = open_source(folder), IngestConfig(**config)
    return gather_choices(source, options, assign_folds(source, options))


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("form", ["betas", "timeseries"])
def test_a_newcomer_is_told_every_choice(tmp_path: Path, form: Any) -> None:
    told = choices(write_newcomer(tmp_path / "new", form))
    assert told == {
        "folds": "40 test, 20 validation, 100 training images a participant "
        "(shares: 1,000 and 1,000 do not fit 160 images)",
        "repeats": "320 trials of 160 stimuli: 160 shown 2 times",
        "order": "random: as far as their captions tell, stimuli follow each other in random "
        "order, and tests permute stimuli freely",
        "mask": {
            "betas": "where *_task-pictures_space-MNI152NLin6Asym_desc-brain_mask.nii.gz is finite "
            "and not zero",
            "timeseries": "where */mask.nii.gz is finite and not zero",
        }[form],
        "voxels": "960 in the mask, of which all that are finite and vary in every session will "
        "be kept",
        "noise_ceiling": "none: no training stimulus was shown 3 times (the most: 2), so that it "
        "chooses no voxel",
        "standardised": "each session by its training trials, or by all where it has fewer than "
        "two",
        "positions": "mm by the image's affine; MNI mm of all voxels",
        "encoder": "open_clip:ViT-B-32:openai where its weights can be loaded, "
        "caption:all-MiniLM-L6-v2 otherwise",
        "captions": "every stimulus has some, 160 in all",
    }


def test_a_check_and_an_ingestion_tell_the_same_but_for_what_was_read(
    flows_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    folder = write_lab_sized(tmp_path / "lab")
    before = snapshot(folder)
    checked = json.loads(sdc("ingest", "--check", folder, "--json"))
    ingested = json.loads(sdc("ingest", folder, "--json"))
    again = json.loads(sdc("ingest", folder, "--json"))
    assert checked["choices"].pop("voxels") == (
        "60 in the mask, of which all that are finite and vary in every session will be kept"
    )
    for answer in (ingested, again):
        assert answer["choices"].pop("voxels") == CONSTANT
        assert answer["next"] == "sdc run lab"
    assert checked["choices"] == ingested["choices"]
    assert again["choices"].pop("folds") != checked["choices"].pop("folds")
    assert again["choices"] == checked["choices"]
    assert checked["next"] == f"sdc ingest {folder}, then sdc run lab"
    assert snapshot(folder) == before


def sdc(*words: object) -> str:
    """What a command that succeeds prints."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_check_repeats_the_options_that_it_was_given(tmp_path: Path) -> None:
    folder = write_lab_sized(tmp_path / "the lab")
    (tmp_path / "own.toml").write_text("n_test = 30\n")
    words = ("--set", "n_validation=10", "--config", tmp_path / "own.toml")
    told = sdc("ingest", "--check", folder, *words).splitlines()
    assert told[-1] == (
        f"next: sdc ingest '{folder}' --config {tmp_path}/own.toml --set n_validation=10, "
        "then sdc run lab"
    )
    assert "  folds: 30 test, 10 validation, 120 training images a participant (as configured)" in (
        told
    )


def test_participants_that_differ_are_told_apart(flows_home: Path, tmp_path: Path) -> None:
    folder = write_lab_sized(tmp_path / "lab", participants=3)
    betas = np.load(folder / "sub-02_01.npy")
    betas[0, 1:4] = np.nan
    np.save(folder / "sub-02_01.npy", betas)
    mask = np.ones((5, 4, 3), np.uint8)
    mask[4, 3, 2] = 0
    write_image(folder / "other.nii.gz", mask)
    for session in (1, 2):
        path = folder / f"sub-03_{session:02d}.npy"
        np.save(path, np.load(path)[:, :-1])
    text = (folder / "dataset.toml").read_text()
    head, tail = text.rsplit('mask = "mask.nii.gz"', 1)
    (folder / "dataset.toml").write_text(f'{head}mask = "other.nii.gz"{tail}')
    told = ingest_dataset(str(folder))["choices"]
    rule = "(all usable voxels: no image has three training repeats)"
    constant = "1 are constant over a session's trials"
    assert told["voxels"] == (
        f"sub-01: 59 of 60 kept {rule}; {constant}; "
        f"sub-02: 56 of 60 kept {rule}; 3 are not finite; {constant}; "
        f"sub-03: 58 of 59 kept {rule}; {constant}"
    )
    assert told["mask"] == (
        "sub-01, sub-02: where mask.nii.gz is finite and not zero; "
        "sub-03: where other.nii.gz is finite and not zero"
    )


def test_blocks_of_categories_rotate_and_are_exchanged_within_runs(tmp_path: Path) -> None:
    told = choices(write_blocks(tmp_path / "blocks"))
    assert told["folds"] == "rotated over 12 runs, since one split would test 8 stimuli"
    assert told["order"].startswith("by category: every test category was trained on")
    assert told["standardised"] == "each session by all its trials, since folds rotate"
    assert told["repeats"] == "96 trials of 96 stimuli: 96 shown once"


def test_topics_that_follow_each_other_are_blocked(tmp_path: Path) -> None:
    folder = write_lab_sized(tmp_path / "lab", participants=1)
    table = folder / "stimuli.csv"
    lines = table.read_text().splitlines()
    # Pictures are named in the order of topics, and shown in the order of their names.
    captions = [
        f"{line[:6]},a {CATEGORIES[int(line[3:6]) // 20]} {line[3:6]}," for line in lines[1:]
    ]
    table.write_text("\n".join([lines[0], *captions]) + "\n")
    assert choices(folder)["order"].startswith("random")
    trials = folder / "sub-01.csv"
    rows = sorted(trials.read_text().splitlines()[1:], key=lambda row: (row[-1], row))
    trials.write_text("\n".join(["stimulus,session", *rows]) + "\n")
    assert choices(folder)["order"].startswith("blocked")


def test_a_noise_ceiling_is_told_from_how_many_stimuli_it_comes(tmp_path: Path) -> None:
    folder = write_lab_sized(tmp_path / "lab", participants=1)
    trials = folder / "sub-01.csv"
    half = [f"pic{int(row[3:6]) % 80:03d}{row[6:]}" for row in trials.read_text().splitlines()[1:]]
    trials.write_text("\n".join(["stimulus,session", *half]) + "\n")
    told = choices(folder, n_test=30, n_validation=10, noise_ceiling=7)
    assert told["noise_ceiling"] == (
        "from 40 training stimuli shown 3 times or more; voxels above 7 % are kept"
    )
    assert told["voxels"] == (
        "60 in the mask, of which those whose noise ceiling is above 7 % will be kept"
    )
    rotated = choices(folder, folds="rotated")
    assert rotated["noise_ceiling"] == (
        "from 80 stimuli shown 3 times or more; it chooses no voxel, since folds rotate"
    )
    assert "vary in every session" in rotated["voxels"]


@pytest.mark.parametrize(
    ("pictures", "captions", "ends", "captions_told"),
    [
        (True, True, "sdc run lab", "every stimulus has some, 160 in all"),
        (False, True, "sdc run lab", "every stimulus has some, 160 in all"),
        (
            True,
            False,
            "sdc run lab (needs a network, or its weights on this machine; without, give every "
            "stimulus a caption, or the run --set encoder=vectors:PATH)",
            "160 of 160 stimuli have none (the first: pic000); encoders of captions cannot embed "
            "these",
        ),
        (
            False,
            False,
            "sdc run lab --set encoder=vectors:PATH (PATH is a table with a vector of every "
            "stimulus; or give every stimulus a picture, or a caption)",
            "160 of 160 stimuli have none (the first: pic000); encoders of captions cannot embed "
            "these",
        ),
    ],
)
def test_the_next_command_says_what_the_encoder_needs(
    tmp_path: Path, pictures: bool, captions: bool, ends: str, captions_told: str
) -> None:
    folder = write_lab_sized(tmp_path / "lab", pictures=pictures, captions=captions)
    source = open_source(folder)
    assert next_command(source, None) == ends
    assert next_command(source, "x y") == f"sdc ingest 'x y', then {ends}"
    told = choices(folder)
    assert told["captions"] == captions_told
    assert captions or told["order"].startswith("the run tells from its encoder's vectors")


@pytest.mark.parametrize(
    ("affine", "made_up"),
    [
        (np.eye(4), True),
        (np.diag([3.0, 3, 3, 1]), True),
        # What nibabel makes of a header without a place: the grid's middle is 0 mm.
        ([[-2.0, 0, 0, 4], [0, 2, 0, -3], [0, 0, 2, -2], [0, 0, 0, 1]], True),
        ([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]], False),
        ([[1.9, 0.1, 0, 0], [-0.1, 1.9, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], False),
    ],
)
def test_positions_that_an_image_does_not_know_are_told(
    tmp_path: Path, affine: Any, made_up: bool
) -> None:
    folder = write_lab_sized(tmp_path / "lab", participants=1)
    write_image(folder / "mask.nii.gz", np.ones((5, 4, 3), np.uint8), np.array(affine))
    rewrite(folder / "dataset.toml", 'space = "MNI"\n', "")
    told = choices(folder)["positions"]
    assert told.startswith("made up:" if made_up else "mm by the image's affine")
    assert told.endswith("none in MNI space, so that participants are not compared by place")


def test_vertices_are_told_as_such(tmp_path: Path) -> None:
    write_gifti_tree(tmp_path / "surfaces")
    told = choices(tmp_path / "surfaces")
    assert "the betas cover" in told["mask"]
    assert told["positions"].startswith("vertices of ")


def test_the_name_of_the_set_is_that_of_both_forms(tmp_path: Path) -> None:
    for form in ("betas", "timeseries"):
        source = open_source(write_newcomer(tmp_path / form, form))
        assert source.description.slug == SLUG

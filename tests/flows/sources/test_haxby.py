"""A manifest over real data: one slice of Haxby et al. (2001)."""

from itertools import groupby
from pathlib import Path

import nibabel
import numpy as np
import pytest

from flows.sources import check_source, open_source
from flows.sources.base import Source
from tests.flows.sources.haxby import find_haxby_slice, write_haxby_manifest
from tests.flows.sources.nsd_tree import write_image

RNG = np.random.default_rng(1)


@pytest.fixture
def slice_dir() -> Path:
    folder = find_haxby_slice()
    if folder is None:
        pytest.skip("the slice is not here: set SDC_HAXBY_SLICE to its folder")
    return folder


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Files like the slice's, with 3 runs of 2 blocks."""
    folder = tmp_path / "slice"
    blocks = [("rest", 2), ("face", 3), ("rest", 3), ("house", 3), ("rest", 3)]
    lines = [f"{category} {run}" for run in range(3) for category, n in blocks for _ in range(n)]
    write_image(folder / "bold.nii.gz", RNG.integers(900, 1100, (4, 3, 1, 42), dtype=np.int16))
    write_image(folder / "mask.nii.gz", np.ones((4, 3, 1), np.int16))
    (folder / "attributes_literal.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_runs_are_sessions_and_rest_is_no_trial(made_up: Path, tmp_path: Path) -> None:
    manifest = write_haxby_manifest(
        tmp_path / "out", made_up, test_run=2, validation_runs=(1,), lag=1
    )
    source = open_source(manifest)
    trials = source.trials("subj01")
    assert trials.session.tolist() == [1, 1, 2, 2, 3, 3]
    assert trials.stimulus.tolist()[:3] == ["face-run00", "house-run00", "face-run01"]
    assert {one.key: (one.captions, one.fold) for one in source.stimuli()} == {
        "face-run00": (("face",), "train"),
        "house-run00": (("house",), "train"),
        "face-run01": (("face",), "validation"),
        "house-run01": (("house",), "validation"),
        "face-run02": (("face",), "test"),
        "house-run02": (("house",), "test"),
    }
    assert source.betas("subj01", 2).shape == (2, 12)
    every = write_haxby_manifest(tmp_path / "volumes", made_up, test_run=2, unit="volume")
    assert open_source(every).betas("subj01", 2).shape == (6, 12)


def nearest_mean_accuracy(source: Source) -> float:
    """Blocks of each run against the categories' means over the other runs, by correlation.

    Responses are z-scored in each run, as ingestion does.
    """
    trials = source.trials("subj01")
    category = np.array([key.split("-")[0] for key in trials.stimulus])
    runs = [source.betas("subj01", int(run)) for run in np.unique(trials.session)]
    betas = np.concatenate([(run - run.mean(axis=0)) / run.std(axis=0) for run in runs])
    hits = []
    for run in np.unique(trials.session):
        left_out = trials.session == run
        names = np.unique(category)
        means = [betas[~left_out & (category == name)].mean(axis=0) for name in names]
        r = np.corrcoef(np.vstack([betas[left_out], means]))[: left_out.sum(), left_out.sum() :]
        hits.append(names[r.argmax(axis=1)] == category[left_out])
    return float(np.concatenate(hits).mean())


def test_the_slice_as_blocks(slice_dir: Path, tmp_path: Path) -> None:
    source = open_source(write_haxby_manifest(tmp_path, slice_dir))
    report = check_source(source)
    (one,) = report.participants
    assert (one.voxels, one.shape, one.trials, one.sessions) == (
        530,
        (40, 20, 1),
        96,
        tuple(range(1, 13)),
    )
    assert report.folds == {"train": 72, "validation": 16, "test": 8}
    assert source.betas("subj01", 1).shape == (8, 530)
    # Chance is 1/8; a support vector machine on block means reaches 0.70.
    accuracy = nearest_mean_accuracy(source)
    assert accuracy > 0.6
    late = open_source(write_haxby_manifest(tmp_path / "late", slice_dir, lag=4))
    assert nearest_mean_accuracy(late) < accuracy - 0.1


def test_the_slices_responses_are_the_literal_ones(slice_dir: Path, tmp_path: Path) -> None:
    lag = 2
    source = open_source(write_haxby_manifest(tmp_path, slice_dir, lag=lag))
    bold = nibabel.load(slice_dir / "bold.nii.gz").get_fdata()
    inside = nibabel.load(slice_dir / "mask.nii.gz").get_fdata() != 0
    lines = (slice_dir / "attributes_literal.txt").read_text().splitlines()
    run = bold[inside].T[121 * 4 : 121 * 5]
    line = np.polynomial.polynomial.polyfit(np.arange(121), run, 1)
    change = 100 * (run - line[0] - np.outer(np.arange(121), line[1])) / run.mean(axis=0)
    expected, start = [], 0
    for category, block in groupby(text.split()[0] for text in lines[121 * 4 : 121 * 5]):
        length = len(list(block))
        if category != "rest":
            expected.append(change[start + lag : start + lag + length].mean(axis=0))
        start += length
    np.testing.assert_allclose(source.betas("subj01", 5), expected, atol=1e-4)


def test_the_slice_as_volumes(slice_dir: Path, tmp_path: Path) -> None:
    source = open_source(write_haxby_manifest(tmp_path, slice_dir, unit="volume"))
    trials = source.trials("subj01")
    assert len(trials.stimulus) == 8 * 108
    assert trials.repeat.max() == 8
    assert source.betas("subj01", 12).shape == (72, 530)

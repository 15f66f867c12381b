"""Haxby et al. (2001) as nilearn lays it out, made up and real."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources import check_source, open_source
from tests.flows.sources.faults import refused
from tests.flows.sources.haxby import find_haxby_slice, write_haxby_manifest
from tests.flows.sources.nilearn_tree import (
    AFFINE,
    FOLDS,
    GRID,
    LABELS,
    brain,
    slice_as_nilearn,
    write_haxby_tree,
    write_labels,
)
from tests.flows.sources.nsd_tree import write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_haxby_tree(tmp_path / "haxby2001")
    return tmp_path / "haxby2001"


def test_what_is_there(tmp_path: Path) -> None:
    series = write_haxby_tree(tmp_path)
    source = open_source(tmp_path, **FOLDS)
    assert (source.description.slug, source.description.layout) == ("haxby", "haxby")
    assert source.description.licence.startswith("unknown")
    assert source.participants() == ["subj1", "subj2"]
    assert source.grid("subj1").shape == GRID
    np.testing.assert_array_equal(source.grid("subj2").affine, AFFINE)
    np.testing.assert_array_equal(source.mask("subj1"), brain())
    trials = source.trials("subj2")
    assert trials.session.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert trials.stimulus.tolist()[:3] == ["face-run00", "scrambledpix-run00", "face-run01"]
    stimuli = {one.key: one for one in source.stimuli()}
    assert [stimuli[f"face-run0{run}"].fold for run in range(4)] == [
        *("train", "train", "validation", "test"),
    ]
    assert stimuli["face-run01"].captions == ("face",)
    assert stimuli["scrambledpix-run01"].captions == ("scrambled picture",)
    assert all(one.shared for one in stimuli.values())
    assert source.image("face-run00") is None
    assert source.mni("subj1") is None
    assert source.maps("subj1") == {}
    # Three volumes of faces follow two of rest; a line is taken off each run.
    run = series["subj2"][..., 14:28][brain()].T.astype(float)
    line = np.polynomial.polynomial.polyfit(np.arange(14), run, 1)
    change = 100 * (run - line[0] - np.outer(np.arange(14), line[1])) / run.mean(axis=0)
    expected = [change[2:5].mean(axis=0), change[8:11].mean(axis=0)]
    np.testing.assert_allclose(source.betas("subj2", 2), expected, atol=1e-4)


def test_regions_are_the_masks_beside_the_series(root: Path) -> None:
    (root / "subj2/mask8b_house_vt.nii.gz").unlink()
    source = open_source(root, **FOLDS)
    found = [(one.atlas, one.name, int(one.members.sum())) for one in source.regions("subj1")]
    assert found == [
        ("vt", "vt", 2),
        ("faces", "face", 4),
        ("faces", "face_little", 6),
        ("houses", "house", 8),
        ("houses", "house_little", 10),
    ]
    assert len(source.regions("subj2")) == 4


def test_options(root: Path) -> None:
    source = open_source(root, **FOLDS, mask="vt", participants=["subj2"], unit="volume", lag=1)
    assert source.participants() == ["subj2"]
    assert not any(one.shared for one in source.stimuli())
    assert source.betas("subj2", 1).shape == (6, 2)
    assert source.trials("subj2").repeat.tolist()[:6] == [0, 1, 2, 0, 1, 2]
    late = source.fingerprint("subj2", 1)
    assert late != open_source(root, **FOLDS, mask="vt").fingerprint("subj2", 1)


def test_a_run_without_a_block_has_no_trial(root: Path) -> None:
    # As run 8 of subject 5 in the distribution.
    write_labels(root / "subj1/labels.txt", [("rest" if r == 1 else c, r) for c, r in LABELS])
    source = open_source(root, **FOLDS)
    assert np.unique(source.trials("subj1").session).tolist() == [1, 3, 4]
    assert {one.key for one in source.stimuli() if not one.shared} == {
        *("face-run01", "scrambledpix-run01"),
    }
    check_source(source)


def _cut_labels(root: Path) -> None:
    write_labels(root / "subj1/labels.txt", LABELS[:-1])


def _mix_runs(root: Path) -> None:
    write_labels(root / "subj1/labels.txt", [*LABELS[:-1], ("rest", 0)])


def _no_block(root: Path) -> None:
    write_labels(root / "subj1/labels.txt", [("rest", run) for _, run in LABELS])


def _no_column(root: Path) -> None:
    (root / "subj1/labels.txt").write_text("labels run\nface 0\n")


def _no_number(root: Path) -> None:
    (root / "subj1/labels.txt").write_text("labels chunks\nface one\n")


def _ragged(root: Path) -> None:
    (root / "subj1/labels.txt").write_text("labels chunks\nface 0 1\n")


def _no_series(root: Path) -> None:
    (root / "subj1/bold.nii.gz").unlink()


def _broken_series(root: Path) -> None:
    (root / "subj1/bold.nii.gz").write_bytes(gzip.compress(b"no image"))


def _flat_series(root: Path) -> None:
    write_image(root / "subj1/bold.nii.gz", np.ones(GRID, np.int16), AFFINE)


def _no_mask(root: Path) -> None:
    (root / "mask.nii.gz").unlink()


def _empty_mask(root: Path) -> None:
    write_image(root / "mask.nii.gz", np.zeros(GRID, np.int16), AFFINE)


def _other_mask(root: Path) -> None:
    write_image(root / "mask.nii.gz", np.ones((4, 3, 3), np.int16))


def _other_region(root: Path) -> None:
    write_image(root / "subj1/mask4_vt.nii.gz", np.ones((4, 3, 3), np.int16))


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (_cut_labels, ["labels.txt", "55 volumes", "subj1 have 56"]),
        (_mix_runs, ["labels.txt, line 57", "session 1 of subj1 goes on after a break"]),
        (_no_block, ["subj1/labels.txt", "no block"]),
        (_no_column, ["subj1/labels.txt", "no column chunks"]),
        (_no_number, ["subj1/labels.txt, line 2", "chunks is 'one'"]),
        (_ragged, ["subj1/labels.txt, line 2", "3 cells"]),
        (_no_series, ["subj1/bold.nii.gz", "no such file"]),
        (_broken_series, ["subj1/bold.nii.gz", "as NIfTI"]),
        (_flat_series, ["subj1/bold.nii.gz", "3 axes"]),
        (_no_mask, ["mask.nii.gz", "no such file"]),
        (_empty_mask, ["mask.nii.gz", "subj1 is empty"]),
        (_other_mask, ["mask.nii.gz", "4x3x3", "subj1 have 4x3x2"]),
        (_other_region, ["mask4_vt.nii.gz", "4x3x3", "subj1 have 4x3x2"]),
    ],
)
def test_faulty_files(root: Path, alter: Callable[[Path], None], words: list[str]) -> None:
    alter(root)
    refused(root, lambda: check_source(open_source(root, **FOLDS)), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tr": 2}, ["options of a Haxby source", "tr", "unknown key"]),
        ({"mask": "face"}, ["mask"]),
        ({"lag": -1}, ["lag"]),
        ({"lag": 4}, ["labels.txt", "of subj1, session 1", "volume 15", "has 14"]),
        ({"high_pass": 0.2}, ["subj1, session 1", "14 volumes", "drifts"]),
        ({"test_runs": [2]}, ["run 2 is in test_runs and in validation_runs"]),
        ({"test_runs": [7]}, ["no run 7"]),
        ({"participants": ["subj3"]}, ["no participant subj3"]),
        ({"participants": ["subj1", "subj1"]}, ["subj1 is chosen twice"]),
    ],
)
def test_faulty_options(root: Path, options: dict[str, object], words: list[str]) -> None:
    refused(root, lambda: check_source(open_source(root, **FOLDS | options)), *words)


def test_participants_and_sessions_that_are_not_there(root: Path) -> None:
    source = open_source(root, **FOLDS)
    for ask in (source.grid, source.mask, source.trials, source.regions, source.maps, source.mni):
        refused(root, lambda ask=ask: ask("subj3"), "no participant subj3")
    refused(root, lambda: source.betas("subj1", 5), "subj1 has no session 5")
    refused(root, lambda: source.fingerprint("subj1", 0), "subj1 has no session 0")


@given(st.lists(st.tuples(st.sampled_from(["rest", "cat", "shoe"]), st.integers(1, 4)), min_size=1))
@settings(max_examples=25, deadline=None)
def test_blocks_of_any_order_are_the_literal_ones(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[str, int]]
) -> None:
    root = tmp_path_factory.mktemp("haxby")
    labels = [(category, 0) for category, length in blocks for _ in range(length)]
    write_image(root / "subj1/bold.nii.gz", np.ones((2, 1, 1, len(labels)), np.int16))
    write_labels(root / "subj1/labels.txt", labels)
    # Without a separator, equal neighbours are one block.
    literal = [
        category
        for at, (category, _) in enumerate(labels)
        if category != "rest" and (at == 0 or labels[at - 1][0] != category)
    ]
    source = open_source(root, test_runs=[], validation_runs=[])
    if not literal or len(labels) <= 2:
        refused(root, lambda: source.trials("subj1"))
    else:
        assert [key.split("-")[0] for key in source.trials("subj1").stimulus] == literal


@pytest.mark.parametrize("unit", ["block", "volume"])
def test_the_real_slice_is_read_as_by_its_manifest(tmp_path: Path, unit: str) -> None:
    slice_dir = find_haxby_slice()
    if slice_dir is None:
        pytest.skip("the slice is not here: set SDC_HAXBY_SLICE to its folder")
    source = open_source(slice_as_nilearn(tmp_path / "haxby2001", slice_dir), unit=unit)
    model = open_source(write_haxby_manifest(tmp_path / "manifest", slice_dir, unit=unit))
    np.testing.assert_array_equal(source.mask("subj1"), model.mask("subj01"))
    trials, expected = source.trials("subj1"), model.trials("subj01")
    np.testing.assert_array_equal(trials.stimulus, expected.stimulus)
    np.testing.assert_array_equal(trials.session, expected.session)
    np.testing.assert_array_equal(trials.repeat, expected.repeat)
    assert {one.key: one.fold for one in source.stimuli()} == {
        one.key: one.fold for one in model.stimuli()
    }
    for session in range(1, 13):
        np.testing.assert_array_equal(
            source.betas("subj1", session), model.betas("subj01", session)
        )

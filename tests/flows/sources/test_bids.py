"""BIDS derivatives of betas in the real layout."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources import check_source, open_source
from flows.sources.bids_betas import number_sessions
from tests.flows.sources.bids_tree import (
    AFFINE,
    GRID,
    SHOWN,
    SPACE,
    Betas,
    atlas_file,
    beta_file,
    brain,
    event_file,
    func,
    mask_file,
    stem,
    write_bids_tree,
    write_events,
    write_glmsingle_tree,
    write_json,
)
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import write_image

SESSION = [*SHOWN[1], *SHOWN[2]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "betas"


@pytest.fixture
def stored(root: Path) -> Betas:
    return write_bids_tree(root)


def literal(values: np.ndarray, scale: float = 1) -> np.ndarray:
    """Betas voxel by voxel, (trials, voxels)."""
    voxels = np.argwhere(brain())
    trials = range(values.shape[3])
    return np.array([[values[(*voxel, trial)] * scale for voxel in voxels] for trial in trials])


def test_what_is_there(root: Path, stored: Betas) -> None:
    source = open_source(root)
    about = source.description
    assert (about.slug, about.title, about.layout) == ("things-betas", "Things, betas", "bids")
    assert (about.licence, about.citation) == ("CC0-1.0", "A. Doe, B. Roe: Things, betas")
    assert about.uri == root.as_uri()
    assert source.participants() == ["sub-01", "sub-02"]
    assert source.grid("sub-01").shape == GRID
    np.testing.assert_array_equal(source.grid("sub-01").affine, AFFINE)
    np.testing.assert_array_equal(source.mask("sub-02"), brain())
    trials = source.trials("sub-01")
    assert trials.stimulus.tolist() == [*SESSION, *SESSION]
    assert trials.session.tolist() == [1] * 5 + [2] * 5
    assert trials.repeat.tolist() == [0, 0, 1, 0, 1, 2, 2, 3, 1, 3]
    assert check_source(source).folds == {"train": 1, "test": 1, "validation": 1}


def test_a_session_holds_its_runs_in_order(root: Path, stored: Betas) -> None:
    betas = open_source(root).betas("sub-02", 10)
    expected = [literal(stored["02", "10", run], 0.5) for run in (1, 2)]
    assert betas.dtype == np.float32
    np.testing.assert_allclose(betas, np.concatenate(expected), rtol=1e-6)


def test_runs_are_in_order_of_their_numbers(root: Path, stored: Betas) -> None:
    for session in ("01", "02"):
        for path in sorted(func(root, "01", session).iterdir()):
            other = path.name.replace("run-01", "run-9").replace("run-02", "run-10")
            path.rename(path.with_name(other))
    for path in sorted(func(root, "01", "02").glob("*_statmap.nii.gz")):
        path.unlink()
    both = np.concatenate([stored["01", "02", run] for run in (1, 2)], axis=-1)
    name = f"{stem('01', '02')}_space-{SPACE}_stat-effect_statmap.nii.gz"
    write_image(func(root, "01", "02") / name, both, AFFINE)
    source = open_source(root)
    assert source.trials("sub-01").stimulus.tolist() == [*SESSION, *SESSION]
    runs = [literal(stored["01", "01", run], 0.5) for run in (1, 2)]
    np.testing.assert_allclose(source.betas("sub-01", 1), np.concatenate(runs), rtol=1e-6)


def test_the_nearest_sidecar_counts(root: Path, stored: Betas) -> None:
    write_json(root / "sub-01/sub-01_task-things_stat-effect_statmap.json", {"Scale": 2})
    own = beta_file(root, "01", "01", 2)
    write_json(own.with_name(own.name.replace(".nii.gz", ".json")), {"Scale": 3})
    write_json(own.with_name(own.name.replace("run-02", "run-01").replace(".nii.gz", ".json")), {})
    write_json(root / "task-other_stat-effect_statmap.json", {"Scale": 9})
    source = open_source(root)
    for participant, number, key, scale in [
        ("sub-01", 1, ("01", "01", 1), 2),
        ("sub-01", 1, ("01", "01", 2), 3),
        ("sub-02", 1, ("02", "01", 1), 0.5),
    ]:
        rows = slice(0, 3) if key[2] == 1 else slice(3, 5)
        expected = literal(stored[key], scale)
        np.testing.assert_allclose(source.betas(participant, number)[rows], expected, rtol=1e-6)


def test_regions_inherit_the_table_of_their_atlas(root: Path, stored: Betas) -> None:
    source = open_source(root)
    found = {(one.atlas, one.name): int(one.members.sum()) for one in source.regions("sub-01")}
    assert found == {("floc", "FFA"): 4, ("floc", "PPA"): 2}
    assert source.regions("sub-02") == []
    # A table beside the image is nearer; a segmentation of another task is another's.
    atlas = atlas_file(root)
    own = atlas.with_name(atlas.name.replace(".nii.gz", ".tsv"))
    own.write_text("index\tname\n1\tOFA\n7\tn/a\n")
    other = atlas.with_name(atlas.name.replace("task-things", "task-rest"))
    other.write_bytes(atlas.read_bytes())
    refused(root, lambda: open_source(root).regions("sub-01"), f"{own}, line 3", "name is empty")
    own.write_text("index\tname\n1\tOFA\n7\tRSC\n")
    assert {one.name for one in open_source(root).regions("sub-01")} == {"OFA", "RSC"}


def test_stimuli_and_their_pictures(root: Path, stored: Betas) -> None:
    source = open_source(root)
    found = {one.key: (one.captions, one.shared, one.fold) for one in source.stimuli()}
    assert found == {
        "cat.png": (("a cat", "the cat"), True, "train"),
        "dog.png": (("a dog",), True, "test"),
        "owl.png": ((), False, "validation"),
    }
    picture = source.image("cat.png")
    assert picture is not None
    assert picture.shape == (3, 4, 3)
    assert source.image("dog.png") is None


@pytest.mark.parametrize(
    ("space", "known"),
    [("MNI152NLin2009cAsym", True), ("MNIColin27", False), ("T1w", False), ("fsnative", False)],
)
def test_mni_spaces_give_coordinates(root: Path, stored: Betas, space: str, known: bool) -> None:
    for path in sorted(root.rglob(f"*space-{SPACE}*")):
        path.rename(path.with_name(path.name.replace(SPACE, space)))
    mni = open_source(root).mni("sub-01")
    assert (mni is not None) == known
    if mni is not None:
        np.testing.assert_allclose(mni[1, 2, 1], AFFINE[:3, :3] @ [1, 2, 1] + AFFINE[:3, 3])


def test_one_of_several_spaces_is_chosen(root: Path, stored: Betas) -> None:
    native = 7 * stored["01", "01", 1]
    for subject, session in [("01", "01"), ("02", "01")]:
        name = f"{stem(subject, session, 1)}_stat-effect_statmap.nii.gz"
        write_image(func(root, subject, session) / name, native, AFFINE)
        mask = mask_file(root, subject)
        write_image(
            mask.with_name(f"sub-{subject}_desc-brain_mask.nii.gz"),
            brain().astype(np.uint8),
            AFFINE,
        )
    assert len(open_source(root, space=SPACE).trials("sub-01").stimulus) == 10
    source = open_source(root, space="native")
    assert source.trials("sub-01").stimulus.tolist() == SHOWN[1]
    assert source.mni("sub-01") is None
    np.testing.assert_allclose(source.betas("sub-02", 1), literal(native, 0.5), rtol=1e-6)


def test_masks_of_runs_are_met(root: Path, stored: Betas) -> None:
    mask_file(root, "01").unlink()
    masks = {}
    for session, run in [("01", 1), ("01", 2), ("02", 1), ("02", 2)]:
        mask = brain().astype(np.uint8)
        mask[run, 1, 0] = 0
        masks[session, run] = mask
        name = f"{stem('01', session, run)}_space-{SPACE}_desc-brain_mask.nii.gz"
        write_image(func(root, "01", session) / name, mask, AFFINE)
    expected = brain()
    expected[1, 1, 0] = expected[2, 1, 0] = False
    np.testing.assert_array_equal(open_source(root).mask("sub-01"), expected)
    # As a command line gives it, and as names write it.
    assert open_source(root, entities={"run": 1}).mask("sub-01").sum() == expected.sum() + 1
    one = open_source(root, entities={"run": "01"})
    assert one.mask("sub-01").sum() == expected.sum() + 1


def test_options_choose_what_is_read(root: Path, stored: Betas) -> None:
    source = open_source(root, participants=["sub-02"], sessions=["10"], slug="x", licence="mine")
    assert source.participants() == ["sub-02"]
    assert source.description.slug == "x"
    assert source.trials("sub-02").session.tolist() == [1] * 5
    first_run = literal(stored["02", "10", 1], 0.5)
    np.testing.assert_allclose(source.betas("sub-02", 1)[:3], first_run, rtol=1e-6)


def test_another_column_may_tell_the_stimulus(root: Path, stored: Betas) -> None:
    (root / "stimuli/stimuli.tsv").write_text("stimulus_id\tcaption\npicture\ta picture\n")
    source = open_source(root, stimulus_column="trial_type", ignore=["rest"])
    assert source.trials("sub-01").stimulus.tolist() == ["picture"] * 10


def test_events_and_stimuli_may_lie_in_the_raw_data(root: Path, stored: Betas) -> None:
    raw = root.parent / "raw"
    (raw / "sub-01").mkdir(parents=True)
    (root / "stimuli").rename(raw / "stimuli")
    for path in sorted(root.rglob("*_events.tsv")):
        place = raw / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    source = open_source(root, raw=str(raw))
    assert source.trials("sub-02").stimulus.tolist() == [*SESSION, *SESSION]
    assert len(source.stimuli()) == 3


def test_betas_without_a_run_hold_all_runs(root: Path, stored: Betas) -> None:
    for run in (1, 2):
        beta_file(root, "01", "01", run).unlink()
    both = np.concatenate([stored["01", "01", run] for run in (1, 2)], axis=-1)
    name = f"{stem('01', '01')}_space-{SPACE}_stat-effect_statmap.nii.gz"
    write_image(func(root, "01", "01") / name, both, AFFINE)
    source = open_source(root)
    assert source.trials("sub-01").stimulus.tolist() == [*SESSION, *SESSION]
    np.testing.assert_allclose(source.betas("sub-01", 1), literal(both, 0.5), rtol=1e-6)


def test_events_of_another_task_are_others(root: Path, stored: Betas) -> None:
    path = event_file(root, "01", "01", 1)
    write_events(path.with_name(path.name.replace("things", "rest")), ["owl.png"])
    assert open_source(root).trials("sub-01").stimulus.tolist() == [*SESSION, *SESSION]


def test_statistics_other_than_effects_are_no_betas(root: Path, stored: Betas) -> None:
    path = beta_file(root, "01", "01", 1)
    path.with_name(path.name.replace("stat-effect", "stat-t")).write_bytes(path.read_bytes())
    assert len(open_source(root).trials("sub-01").stimulus) == 10


def test_a_derivative_without_sessions_is_one(tmp_path: Path) -> None:
    root = tmp_path / "betas"
    betas = write_bids_tree(root)["01", "01", 1]
    for session in ("01", "02"):
        for path in sorted(func(root, "01", session).iterdir()):
            if session == "01":
                path.rename(root / "sub-01/func" / path.name.replace("_ses-01", ""))
            else:
                path.unlink()
    source = open_source(root, participants=["sub-01"])
    assert source.trials("sub-01").session.tolist() == [1] * 5
    np.testing.assert_allclose(source.betas("sub-01", 1)[:3], literal(betas, 0.5), rtol=1e-6)


def test_what_glmsingle_wrote(root: Path) -> None:
    stored = write_glmsingle_tree(root)
    source = open_source(root)
    assert source.trials("sub-02").stimulus.tolist() == [*SESSION, *SESSION]
    assert source.trials("sub-02").session.tolist() == [1] * 5 + [10] * 5
    np.testing.assert_allclose(
        source.betas("sub-02", 10), literal(stored["02", "10", 0]), rtol=1e-6
    )
    assert source.mni("sub-01") is not None
    assert len(source.regions("sub-01")) == 2


def test_betas_of_sessions_as_images(root: Path) -> None:
    stored = write_glmsingle_tree(root)
    for subject, session, _ in stored:
        folder = func(root, subject, session)
        (folder / "glmsingle/TYPED_FITHRF_GLMDENOISE_RR.hdf5").unlink()
        values = stored[subject, session, 0]
        write_image(folder / f"betas_session{session}.nii.gz", values, AFFINE)
    betas = open_source(root, betas="glmsingle").betas("sub-02", 10)
    np.testing.assert_allclose(betas, literal(stored["02", "10", 0]), rtol=1e-6)


def test_one_of_two_kinds_is_chosen(root: Path, stored: Betas) -> None:
    for session in ("01", "02"):
        path = func(root, "01", session) / f"{stem('01', session)}_space-{SPACE}_betas.nii.gz"
        both = np.concatenate([stored["01", session, run] for run in (1, 2)], axis=-1)
        write_image(path, both, AFFINE)
        write_json(path.with_name(path.name.replace(".nii.gz", ".json")), {})
    source = open_source(root, betas="betas", participants=["sub-01"])
    first_run = literal(stored["01", "01", 1])
    np.testing.assert_allclose(source.betas("sub-01", 1)[:3], first_run, rtol=1e-6)


def test_fingerprints_follow_what_is_read(root: Path, stored: Betas) -> None:
    other = open_source(root).fingerprint("sub-02", 1)
    seen = {open_source(root).fingerprint("sub-01", 1)}
    changes = [
        lambda: write_image(beta_file(root, "01", "01", 1), 2 * stored["01", "01", 1], AFFINE),
        lambda: write_events(event_file(root, "01", "01", 2), SHOWN[2][::-1], before=1),
        lambda: write_image(mask_file(root, "01"), np.ones(GRID, np.uint8), AFFINE),
    ]
    for change in changes:
        change()
        seen.add(open_source(root).fingerprint("sub-01", 1))
    assert open_source(root).fingerprint("sub-02", 1) == other
    write_json(root / "task-things_stat-effect_statmap.json", {"Scale": 0.25})
    seen.add(open_source(root, ignore=["pause"]).fingerprint("sub-01", 1))
    assert len(seen) == 5
    assert open_source(root).fingerprint("sub-02", 1) != other


NUMBERED = st.lists(
    st.tuples(st.from_regex(r"[a-z]{0,3}0{0,2}", fullmatch=True), st.integers(1, 99)),
    unique_by=lambda label: label[1],
    min_size=1,
    max_size=6,
)


@given(NUMBERED)
@settings(max_examples=50)
def test_a_session_that_is_added_renumbers_none(labels: list[tuple[str, int]]) -> None:
    there = {f"{word}{number}": number for word, number in labels}
    *before, _ = there
    assert number_sessions(Path(), there, None) == there
    assert number_sessions(Path(), before, None) == {label: there[label] for label in before}
    assert list(number_sessions(Path(), there, before[::-1]).values()) == [
        *range(1, len(before) + 1)
    ]


def test_the_official_validator_finds_no_error(root: Path, stored: Betas) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "bids-validator-deno", root, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []

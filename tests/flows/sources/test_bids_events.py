"""Which events are trials."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources import check_source, open_source
from flows.sources.bids_events import read_events
from tests.flows.sources.bids_tree import (
    AFFINE,
    FOLDERS,
    GRID,
    SHOWN,
    SPACE,
    atlas_file,
    beta_file,
    event_file,
    func,
    stem,
    write_bids_tree,
    write_events,
    write_glmsingle_tree,
)
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import write_image

ONSET = st.one_of(
    st.integers(-3, 30).map(str),
    st.floats(0, 30).map(lambda seconds: f"{seconds:.2f}"),
    st.sampled_from(["n/a", "", "nan", "inf", "soon"]),
)
EVENT = st.tuples(ONSET, st.sampled_from(["cat", "dog", "rest", "n/a", ""]))


@given(st.lists(EVENT, max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_trials_are_the_literal_ones_or_the_table_is_refused(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str]], sort: bool
) -> None:
    if sort:
        events = sorted(event for event in events if _seconds(event[0]) is not None)
        events.sort(key=lambda event: _seconds(event[0]) or 0)
    path = tmp_path_factory.mktemp("events") / "events.tsv"
    lines = [f"{onset}\t1\t{stimulus}" for onset, stimulus in events]
    path.write_text("\n".join(["onset\tduration\tstim_file", *lines]) + "\n")
    shown = [event for event in events if event[1] not in ("rest", "n/a", "")]
    onsets = [_seconds(onset) for onset, _ in shown]
    known = [onset for onset in onsets if onset is not None]
    if len(known) == len(onsets) and known == sorted(known):
        read = read_events(path, column="stim_file", ignore=["rest"])
        assert read == [stimulus for _, stimulus in shown]
    else:
        refused(
            path.parent,
            lambda: read_events(path, column="stim_file", ignore=["rest"]),
            f"{path}, line ",
            "onset",
        )


def _seconds(onset: str) -> float | None:
    try:
        return float(onset) if math.isfinite(float(onset)) else None
    except ValueError:
        return None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_bids_tree(tmp_path / "bids")
    return tmp_path / "bids"


def _without_events(root: Path) -> None:
    for path in root.rglob("*_events.tsv"):
        path.unlink()


@pytest.mark.parametrize("folder", ["", "sub-{subject}", "sub-{subject}/ses-{session}"])
def test_events_of_a_run_are_inherited_from_a_folder_above(root: Path, folder: str) -> None:
    expected = open_source(root).trials("sub-02")
    _without_events(root)
    for subject, session in FOLDERS:
        place = folder.format(subject=subject, session=session)
        names = {"": "", "sub-{subject}": f"sub-{subject}_"}
        prefix = names.get(folder, f"sub-{subject}_ses-{session}_")
        for run, shown in SHOWN.items():
            write_events(root / place / f"{prefix}task-things_run-{run:02d}_events.tsv", shown)
    trials = open_source(root).trials("sub-02")
    np.testing.assert_array_equal(trials.stimulus, expected.stimulus)
    np.testing.assert_array_equal(trials.session, expected.session)


def test_the_nearest_events_count(root: Path) -> None:
    own = event_file(root, "01", "02", 1)
    kept = own.read_bytes()
    _without_events(root)
    for run, shown in SHOWN.items():
        write_events(root / f"task-things_run-{run}_events.tsv", ["dog.png"] * len(shown))
    own.write_bytes(kept)
    trials = open_source(root).trials("sub-01")
    assert trials.stimulus[trials.session == 1].tolist() == ["dog.png"] * 5
    assert trials.stimulus[trials.session == 2].tolist() == [*SHOWN[1], "dog.png", "dog.png"]


@pytest.mark.parametrize("raw", [False, True])
def test_one_file_for_all_runs_of_a_session(root: Path, tmp_path: Path, raw: bool) -> None:
    """Betas of a session, and images that tell how many runs it had, all with the same events."""
    single = tmp_path / "single"
    write_glmsingle_tree(single)
    _without_events(single)
    events = tmp_path / "raw" if raw else single
    if raw:
        events.mkdir()
        shutil.move(single / "stimuli", events / "stimuli")
    write_events(events / "task-things_events.tsv", ["owl.png"])
    for subject, session in FOLDERS:
        for run in range(1, 6):
            image = func(events, subject, session) / f"{stem(subject, session, run)}_bold.nii.gz"
            write_image(image, np.ones((*GRID, 2), np.float32), AFFINE)
    source = open_source(single, **({"raw": events} if raw else {}))
    assert source.trials("sub-01").stimulus.tolist() == ["owl.png"] * 10


def test_events_that_nothing_above_has(root: Path) -> None:
    _without_events(root)
    write_events(root / "task-other_events.tsv", SHOWN[1])
    refused(
        root,
        lambda: open_source(root).trials("sub-01"),
        "sub-01_ses-01_task-things_run-01_events.tsv: no such file, nor one to inherit",
    )
    write_events(root / "task-things_events.tsv", SHOWN[1])
    write_events(root / "task-things_run-1_events.tsv", SHOWN[1])
    refused(root, lambda: open_source(root).trials("sub-01"), "task-things_run-1_events.tsv", "too")


def _one_a_run(root: Path) -> list[Path]:
    """fMRIPrep's names: the atlas of the participant once for each run."""
    atlas = atlas_file(root)
    copies = []
    for session in ("01", "02"):
        for run in SHOWN:
            name = f"{stem('01', session, run)}_space-{SPACE}_desc-aparcaseg_dseg.nii.gz"
            copies.append(func(root, "01", session) / name)
            shutil.copy(atlas, copies[-1])
    (root / "atlas-floc_dseg.tsv").rename(root / "desc-aparcaseg_dseg.tsv")
    atlas.unlink()
    return copies


def test_one_atlas_a_run_is_one_atlas(root: Path) -> None:
    expected = {each.name: each.members for each in open_source(root).regions("sub-01")}
    copies = _one_a_run(root)
    found = open_source(root).regions("sub-01")
    assert [(each.atlas, each.name) for each in found] == [
        ("aparcaseg", name) for name in ("FFA", "PPA")
    ]
    for each in found:
        np.testing.assert_array_equal(each.members, expected[each.name])
    # Stored from right to left it is the same atlas.
    values = np.zeros(GRID, np.int16)
    values[1], values[1, 0] = 1, 7
    back = np.diag([-1.0, 1, 1, 1])
    back[0, 3] = GRID[0] - 1
    write_image(copies[1], values[::-1].copy(), AFFINE @ back)
    np.testing.assert_array_equal(open_source(root).regions("sub-01")[0].members, found[0].members)
    write_image(copies[1], values[::-1].copy(), AFFINE)
    refused(
        root,
        lambda: check_source(open_source(root)),
        copies[1].name,
        copies[0].name,
        "both are of the atlas aparcaseg",
    )
    assert beta_file(root, "01", "01", 1).exists()

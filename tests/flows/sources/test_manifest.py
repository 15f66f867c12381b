import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.sources import open_source
from tests.flows.sources.manifest_tree import (
    AFFINE,
    BETAS,
    GRID,
    MASK,
    replace,
    write_manifest_tree,
    write_series_tree,
)
from tests.flows.sources.nsd_tree import write_image

VOXELS = np.argwhere(MASK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_manifest_tree(tmp_path / "data")


def test_folder_and_file_open_the_same(folder: Path) -> None:
    source = open_source(folder)
    assert source.description == open_source(str(folder / "dataset.toml")).description
    assert (source.description.slug, source.description.layout) == ("tiny", "manifest")
    assert source.description.uri == (folder / "dataset.toml").as_uri()
    assert source.participants() == ["a", "b"]


def test_grid_and_mask_are_the_masks(folder: Path) -> None:
    source = open_source(folder)
    assert source.grid("a").shape == GRID
    np.testing.assert_array_equal(source.grid("a").affine, AFFINE)
    np.testing.assert_array_equal(source.mask("b"), MASK)


@pytest.mark.parametrize(("participant", "scale"), [("a", 0.5), ("b", 1)])
def test_betas_are_the_literal_ones(folder: Path, participant: str, scale: float) -> None:
    source = open_source(folder)
    for session, stored in BETAS.items():
        literal = [[stored[(*voxel, trial)] * scale for voxel in VOXELS] for trial in range(4)]
        betas = source.betas(participant, session)
        assert betas.dtype == np.float32
        np.testing.assert_array_equal(betas, literal)


def test_masked_voxels_and_nan_are_passed_on(folder: Path) -> None:
    values = BETAS[2][MASK].T.copy()
    values[1] = np.nan
    np.save(folder / "two.npy", values)
    replace(folder / "dataset.toml", '["one.h5", "two.npy"]\naxes = "TZYX"', '["two.npy"]')
    replace(folder / "dataset.toml", "betas_*.nii.gz", "betas_[0]1.nii.gz")
    (folder / "trials.csv").write_text("stimulus,session\ncat,1\ncat,1\ncat,1\ncat,1\n")
    source = open_source(folder)
    assert len(source.trials("b").session) == 4
    np.testing.assert_array_equal(source.betas("a", 1), values * np.float32(0.5))


def test_trials_stand_in_order_of_sessions(folder: Path) -> None:
    (folder / "trials.csv").write_text(
        "note,session,stimulus\n,2,dog\n,1,cat\n,2,cat\n,1,owl\n,1,cat\n,2,owl\n,1,dog\n,2,dog\n"
    )
    trials = open_source(folder).trials("a")
    assert trials.session.tolist() == [1] * 4 + [2] * 4
    assert trials.stimulus.tolist() == ["cat", "owl", "cat", "dog", "dog", "cat", "owl", "dog"]
    assert trials.repeat.tolist() == [0, 0, 1, 0, 1, 2, 1, 2]


def test_stimuli_that_were_seen(folder: Path) -> None:
    cat, dog, owl = open_source(folder).stimuli()
    assert cat.captions == ("a cat", "the cat")
    assert dog.captions == ("a dog",)
    assert owl.captions == ("an owl",)
    assert [one.shared for one in (cat, dog, owl)] == [True] * 3
    assert {one.fold for one in (cat, dog, owl)} == {None}


def test_shared_is_what_the_table_says_or_what_all_of_several_saw(folder: Path) -> None:
    (folder / "b.csv").write_text("stimulus,session\n" + "cat,1\n" * 4 + "yak,2\n" * 4)
    replace(folder / "dataset.toml", '"trials.csv"\n[[', '"b.csv"\n[[')
    shared = {one.key: one.shared for one in open_source(folder).stimuli()}
    assert shared == {"cat": True, "dog": False, "owl": False, "yak": False}
    (folder / "stimuli.csv").write_text("stimulus,shared\ncat,no\ndog,TRUE\nowl,1\nyak,\n")
    shared = {one.key: one.shared for one in open_source(folder).stimuli()}
    assert shared == {"cat": False, "dog": True, "owl": True, "yak": False}


def test_folds_come_from_either_table(folder: Path) -> None:
    (folder / "stimuli.csv").write_text("stimulus,fold\ncat,train\ndog,test\nowl,\n")
    replace(folder / "trials.csv", "session\n", "session,fold\n")
    rows = (folder / "trials.csv").read_text().splitlines()
    folds = [f"{row},{'validation' if 'owl' in row else ''}" for row in rows[1:]]
    (folder / "trials.csv").write_text("\n".join([rows[0], *folds]) + "\n")
    assert [one.fold for one in open_source(folder).stimuli()] == ["train", "test", "validation"]


def test_pictures(folder: Path) -> None:
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    (folder / "pictures").mkdir()
    Image.fromarray(picture).save(folder / "pictures/cat.png")
    Image.fromarray(picture[..., 0]).save(folder / "grey.png")
    (folder / "stimuli.csv").write_text(
        "stimulus,image\ncat,pictures/cat.png\ndog,grey.png\nowl,\n"
    )
    source = open_source(folder)
    np.testing.assert_array_equal(source.image("cat"), picture)
    np.testing.assert_array_equal(source.image("dog"), np.repeat(picture[..., :1], 3, axis=2))
    assert source.image("owl") is None


def test_regions_maps_and_mni(folder: Path) -> None:
    left, right = np.zeros(GRID, np.int16), np.zeros(GRID, np.int16)
    left[0, 0, 0], right[2, 3, 1], right[1, 1, 1] = 1, 1, 2
    write_image(folder / "lh.nii", left, AFFINE)
    write_image(folder / "rh.nii", right, AFFINE)
    write_image(folder / "plain.nii", (left > 0).astype(np.uint8), AFFINE)
    write_image(folder / "t.nii", np.full(GRID, 2.5), AFFINE)
    coordinates = np.full((*GRID, 3), 9999, np.float32)
    coordinates[0, 0, 0] = 91, 127, 73
    write_image(folder / "mni.nii", coordinates, AFFINE)
    (folder / "names.csv").write_text("value,name\n1,FFA\n2,PPA\n")
    manifest = folder / "dataset.toml"
    keys = """
regions = [
  { atlas = "floc", file = ["lh.nii", "rh.nii"], labels = { FFA = 1, PPA = 2 } },
  { atlas = "csv", file = "rh.nii", labels = "names.csv" },
  { atlas = "plain", file = "plain.nii" },
]
maps = { faces = "t.nii" }
mni = "mni.nii"
"""
    manifest.write_text(manifest.read_text() + keys)
    replace(manifest, 'label = "b"', 'label = "b"\nspace = "MNI"')
    source = open_source(folder)
    found = {
        (one.atlas, one.name): np.argwhere(one.members).tolist() for one in source.regions("a")
    }
    assert found == {
        ("floc", "FFA"): [[0, 0, 0], [2, 3, 1]],
        ("floc", "PPA"): [[1, 1, 1]],
        ("csv", "FFA"): [[2, 3, 1]],
        ("csv", "PPA"): [[1, 1, 1]],
        ("plain", "plain"): [[0, 0, 0]],
    }
    assert source.regions("b") == []
    (faces,) = source.maps("a").values()
    assert (faces.dtype, faces.shape) == (np.float32, GRID)
    mni = source.mni("a")
    assert mni is not None
    assert mni[0, 0, 0].tolist() == [0, 0, 0]
    assert np.isnan(mni[1:]).all()
    by_affine = source.mni("b")
    assert by_affine is not None
    assert by_affine[1, 2, 1].tolist() == [2, 1, 4]
    replace(manifest, 'mni = "mni.nii"', "")
    assert open_source(folder).mni("a") is None


def test_absolute_paths_are_the_users_to_give(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for session in (1, 2):
        (folder / f"betas_{session:02d}.nii.gz").rename(elsewhere / f"betas_{session:02d}.nii.gz")
    replace(folder / "dataset.toml", "betas_*", f"{elsewhere}/betas_*")
    np.testing.assert_array_equal(open_source(folder).betas("b", 2), BETAS[2][MASK].T)


def test_fingerprints_follow_files_and_reading(folder: Path) -> None:
    def fingerprints() -> list[str]:
        source = open_source(folder)
        return [source.fingerprint("a", session) for session in (1, 2)]

    before = fingerprints()
    assert before == fingerprints()
    assert before[0] != before[1]
    replace(folder / "dataset.toml", "Tiny", "Tiny again")
    assert fingerprints() == before
    os.utime(folder / "two.npy", ns=(1, 1))
    after = fingerprints()
    assert after[0] == before[0]
    assert after[1] != before[1]
    replace(folder / "dataset.toml", "scale = 0.5", "scale = 0.25")
    assert not set(fingerprints()) & set(after)


def literal_response(series: np.ndarray, voxel: np.ndarray, start: int, stop: int) -> float:
    """One voxel's line taken off, in percent of its mean, averaged over [start, stop)."""
    values = series[tuple(voxel)].astype(float)
    slope, intercept = np.polyfit(np.arange(len(values)), values, 1)
    change = [
        100 * (value - slope * t - intercept) / values.mean() for t, value in enumerate(values)
    ]
    return sum(change[start:stop]) / (stop - start)


def test_blocks_of_a_time_series(tmp_path: Path) -> None:
    series = write_series_tree(tmp_path)
    source = open_source(tmp_path)
    trials = source.trials("a")
    assert trials.stimulus.tolist() == ["cat", "dog", "cat"]
    assert trials.session.tolist() == [1, 1, 2]
    assert trials.repeat.tolist() == [0, 0, 1]
    windows = {1: [(1, 3), (6, 9)], 2: [(5, 8)]}
    sessions = {1: series[..., :10], 2: series[..., 10:]}
    for session, blocks in windows.items():
        expected = [
            [literal_response(sessions[session], voxel, *block) for voxel in VOXELS]
            for block in blocks
        ]
        np.testing.assert_allclose(source.betas("a", session), expected, atol=1e-4)
    assert [one.fold for one in source.stimuli()] == ["train", "test"]
    assert not any(one.shared for one in source.stimuli())


def test_volumes_of_a_time_series_as_trials(tmp_path: Path) -> None:
    series = write_series_tree(tmp_path, unit="volume", lag=0)
    source = open_source(tmp_path)
    trials = source.trials("a")
    assert trials.stimulus.tolist() == ["cat"] * 2 + ["dog"] * 3 + ["cat"] * 3
    assert trials.repeat.tolist() == [0, 1, 0, 1, 2, 2, 3, 4]
    assert trials.session.tolist() == [1] * 5 + [2] * 3
    expected = [
        [literal_response(series[..., :10], voxel, volume, volume + 1) for voxel in VOXELS]
        for volume in (0, 1, 5, 6, 7)
    ]
    np.testing.assert_allclose(source.betas("a", 1), expected, atol=1e-4)


def test_one_file_a_session_is_the_same_as_one_for_all(tmp_path: Path) -> None:
    series = write_series_tree(tmp_path)
    whole = [open_source(tmp_path).betas("a", session) for session in (1, 2)]
    write_image(tmp_path / "run-1.nii", series[..., :10], AFFINE)
    write_image(tmp_path / "run-2.nii", series[..., 10:], AFFINE)
    replace(tmp_path / "dataset.toml", '"bold.nii.gz"\nvolumes = "volumes.csv"', '"run-?.nii"')
    parts = [open_source(tmp_path).betas("a", session) for session in (1, 2)]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_high_pass_changes_responses_and_fingerprints(tmp_path: Path) -> None:
    write_series_tree(tmp_path)
    before = open_source(tmp_path)
    replace(tmp_path / "dataset.toml", "lag = 1", "lag = 1\ntr = 2\nhigh_pass = 0.1")
    after = open_source(tmp_path)
    assert np.abs(after.betas("a", 1) - before.betas("a", 1)).max() > 0.1
    assert after.fingerprint("a", 1) != before.fingerprint("a", 1)

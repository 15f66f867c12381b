"""Each way a data set with a manifest can be wrong, refused in one line that names what is."""

from pathlib import Path

import numpy as np
import pytest

from flows.sources import check_source, open_source
from tests.flows.sources.faults import refused
from tests.flows.sources.manifest_tree import (
    AFFINE,
    BETAS,
    GRID,
    replace,
    write_manifest_tree,
    write_series_tree,
)
from tests.flows.sources.nsd_tree import write_hdf5_betas, write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_manifest_tree(tmp_path / "data")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series_tree(tmp_path / "series")
    return tmp_path / "series"


def fails(folder: Path, *words: str) -> None:
    """The whole check is refused with these words."""
    refused(folder.parent, lambda: check_source(open_source(folder)), *words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[dataset]", "[dataset", ["no valid TOML", "line 1"]),
        ("licence", "license", ["dataset.", "missing key"]),
        ('label = "b"', 'label = "b"\nmaskk = "m"', ["participants[0].maskk", "unknown key"]),
        ("[stimuli]", "[[stimuli]]", ["stimuli"]),
        ('slug = "tiny"', 'slug = "Tiny one"', ["dataset.slug"]),
        ('slug = "tiny"', "slug = 3", ["dataset.slug", "string"]),
        ('label = "a"', 'label = "b"', ["participant b stands twice"]),
        ('betas = "betas_*.nii.gz"', "", ["participants[0]", "either betas or timeseries"]),
        ("betas_*.nii.gz", "", ["participants[0].betas"]),
        ('axes = "TZYX"', 'axes = "TZYZ"', ["participants[1].axes", "TZYZ"]),
        ('axes = "TZYX"', "", ["one.h5", "a needs the key axes"]),
        ("scale = 0.5", 'scale = 0.5\nvolumes = "x"', ["participants[1]", "timeseries"]),
        ("scale = 0.5", 'mni = "x"\nspace = "MNI"', ["participants[1]", "either mni or space"]),
        ("scale = 0.5", 'dataset = "/other"', ["one.h5", "no dataset /other"]),
        ("betas_*.nii.gz", "nothing_*.nii.gz", ["b, session 1", "nothing_*"]),
        ("two.npy", "three.npy", ["three.npy", "no such file"]),
        ("mask.nii.gz", "../mask.nii.gz", ["'../mask.nii.gz' leads out"]),
        ("betas_*.nii.gz", "../betas_*.nii.gz", ["'../betas_*.nii.gz' leads out"]),
        ("stimuli.csv", "absent.csv", ["absent.csv", "no such file"]),
    ],
)
def test_a_faulty_manifest(folder: Path, old: str, new: str, words: list[str]) -> None:
    replace(folder / "dataset.toml", old, new)
    fails(folder, *words)


def test_a_manifest_that_is_no_text(folder: Path) -> None:
    (folder / "dataset.toml").write_bytes(b"\xff\xfe[dataset]")
    fails(folder, str(folder / "dataset.toml"), "line 1: ", "0xff is no UTF-8")


def test_atlases_and_labels_given_twice(folder: Path) -> None:
    manifest = folder / "dataset.toml"
    entry = 'regions = [{ atlas = "x", file = "mask.nii.gz" }]\n'
    whole = manifest.read_text()
    manifest.write_text(whole + entry.replace("[{", '[{ atlas = "x", file = "m" }, {'))
    fails(folder, "participants[1]", "atlas x stands twice")
    manifest.write_text(whole + entry.replace(" }", ", labels = { A = 1, B = 1 } }"))
    fails(folder, "regions[0].labels", "one value")
    manifest.write_text(whole + entry.replace(" }", ", labels = { A = 2 } }"))
    fails(folder, "mask.nii.gz", "label 1", "the labels of x", "dataset.toml")


def test_options_are_the_manifests(folder: Path) -> None:
    refused(folder, lambda: open_source(folder, sessions=2), "no option sessions")


def test_a_link_out_of_the_folder(folder: Path) -> None:
    (folder / "mask.nii.gz").rename(folder.parent / "mask.nii.gz")
    (folder / "mask.nii.gz").symlink_to(folder.parent / "mask.nii.gz")
    fails(folder, "'mask.nii.gz' leads out")
    replace(folder / "dataset.toml", "mask.nii.gz", str(folder.parent / "mask.nii.gz"))
    assert check_source(open_source(folder)).stimuli == 3


def test_a_gap_in_the_sessions(folder: Path) -> None:
    (folder / "betas_01.nii.gz").rename(folder / "betas_03.nii.gz")
    fails(folder, "b, session 1", "betas_*.nii.gz")
    (folder / "betas_03.nii.gz").rename(folder / "betas_00.nii.gz")
    write_image(folder / "betas_01.nii.gz", BETAS[1])
    fails(folder, "betas_00.nii.gz", "session 0 of b")
    (folder / "betas_00.nii.gz").rename(folder / "betas_x.nii.gz")
    fails(folder, "betas_x.nii.gz", "b", "no session number")
    (folder / "betas_x.nii.gz").rename(folder / "betas_1.nii.gz")
    fails(folder, "betas_1.nii.gz", "b", "no session number")


@pytest.mark.parametrize("change", [-1, 1])
def test_tables_and_betas_of_different_length(folder: Path, change: int) -> None:
    longer = np.concatenate([BETAS[1], BETAS[2]], axis=-1)[..., : 4 + change]
    write_hdf5_betas(folder / "one.h5", longer)
    fails(folder, "one.h5", f"{4 + change} betas", "4 trials", "of a, session 1")


def test_trials_of_a_session_without_betas(folder: Path) -> None:
    (folder / "trials.csv").write_text((folder / "trials.csv").read_text() + "cat,3\n")
    fails(folder, "trials.csv", "session 3 of a")


def test_grids_that_differ(folder: Path) -> None:
    write_image(folder / "betas_02.nii.gz", BETAS[2].transpose(1, 0, 2, 3), AFFINE)
    refused(folder, lambda: open_source(folder).trials("b"), "betas_02", "4x3x2", "3x4x2")
    refused(folder, lambda: open_source(folder).betas("b", 2), "betas_02", "4x3x2", "3x4x2")


@pytest.mark.parametrize("key", ['regions = [{ atlas = "x", file = "x.nii" }]', "maps.x='x.nii'"])
def test_images_on_another_grid(folder: Path, key: str) -> None:
    write_image(folder / "x.nii", np.ones((4, 3, 2), np.uint8))
    manifest = folder / "dataset.toml"
    manifest.write_text(f"{manifest.read_text()}{key}\n")
    fails(folder, "x.nii", "4x3x2", "a have 3x4x2")


def test_an_empty_mask(folder: Path) -> None:
    write_image(folder / "mask.nii.gz", np.zeros(GRID, np.uint8))
    fails(folder, "mask.nii.gz", "mask of a is empty")


def test_truncated_betas(folder: Path) -> None:
    path = folder / "one.h5"
    path.write_bytes(path.read_bytes()[:3000])
    fails(folder, str(path), "HDF5", "truncated")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("stimulus\ncat\n", ["no column session"]),
        ("stimulus,session\n", ["no trials"]),
        ("stimulus,session\n" + "cat,0\n" * 8, ["line 2", "session is 0", "1"]),
        ("stimulus,session\n,1\n", ["line 2", "stimulus is empty"]),
        ("stimulus,session,fold\ncat,1,exam\n", ["line 2", "fold is 'exam'"]),
        ("stimulus,session,fold\ncat,1,test\ncat,1,train\n", ["line 3", "cat", "test", "train"]),
    ],
)
def test_a_faulty_table_of_trials(folder: Path, content: str, words: list[str]) -> None:
    (folder / "trials.csv").write_text(content)
    fails(folder, str(folder / "trials.csv"), *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("key\ncat\n", ["no column stimulus"]),
        ("stimulus\ncat\ndog\n", ["no stimulus owl"]),
        ("stimulus\ncat\ncat\n", ["line 3", "cat stands twice"]),
        ("stimulus,shared\ncat,maybe\n", ["line 2", "shared is 'maybe'"]),
        ("stimulus,fold\ncat,train\ndog,test\nowl,\n", ["owl has no fold"]),
        ("stimulus,image\ncat,../cat.png\ndog,\nowl,\n", ["'../cat.png' leads out"]),
        ("stimulus,image\ncat,/etc/hostname\ndog,\nowl,\n", ["'/etc/hostname' leads out"]),
        ("stimulus,image\ncat,cat.png\ndog,\nowl,\n", ["cat.png", "no such file"]),
        ("stimulus,image\ncat,trials.csv\ndog,\nowl,\n", ["trials.csv", "no picture that can"]),
    ],
)
def test_a_faulty_table_of_stimuli(folder: Path, content: str, words: list[str]) -> None:
    (folder / "stimuli.csv").write_text(content)
    fails(folder, *words)


def test_tables_that_disagree_on_a_fold(folder: Path) -> None:
    (folder / "stimuli.csv").write_text("stimulus,fold\ncat,train\ndog,test\nowl,test\n")
    rows = (folder / "trials.csv").read_text().splitlines()
    folds = [row + (",test" if "cat" in row else ",") for row in rows[1:]]
    (folder / "trials.csv").write_text("\n".join([rows[0] + ",fold", *folds]) + "\n")
    fails(folder, "trials.csv", "cat is in fold test, elsewhere in train")


def test_participants_sessions_and_stimuli_that_are_not_there(folder: Path) -> None:
    source = open_source(folder)
    refused(folder, lambda: source.grid("c"), "no participant c")
    refused(folder, lambda: source.betas("a", 3), "a has no session 3")
    refused(folder, lambda: source.fingerprint("a", 0), "a has no session 0")
    refused(folder, lambda: source.image("emu"), "stimuli.csv", "no stimulus emu")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('[timeseries]\nunit = "block"\nlag = 1\n', "", ["need a [timeseries] table"]),
        ("lag = 1", "", ["timeseries.lag", "missing key"]),
        ("lag = 1", "lag = -1", ["timeseries.lag"]),
        ("lag = 1", "lag = 1\nhigh_pass = 0.01", ["timeseries", "high_pass needs tr"]),
        ("lag = 1", "lag = 1\ntr = 2\nhigh_pass = 2", ["a, session 1", "10 volumes", "drifts"]),
        ("lag = 1", "lag = 2", ["trials.csv", "of a, session 2", "volume 9", "has 8"]),
        ('label = "a"', 'label = "a"\nscale = 2', ["participants[0]", "scale goes with betas"]),
    ],
)
def test_a_faulty_manifest_of_time_series(
    series: Path, old: str, new: str, words: list[str]
) -> None:
    replace(series / "dataset.toml", old, new)
    fails(series, *words)


@pytest.mark.parametrize(
    ("sessions", "words"),
    [
        (["1"] * 10 + ["2"] * 7, ["17 volumes", "of a have 18"]),
        (["1"] * 9 + ["2"] * 8 + ["1"], ["line 19", "session 1 of a goes on after a break"]),
        (["0"] * 10 + ["2"] * 8, ["line 2", "session is 0"]),
    ],
)
def test_a_faulty_table_of_volumes(series: Path, sessions: list[str], words: list[str]) -> None:
    (series / "volumes.csv").write_text("\n".join(["session", *sessions]) + "\n")
    fails(series, str(series / "volumes.csv"), *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("session,stimulus,volume\n1,cat,0\n", ["no column duration"]),
        ("session,stimulus,volume,duration\n1,cat,-1,2\n", ["line 2", "volume is -1"]),
        ("session,stimulus,volume,duration\n1,cat,0,0\n", ["line 2", "duration is 0"]),
        ("session,stimulus,volume,duration\n4,cat,0,2\n", ["session 4 of a", "no data"]),
    ],
)
def test_a_faulty_table_of_blocks(series: Path, content: str, words: list[str]) -> None:
    (series / "trials.csv").write_text(content)
    fails(series, str(series / "trials.csv"), *words)

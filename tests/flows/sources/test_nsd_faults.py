"""Each way an NSD tree can be wrong, refused in one line that names what is."""

from collections.abc import Callable

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from flows.sources import check_source, open_source
from flows.sources.base import Source
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import (
    GRIDS,
    IMAGES,
    ORDER,
    SHARED,
    TRIALS_PER_SESSION,
    NsdTree,
    write_design,
    write_hdf5_betas,
    write_image,
)


def opened(tree: NsdTree, **options: object) -> Source:
    return open_source(tree.root, trials_per_session=TRIALS_PER_SESSION, **options)


def fails(tree: NsdTree, *words: str, **options: object) -> None:
    """The whole check is refused with these words."""
    refused(tree.root, lambda: check_source(opened(tree, **options)), *words)


def betas(tree: NsdTree) -> np.ndarray:
    return tree.betas["subj01", 2]


def write(tree: NsdTree, values: np.ndarray, name: str = "betas") -> None:
    write_hdf5_betas(tree.session("subj01", 2), values, name)


def test_a_gap_in_the_sessions(tree: NsdTree) -> None:
    tree.session("subj01", 1).unlink()
    fails(tree, "subj01", "session 1", "betas_session01.hdf5")


def test_sessions_that_are_not_there(tree: NsdTree) -> None:
    fails(tree, "subj01", "session 3", sessions=3)
    fails(tree, "subj02", "session 5", sessions={"subj02": [1, 5]})
    source = opened(tree)
    refused(tree.root, lambda: source.betas("subj01", 9), "subj01", "no session 9")
    refused(tree.root, lambda: source.fingerprint("subj01", 9), "subj01", "no session 9")


def test_no_sessions_at_all(tree: NsdTree) -> None:
    fails(tree, "func1mm/betas_assumehrf", "session 1", betas="func1mm/betas_assumehrf")


def test_truncated_hdf5(tree: NsdTree) -> None:
    path = tree.session("subj01", 2)
    path.write_bytes(path.read_bytes()[:3000])
    fails(tree, str(path), "HDF5", "truncated")


def test_hdf5_that_is_none(tree: NsdTree) -> None:
    tree.session("subj01", 2).write_text("<html>404</html>")
    fails(tree, str(tree.session("subj01", 2)), "cannot be read as HDF5")


def test_hdf5_without_betas(tree: NsdTree) -> None:
    write(tree, betas(tree), "data")
    fails(tree, str(tree.session("subj01", 2)), "no dataset /betas")


def test_betas_of_wrong_rank(tree: NsdTree) -> None:
    with h5py.File(tree.session("subj01", 2), "w") as file:
        file["betas"] = np.zeros((6, 10), np.int16)
    fails(tree, str(tree.session("subj01", 2)), "2 axes of shape 6x10", "4")


@pytest.mark.parametrize("change", [-1, 1])
def test_betas_and_design_of_different_length(tree: NsdTree, change: int) -> None:
    values = betas(tree)
    longer = np.concatenate([values, values], axis=-1)[..., : TRIALS_PER_SESSION + change]
    write(tree, longer)
    fails(tree, "betas_session02", f"{6 + change} betas", "6 trials", "subj01", "session 2")


def test_design_that_ends_before_the_betas(tree: NsdTree) -> None:
    write_design(tree.design, order=ORDER[:10])
    fails(tree, "betas_session02", "6 betas", "4 trials", "subj01", "session 2")


def test_betas_with_axes_mixed_up(tree: NsdTree) -> None:
    write(tree, betas(tree).transpose(2, 1, 0, 3))
    fails(tree, "betas_session02", "grid 5x6x7", "subj01", "7x6x5")


@pytest.mark.parametrize("name", ["roi/floc-faces", "roi/nsdgeneral", "floc_facestval"])
def test_images_on_another_grid(tree: NsdTree, name: str) -> None:
    path = tree.functional("subj02") / f"{name}.nii.gz"
    write_image(path, np.zeros((8, 5, 3), np.int16))
    fails(tree, str(path), "8x5x3", "subj02", "5x8x3")


def test_a_mask_image_on_another_grid(tree: NsdTree) -> None:
    path = tree.prepared("subj01") / "ncsnr.nii.gz"
    write_image(path, np.ones((5, 6, 7), np.float32))
    fails(tree, str(path), "5x6x7", "subj01", "7x6x5")


@pytest.mark.parametrize("value", [0, np.nan])
def test_an_empty_mask(tree: NsdTree, value: float) -> None:
    path = tree.prepared("subj01") / "ncsnr.nii.gz"
    write_image(path, np.full(GRIDS["subj01"], value, np.float32))
    fails(tree, str(path), "mask of subj01 is empty")


def test_ids_that_count_from_0(tree: NsdTree) -> None:
    write_design(tree.design, order=[number - 1 for number in ORDER])
    fails(tree, "nsd_expdesign.mat", "masterordering holds 0", "least id is 1")
    write_design(tree.design, images=[[0, *IMAGES[0][1:]], IMAGES[1]])
    fails(tree, "nsd_expdesign.mat", "subjectim holds 0", "least id is 1")
    write_design(tree.design, shared=[0])
    fails(tree, "nsd_expdesign.mat", "sharedix holds 0", "least id is 1")


def test_ids_out_of_range(tree: NsdTree) -> None:
    write_design(tree.design, order=[*ORDER[:-1], 5])
    fails(tree, "nsd_expdesign.mat", "masterordering holds 5", "4")
    write_design(tree.design, images=[IMAGES[0], [11, *IMAGES[1][1:]]])
    fails(tree, "nsd_expdesign.mat", "subjectim holds 11", "10", "nsd_stimuli.hdf5")
    tree.pictures.unlink()
    fails(tree, "nsd_stim_info_merged.csv", "nsd00010")
    write_design(tree.design, images=[IMAGES[0], [73001, *IMAGES[1][1:]]])
    fails(tree, "nsd_expdesign.mat", "subjectim holds 73001", "73000")


def test_ids_that_are_no_whole_numbers(tree: NsdTree) -> None:
    content = {"masterordering": [ORDER], "subjectim": np.array(IMAGES) + 0.5, "sharedix": [SHARED]}
    savemat(tree.design, content)
    fails(tree, "nsd_expdesign.mat", "subjectim holds no whole numbers")
    savemat(tree.design, {**content, "subjectim": np.array(IMAGES) * np.inf})
    fails(tree, "nsd_expdesign.mat", "subjectim holds no whole numbers")


@pytest.mark.parametrize("content", [b"", b"no matlab", b"\x00" * 600])
def test_a_design_that_is_none(tree: NsdTree, content: bytes) -> None:
    tree.design.write_bytes(content)
    fails(tree, str(tree.design), "MATLAB")


def test_a_truncated_design(tree: NsdTree) -> None:
    tree.design.write_bytes(tree.design.read_bytes()[:250])
    fails(tree, str(tree.design), "MATLAB")


def test_a_design_without_its_variables(tree: NsdTree) -> None:
    savemat(tree.design, {"masterordering": [ORDER], "subjectim": IMAGES})
    fails(tree, str(tree.design), "no variable sharedix")
    tree.design.unlink()
    fails(tree, str(tree.design), "no such file")


def test_a_participant_the_design_does_not_know(tree: NsdTree) -> None:
    tree.prepared("subj02").parents[1].rename(tree.prepared("subj02").parents[1].parent / "subj03")
    fails(tree, "nsd_expdesign.mat", "2 rows", "subj03")


def test_a_region_that_the_colour_table_lacks(tree: NsdTree) -> None:
    table = tree.labels("subj02") / "prf-visualrois.mgz.ctab"
    table.write_text("0 Unknown\n1 V1v\n")
    fails(tree, "lh.prf-visualrois.nii.gz", "label 2", str(table))


def test_an_atlas_without_names(tree: NsdTree) -> None:
    (tree.labels("subj02") / "floc-faces.mgz.ctab").unlink()
    fails(tree, "floc-faces.nii.gz", "label 2 has no name", "floc-faces has no label table")


def test_participants_and_atlases_that_are_not_there(tree: NsdTree) -> None:
    fails(tree, "no participant subj07", participants=["subj07"])
    fails(tree, "subj01", "twice", participants=["subj01", "subj02", "subj01"])
    fails(tree, "no atlas streams", atlases=["streams"])
    source = opened(tree, participants=["subj01"])
    asked: list[Callable[[str], object]] = [source.grid, source.mask, source.trials, source.betas]
    for ask in asked[:3]:
        refused(tree.root, lambda ask=ask: ask("subj02"), "no participant subj02")


def test_options_that_are_unknown_or_wrong(tree: NsdTree) -> None:
    fails(tree, "session: unknown key", session=3)
    fails(tree, "sessions", sessions=0)
    fails(tree, "sessions", sessions=[])


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_pictures_of_another_kind(tree: NsdTree, kind: type) -> None:
    with h5py.File(tree.pictures, "a") as file:
        del file["imgBrick"]
        file["imgBrick"] = np.zeros((20, 4, 6, 3), kind)
    source = open_source(tree.root, trials_per_session=TRIALS_PER_SESSION)
    words = (str(tree.pictures), f"imgBrick holds {np.dtype(kind)} of shape 20x4x6x3")
    refused(tree.root, lambda: source.image("nsd00006"), *words)


def test_a_stimulus_table_that_counts_from_1(tree: NsdTree) -> None:
    lines = tree.stim_info.read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    shifted = [",".join([*row[:3], str(int(row[3]) + 1), row[4]]) for row in rows]
    tree.stim_info.write_text("\n".join([lines[0], *shifted]))
    fails(tree, "nsd_stim_info_merged.csv", "nsdId", "from 0")
    tree.stim_info.write_text("cocoId,nsd\n1,2\n")
    fails(tree, "nsd_stim_info_merged.csv", "no column nsdId")


def test_captions_that_are_not_there(tree: NsdTree) -> None:
    missing = tree.root / "captions.json"
    fails(tree, str(missing), "no such file", captions=[missing])


def test_pictures_that_are_none(tree: NsdTree) -> None:
    source = opened(tree)
    for key in ("nsd00010", "face", "nsd-0001"):
        refused(tree.root, lambda key=key: source.image(key), "nsd_stimuli.hdf5", key)
    with h5py.File(tree.pictures, "w") as file:
        file["images"] = np.zeros((10, 4, 4, 3), np.uint8)
    fails(tree, "nsd_stimuli.hdf5", "no dataset imgBrick")


def test_no_image_gives_the_affine(tree: NsdTree) -> None:
    folder = tree.prepared("subj01")
    (folder / "ncsnr.nii.gz").unlink()
    for path in (tree.functional("subj01") / "roi").iterdir():
        path.unlink()
    fails(tree, str(folder), "subj01", "affine")

from itertools import permutations
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.volumes import Series, default_axes, read_volume
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import write_hdf5_betas, write_image

GRID = (4, 3, 5)
LENGTH = 6
RNG = np.random.default_rng(0)
VALUES = RNG.integers(-999, 999, (*GRID, LENGTH), dtype=np.int16)
MASK = RNG.random(GRID) < 0.5


def literal(values: np.ndarray, mask: np.ndarray) -> list[list[float]]:
    """One list a volume, its voxels by x, then y, then z."""
    return [
        [
            values[x, y, z, t]
            for x in range(mask.shape[0])
            for y in range(mask.shape[1])
            for z in range(mask.shape[2])
            if mask[x, y, z]
        ]
        for t in range(values.shape[3])
    ]


def test_hdf5_as_matlab_writes_it_and_nifti_give_the_same(tmp_path: Path) -> None:
    write_hdf5_betas(tmp_path / "b.hdf5", VALUES)
    write_image(tmp_path / "b.nii.gz", VALUES)
    hdf5, nifti = Series(tmp_path / "b.hdf5", "TZYX"), Series(tmp_path / "b.nii.gz", "XYZT")
    assert hdf5.size() == nifti.size() == (LENGTH, GRID)
    assert hdf5.read(MASK).tolist() == nifti.read(MASK).tolist() == literal(VALUES, MASK)
    assert hdf5.read(MASK).dtype == np.int16
    assert hdf5.read(MASK, 2, 5).tolist() == nifti.read(MASK, 2, 5).tolist()
    assert hdf5.read(MASK, 2, 5).tolist() == literal(VALUES, MASK)[2:5]


@pytest.mark.parametrize("axes", ["".join(order) for order in permutations("TXYZ")])
@pytest.mark.parametrize("suffix", ["h5", "npy"])
def test_every_order_of_axes_is_read_alike(tmp_path: Path, axes: str, suffix: str) -> None:
    path = tmp_path / f"b.{suffix}"
    stored = VALUES.transpose(["XYZT".index(axis) for axis in axes])
    if suffix == "npy":
        np.save(path, stored)
    else:
        with h5py.File(path, "w") as file:
            file["group/x"] = stored
    series = Series(path, axes, "/group/x")
    assert series.size() == (LENGTH, GRID)
    assert series.read(MASK, 1, 4).tolist() == literal(VALUES, MASK)[1:4]


@pytest.mark.parametrize("axes", ["TV", "VT"])
def test_masked_voxels_are_read_as_they_are(tmp_path: Path, axes: str) -> None:
    stored = np.array(literal(VALUES, MASK), np.float32)
    stored[0, 0] = np.nan
    np.save(tmp_path / "b.npy", stored if axes == "TV" else stored.T)
    series = Series(tmp_path / "b.npy", axes)
    np.testing.assert_array_equal(series.read(MASK, 0, 2), stored[:2])
    other = MASK.copy()
    other[np.nonzero(MASK)[0][0]] = False
    refused(tmp_path, lambda: series.read(other), "b.npy", f"grid {MASK.sum()} voxels")


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 4), st.integers(0, 2**32 - 1))
def test_any_grid_and_mask(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values, mask = rng.integers(0, 99, shape, dtype=np.int16), rng.random(shape[:3]) < 0.5
    path = tmp_path_factory.mktemp("any") / "b.hdf5"
    write_hdf5_betas(path, values)
    assert Series(path, "TZYX").read(mask).tolist() == literal(values, mask)


def test_a_grid_other_than_the_masks_is_refused(tmp_path: Path) -> None:
    write_hdf5_betas(tmp_path / "b.hdf5", VALUES)
    series = Series(tmp_path / "b.hdf5", "TXYZ")
    refused(tmp_path, lambda: series.read(MASK), "b.hdf5", "grid 5x3x4", "mask has 4x3x5")
    refused(tmp_path, lambda: series.require_mask(MASK), "b.hdf5", "5x3x4")


def _damaged(folder: Path, kind: str) -> Path:
    path = folder / f"b.{kind}"
    if kind == "npy":
        np.save(path, RNG.random((LENGTH, *GRID)))
    elif kind == "hdf5":
        write_hdf5_betas(path, VALUES)
    else:
        write_image(path, VALUES)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


@pytest.mark.parametrize("kind", ["hdf5", "nii.gz", "nii", "npy"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = _damaged(tmp_path, kind)
    series = Series(path, "XYZT" if kind.startswith("nii") else "TZYX")
    refused(tmp_path, lambda: series.read(MASK), str(path), "cannot be read as")


@pytest.mark.parametrize("name", ["b.hdf5", "b.nii.gz", "b.nii", "b.npy", "b.txt"])
@pytest.mark.parametrize("content", [b"", b"no volumes at all" * 50])
def test_a_foreign_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    refused(tmp_path, lambda: Series(path, "TZYX").size(), str(path))
    if "nii" in name:
        refused(tmp_path, lambda: read_volume(path), str(path), "cannot be read as NIfTI")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "b.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    refused(tmp_path, lambda: Series(path, "TV").size(), str(path), "npy")
    refused(tmp_path, lambda: default_axes(path), str(path), "npy")


def test_hdf5_without_the_dataset_or_of_wrong_rank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.hdf5"
    with h5py.File(path, "w") as file:
        file["other"] = np.zeros(3)
        file["group/betas"] = np.zeros((2, 2))
        file["words"] = np.array([b"a"])
    error = refused(tmp_path, lambda: Series(path, "TZYX").size(), str(path), "no dataset /betas")
    assert "other" in error.hint
    refused(tmp_path, lambda: Series(path, "TZYX", "/group").size(), "no dataset /group")
    refused(tmp_path, lambda: Series(path, "TZYX", "/words").size(), "no numbers")
    refused(
        tmp_path, lambda: Series(path, "TZYX", "/group/betas").size(), "2 axes of shape 2x2", "4"
    )


def test_volumes_keep_type_and_affine(tmp_path: Path) -> None:
    affine = np.diag([2.0, 3, 4, 1])
    path = tmp_path / "roi.nii.gz"
    write_image(path, VALUES[..., :1], affine)
    values, read = read_volume(path)
    assert values.dtype == np.int16
    np.testing.assert_array_equal(values, VALUES[..., 0])
    np.testing.assert_array_equal(read.affine, affine)
    assert (read.shape, read.path, read.known) == (GRID, path, True)
    refused(tmp_path, lambda: read_volume(path.with_name("absent.nii")), "no such file")
    write_image(path, VALUES, affine)
    refused(tmp_path, lambda: read_volume(path), str(path), "4x3x5x6", "expected 3 axes")


def test_a_headers_scale_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, np.eye(4))
    image.header.set_slope_inter(0.5, 1)
    nibabel.save(image, tmp_path / "b.nii")
    read = Series(tmp_path / "b.nii", "XYZT").read(MASK)
    stored = nibabel.load(tmp_path / "b.nii").get_fdata()
    np.testing.assert_allclose(read, literal(stored, MASK))
    assert read.dtype.kind == "f"

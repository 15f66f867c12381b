"""Images voxel on voxel, against voxels that are looked up one by one by their millimetres."""

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest

from flows.sources.base import Grid
from flows.sources.grids import labels_onto, onto, require_alike
from flows.sources.volumes import Series, image_grid, read_volume
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import write_image

SHAPE = (4, 3, 2)
# Oblique by some degrees, as scanners' grids are.
TURN = np.array([[0.99, -0.1, 0.05], [0.1, 0.99, 0.02], [-0.05, -0.02, 0.99]])
AFFINE = np.eye(4)
AFFINE[:3, :3] = TURN * [2, 3, 4]
AFFINE[:3, 3] = -5, 7, 11
VALUES = np.arange(24, dtype=np.int16).reshape(SHAPE)
ORDERS = [
    (axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)
]


def stored(
    axes: tuple[int, ...], flips: tuple[bool, ...], values: np.ndarray = VALUES
) -> tuple[np.ndarray, np.ndarray]:
    """The same image stored otherwise: its axis a is axis axes[a] of `VALUES`, flipped or not."""
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    other = values.transpose(*axes, *range(3, values.ndim))[steps]
    back = np.zeros((4, 4))
    back[3, 3] = 1
    for axis, (own, flip) in enumerate(zip(axes, flips, strict=True)):
        back[own, axis] = -1 if flip else 1
        back[own, 3] = SHAPE[own] - 1 if flip else 0
    return other, AFFINE @ back


def by_millimetres(values: np.ndarray, affine: np.ndarray, target: Grid) -> np.ndarray:
    """The value at the voxel of `values` that is within 0.1 mm of each target voxel."""
    places = {
        index: affine[:3, :3] @ index + affine[:3, 3] for index in np.ndindex(values.shape[:3])
    }
    found = np.empty(target.shape, values.dtype)
    for index in np.ndindex(target.shape):
        mm = target.places(np.array(index))
        (match,) = [own for own, place in places.items() if np.linalg.norm(place - mm) < 0.1]
        found[index] = values[match]
    return found


@pytest.mark.parametrize(("axes", "flips"), ORDERS)
def test_every_order_and_direction_of_axes_is_one_image(
    tmp_path: Path, axes: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    values, affine = stored(axes, flips)
    path = tmp_path / "x.nii"
    write_image(path, values, affine)
    target = Grid(SHAPE, AFFINE)
    read, own = read_volume(path)
    found = onto(read, own, target, "sub-01")
    np.testing.assert_array_equal(found, VALUES)
    np.testing.assert_array_equal(found, by_millimetres(values, affine, target))


@pytest.mark.parametrize(("axes", "flips"), ORDERS)
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_series_are_read_onto_the_grid(
    tmp_path: Path, axes: tuple[int, ...], flips: tuple[bool, ...], suffix: str
) -> None:
    volumes = np.random.default_rng(3).normal(size=(*SHAPE, 5)).astype(np.float32)
    values, affine = stored(axes, flips, volumes)
    path = tmp_path / f"x.{suffix}"
    write_image(path, values, affine)
    mask = np.random.default_rng(4).random(SHAPE) < 0.5
    series = Series(path, "XYZT").on(Grid(SHAPE, AFFINE), "sub-01")
    assert series.size() == (5, SHAPE)
    np.testing.assert_array_equal(series.read(mask), volumes[mask].T)
    np.testing.assert_array_equal(series.read(mask, 1, 3), volumes[mask].T[1:3])
    np.testing.assert_array_equal(series.probe(mask), volumes[mask].T[:1])


def test_another_place_is_refused_and_both_files_are_named(tmp_path: Path) -> None:
    target = Grid(SHAPE, AFFINE, tmp_path / "mask.nii")
    for name, affine in {"turned": AFFINE @ np.diag([1, 1.1, 1, 1]), "moved": AFFINE + 0.2}.items():
        write_image(tmp_path / f"{name}.nii", VALUES, affine)
        values, own = read_volume(tmp_path / f"{name}.nii")
        refused(
            tmp_path,
            lambda values=values, own=own: onto(values, own, target, "sub-01"),
            f"{name}.nii",
            "mask.nii of sub-01",
        )
    # By rounding of headers nothing is refused.
    write_image(tmp_path / "near.nii", VALUES, AFFINE + 1e-3)
    values, own = read_volume(tmp_path / "near.nii")
    np.testing.assert_array_equal(onto(values, own, target, "sub-01"), VALUES)


def test_labels_are_resampled_where_that_is_asked_for(tmp_path: Path) -> None:
    """An atlas of 1 mm voxels beside a grid of 2 mm: the nearest voxel, 0 outside."""
    fine = np.zeros((6, 6, 6), np.int16)
    fine[:3] = 1
    fine[3:, :3] = 2
    target = Grid((4, 4, 2), np.diag([2.0, 2, 2, 1]), tmp_path / "mask.nii")
    source = Grid((6, 6, 6), np.eye(4), tmp_path / "atlas.nii")
    refused(
        tmp_path,
        lambda: labels_onto(fine, source, target, "sub-01", resample=False),
        "atlas.nii",
        "6x6x6",
        "mask.nii",
    )
    found = labels_onto(fine, source, target, "sub-01", resample=True)
    expected = np.zeros((4, 4, 2), np.int16)
    for i, j, k in np.ndindex(4, 4, 2):
        if 2 * i < 6 and 2 * j < 6 and 2 * k < 6:
            expected[i, j, k] = fine[2 * i, 2 * j, 2 * k]
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == {0, 1, 2}


def _without_place(path: Path, values: np.ndarray) -> None:
    image = nibabel.Nifti1Image(values, None)
    image.header.set_zooms((2.0, 3.0, 4.0))
    nibabel.save(image, path)


def test_what_tells_no_place(tmp_path: Path) -> None:
    _without_place(tmp_path / "one.nii", VALUES)
    _without_place(tmp_path / "two.nii", VALUES)
    one, two = (image_grid(tmp_path / f"{name}.nii") for name in ("one", "two"))
    assert not one.known
    # Neither tells: they are stored alike, as far as anybody knows.
    assert require_alike(one, two, "sub-01").axes == (0, 1, 2)
    told = Grid(SHAPE, AFFINE, tmp_path / "mask.nii")
    for source, target in ((one, told), (told, one)):
        refused(
            tmp_path,
            lambda source=source, target=target: require_alike(source, target, "sub-01"),
            "one.nii does not tell where it lies",
            "mask.nii",
            "left and right",
        )
    refused(
        tmp_path,
        lambda: labels_onto(VALUES, one, told, "sub-01", resample=True),
        "does not tell where it lies",
    )
    # What a program read without a place and wrote again has the affine that nibabel made up.
    write_image(tmp_path / "again.nii", VALUES, one.affine)
    again = image_grid(tmp_path / "again.nii")
    assert again.known
    assert require_alike(one, again, "sub-01").flipped == (False, False, False)

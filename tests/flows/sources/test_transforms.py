from pathlib import Path

import nibabel
import numpy as np

from flows.sources.base import Grid
from flows.sources.transforms import MNI_SHAPE, grid_coordinates, read_mni
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import write_image

GRID = Grid((3, 4, 2), np.diag([1.8, 1.8, 1.8, 1]))


def test_mni_voxels_on_the_participants_grid(tmp_path: Path) -> None:
    """By hand: the origin is voxel (91, 127, 73), 1-based, and x falls as i rises."""
    values = np.full((*GRID.shape, 3), 9999, np.float32)
    values[0, 0, 0] = 91, 127, 73
    values[1, 2, 1] = 51, 67.5, 60
    values[2, 3, 0] = 50, 9999, 60
    path = tmp_path / "MNI-to-func1pt8.nii.gz"
    write_image(path, values)
    mni = read_mni(path, GRID, "subj01")
    assert mni.dtype == np.float32
    assert mni[0, 0, 0].tolist() == [0, 0, 0]
    assert mni[1, 2, 1].tolist() == [40, -59.5, -13]
    known = np.isfinite(mni).any(axis=-1)
    assert np.argwhere(known).tolist() == [[0, 0, 0], [1, 2, 1]]


def test_participants_voxels_on_the_mni_grid_are_inverted(tmp_path: Path) -> None:
    """A voxel lies at the mean of the MNI voxels that are nearest to it; ids are 1-based."""
    values = np.full((*MNI_SHAPE, 3), 9999, np.float32)
    values[90, 126, 72] = 1, 1, 1
    values[92, 126, 72] = 1.4, 1, 0.6
    values[50, 100, 80] = 3, 4, 2
    values[51, 100, 80] = 3.6, 4, 2
    values[52, 100, 80] = 0.4, 1, 1
    values[53, 100, 80] = 2, 9999, 1
    path = tmp_path / "func1pt8-to-MNI.nii"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    mni = read_mni(path, GRID, "subj01")
    assert mni.shape == (*GRID.shape, 3)
    assert mni[0, 0, 0].tolist() == [-1, 0, 0]
    assert mni[2, 3, 1].tolist() == [40, -26, 8]
    assert np.isfinite(mni).all(axis=-1).sum() == 2


def test_both_directions_of_one_transform_agree(tmp_path: Path) -> None:
    """Func voxels 2 mm apart along an oblique line of MNI voxels, written both ways."""
    to_func = np.full((*GRID.shape, 3), 9999, np.float32)
    to_mni = np.full((*MNI_SHAPE, 3), 9999, np.float32)
    for voxel in np.ndindex(GRID.shape):
        target = np.array([60, 70, 80]) + 2 * np.array(voxel)
        to_func[voxel] = target + 1
        to_mni[tuple(target)] = np.array(voxel) + 1
    write_image(tmp_path / "a.nii", to_func)
    write_image(tmp_path / "b.nii", to_mni)
    expected = read_mni(tmp_path / "a.nii", GRID, "subj01")
    np.testing.assert_array_equal(read_mni(tmp_path / "b.nii", GRID, "subj01"), expected)


def test_an_image_on_neither_grid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.nii"
    for shape in ((4, 3, 2, 3), (3, 4, 2, 2)):
        write_image(path, np.zeros(shape, np.float32))
        refused(tmp_path, lambda: read_mni(path, GRID, "subj01"), str(path), "3x4x2x3", "subj01")


def test_coordinates_by_the_affine() -> None:
    affine = np.array([[0, -2.0, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    mm = grid_coordinates(Grid((2, 3, 4), affine))
    assert mm.shape == (2, 3, 4, 3)
    assert mm[1, 2, 3].tolist() == [1, 9, 19]

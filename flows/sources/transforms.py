"""MNI coordinates of voxels, from NSD's coordinate images.

NSD's transforms (`nsddata/ppdata/subjXX/transforms/A-to-B.nii.gz`) lie on the grid of space B and
hold, for each of its voxels, the 1-based voxel coordinates in space A; 9999 marks the invalid ones.
MNI voxels are those of FSL's MNI152_T1_1mm (182 x 218 x 182), stored from right to left: the origin
is voxel (91, 127, 73), 1-based (cvnlab/nsdcode, comments of `matlab/nsd_mapdata.m`; it flips the
first axis only when it writes a result). Hence, 0-based, x = 90 - i, y = j - 126, z = k - 72.
Functional grids are stored from left to right.
"""

from pathlib import Path

import numpy as np

from app.errors import InputError
from flows.sources.base import Grid
from flows.sources.grids import axis_change
from flows.sources.volumes import describe, read_volume

MNI_SHAPE = (182, 218, 182)
MNI_AFFINE = np.array(
    [[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]], dtype=np.float64
)
INVALID = 9999


def apply_affine(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Millimetres of 0-based voxel indices: (4, 4) and (..., 3) to (..., 3)."""
    mm: np.ndarray = index @ affine[:3, :3].T + affine[:3, 3]
    return mm


def grid_coordinates(grid: Grid) -> np.ndarray:
    """The affine's mm of every voxel, float32 (X, Y, Z, 3)."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return grid.places(index).astype(np.float32)


def read_mni(path: Path, grid: Grid, participant: str) -> np.ndarray:
    """MNI mm of every voxel of the participant's grid.

    Parameters
    ----------
    path : Path
        A coordinate image: on the participant's grid with MNI voxels in it
        (`MNI-to-func1pt8`), or on the MNI grid with the participant's voxels in it
        (`func1pt8-to-MNI`). The latter is inverted: a voxel lies at the mean of the MNI voxels
        that are nearest to it.

    Returns
    -------
    np.ndarray
        float32 (X, Y, Z, 3), NaN where the transform is invalid or says nothing.

    Raises
    ------
    InputError
        The image lies on neither grid or does not hold three coordinates a voxel.
    """
    values, own = read_volume(path, axes=4)
    if own.shape != MNI_SHAPE and own.known and grid.known:
        # By direction alone: NSD's headers put the middle of the grid or of the head at 0 mm.
        values = axis_change(own, grid).apply(values)
    shape = values.shape[:3]
    if values.shape[3] != 3 or shape not in (grid.shape, MNI_SHAPE):
        raise InputError(
            f"{path}: shape {describe(values.shape)}, expected {describe(grid.shape)}x3 (the grid "
            f"of {participant}) or {describe(MNI_SHAPE)}x3 (MNI)",
            hint="give the transform of this functional space",
        )
    valid = (np.isfinite(values) & (values != INVALID)).all(axis=-1)
    if shape == grid.shape:
        mm = apply_affine(MNI_AFFINE, values.astype(np.float64) - 1)
        mm[~valid] = np.nan
        return mm.astype(np.float32)
    return _invert(values, valid, grid.shape)


def _invert(values: np.ndarray, valid: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    nearest = np.rint(values[valid].astype(np.float64) - 1).astype(np.int64)
    inside = ((nearest >= 0) & (nearest < grid)).all(axis=1)
    voxel = np.ravel_multi_index(tuple(nearest[inside].T), grid)
    mm = apply_affine(MNI_AFFINE, np.argwhere(valid)[inside])
    size = int(np.prod(grid))
    count = np.bincount(voxel, minlength=size)
    sums = [np.bincount(voxel, weights=mm[:, axis], minlength=size) for axis in range(3)]
    with np.errstate(invalid="ignore"):
        means = np.stack(sums, axis=-1) / count[:, None]
    return means.reshape(*grid, 3).astype(np.float32)

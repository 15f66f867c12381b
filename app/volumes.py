"""Voxels at any places, shown in the cells of a regular grid."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

# A voxel's corner is as far from its centre, in voxels.
REACH = np.sqrt(3) / 2


def voxel_of_cells(
    places: NDArray[np.floating], cells: NDArray[np.floating], cell_mm: float
) -> NDArray[np.intp]:
    """Which voxel each cell of a grid lies in.

    Parameters
    ----------
    places : ndarray
        (V, 3) mm of the voxels' centres; their size is the median distance of neighbours.
    cells : ndarray
        (N, 3) mm of the cells' centres.
    cell_mm : float
        The cells' size, which voxels are taken to have at least.

    Returns
    -------
    ndarray
        (N,) index of the nearest voxel, -1 where none reaches the cell.
    """
    size = spacing(places) if len(places) > 1 else 2 * cell_mm
    distance, nearest = cKDTree(places).query(
        cells, distance_upper_bound=max(size, cell_mm) * REACH
    )
    return np.where(np.isfinite(distance), nearest, -1)


def spacing(places: NDArray[np.floating]) -> float:
    """Median distance of a voxel to its nearest one, in mm.

    Parameters
    ----------
    places : ndarray
        (V, 3) mm, at least two.
    """
    return float(np.median(np.asarray(cKDTree(places).query(places, k=2)[0])[:, 1]))


def cell_centres(shape: tuple[int, ...], affine: NDArray[np.floating]) -> NDArray[np.float64]:
    """Centres of all cells of a grid, (N, 3) mm in C order.

    Parameters
    ----------
    shape : tuple of int
        Three sizes.
    affine : ndarray
        (4, 4), from cells to mm.
    """
    cells = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    centres: NDArray[np.float64] = cells @ affine[:3, :3].T + affine[:3, 3]
    return centres

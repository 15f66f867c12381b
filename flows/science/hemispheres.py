"""Which hemisphere each of a participant's voxels is of, as far as that is known.

The sign of x tells it in MNI space alone. In a participant's own space the midline lies where the
head lay in the scanner, and of a grid that was made up x tells nothing at all.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

LEFT, UNKNOWN, RIGHT = -1, 0, 1

Sides = NDArray[np.int8]


def hemispheres(
    native: NDArray[np.floating],
    mni: NDArray[np.floating],
    mesh: NDArray[np.integer] | None = None,
) -> Sides:
    """Hemisphere of each voxel or vertex.

    Parameters
    ----------
    native : ndarray
        (V, 3) mm.
    mni : ndarray
        (V, 3) mm, NaN where it is not known.
    mesh : ndarray, optional
        (V,) 0 for vertices of the left hemisphere's mesh and 1 for the right one's: on a surface
        nothing else need be asked.

    Returns
    -------
    ndarray
        (V,) `LEFT`, `RIGHT` or, for all of them, `UNKNOWN`: where there is no mesh and no voxel has
        a place in MNI space. A voxel without one is of the hemisphere of the voxel nearest to it
        that has one.

    Raises
    ------
    ValueError
        Where shapes do not match.
    """
    if native.ndim != 2 or native.shape[1] != 3 or mni.shape != native.shape:
        raise ValueError(f"native places {native.shape} and MNI places {mni.shape} must be (V, 3)")
    if mesh is not None:
        if mesh.shape != native.shape[:1] or not np.isin(mesh, (0, 1)).all():
            raise ValueError(
                f"{len(native)} vertices are each of the left mesh, 0, or the right, 1"
            )
        return np.where(mesh == 1, RIGHT, LEFT).astype(np.int8)
    x = mni[:, 0]
    known = np.flatnonzero(np.isfinite(x))
    if len(known) == 0:
        return np.full(len(native), UNKNOWN, dtype=np.int8)
    side = np.where(x > 0, RIGHT, LEFT).astype(np.int8)
    lacking = np.flatnonzero(np.isnan(x))
    if len(lacking):
        side[lacking] = side[known[cKDTree(native[known]).query(native[lacking])[1]]]
    return side

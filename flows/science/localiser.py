"""Maps held against a localiser: against an atlas's regions together, and against its t-values."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.science.metrics import average_ranks, pearson


def atlas_unions(
    regions: NDArray[np.bool_], atlas: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.bool_]:
    """All regions of an atlas as one.

    Parameters
    ----------
    regions : ndarray
        (R, V) bool.
    atlas : sequence of str
        Atlas of each region.
    wanted : sequence of str
        A atlases.

    Returns
    -------
    ndarray
        (A, V) bool; all False for an atlas of no regions.
    """
    if len(atlas) != len(regions):
        raise ValueError(f"{len(regions)} regions are of {len(atlas)} atlases")
    of_atlas = np.array([[name == each for name in atlas] for each in wanted], dtype=np.int64)
    members: NDArray[np.bool_] = of_atlas.reshape(len(wanted), len(regions)) @ regions > 0
    return members


def rank_correlation(
    maps: NDArray[np.floating], values: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Spearman correlation of each map with one vector of values, ties sharing their ranks.

    Parameters
    ----------
    maps : ndarray
        (V, K), finite.
    values : ndarray
        (V,); voxels where it is not finite are left out.

    Returns
    -------
    ndarray
        (K,) in [-1, 1]; NaN where fewer than 3 voxels are left, or either side is constant on
        them.

    Raises
    ------
    ValueError
        Where the lengths differ or a map is not finite.
    """
    if maps.ndim != 2 or values.shape != maps.shape[:1]:
        raise ValueError(f"maps {maps.shape} and values {values.shape} do not share voxels")
    if not np.isfinite(maps).all():
        raise ValueError("maps hold values that are not finite")
    known = np.isfinite(values)
    if known.sum() < 3:
        return np.full(maps.shape[1], np.nan)
    return pearson(average_ranks(maps[known]), average_ranks(values[known, None]))

"""How alike the masks of two participants are, in bins of a common space."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.statistics import Floats, standardised

# Bins that two participants must share for their masks to be compared.
SHARED_BINS = 8
# Distances, in bins, over which smoothness is measured: up to 60 mm, of bins of 6 mm.
_LAGS = 11
# Bins whose distances to all others are held at once.
_ROWS = 512


@dataclass(frozen=True, eq=False)
class BinnedMasks:
    """One participant's K masks, averaged in bins.

    Attributes
    ----------
    bins : ndarray
        (B, 3) which bins hold voxels, sorted.
    weights : ndarray
        (B, K) mean weights of their voxels.
    smoothness : ndarray
        (L, K) correlation of a mask with itself at distances of 0, 1, ... bins.
    """

    bins: NDArray[np.int64]
    weights: Floats
    smoothness: Floats


@dataclass(frozen=True, eq=False)
class Similarity:
    """Two participants' masks, each of the one with each of the other.

    Attributes
    ----------
    correlation : ndarray
        (K, K) over the bins that both cover; 0 for a constant mask.
    deviation : ndarray
        (K, K) standard deviation that the correlation of two unrelated masks would have.
    """

    correlation: Floats
    deviation: Floats


def bin_masks(
    masks: NDArray[np.floating], coordinates: NDArray[np.floating], bin_mm: float
) -> BinnedMasks:
    """Average masks in bins.

    Parameters
    ----------
    masks : ndarray
        (V, K).
    coordinates : ndarray
        (V, 3) mm; voxels with a NaN are left out.
    bin_mm : float
        Edge of a bin.
    """
    known = np.isfinite(coordinates).all(axis=1)
    cell = np.floor(coordinates[known] / bin_mm).astype(np.int64)
    bins, label = np.unique(cell, axis=0, return_inverse=True)
    label = label.ravel()
    summed = np.zeros((len(bins), masks.shape[1]))
    np.add.at(summed, label, masks[known])
    weights = summed / np.bincount(label, minlength=len(bins))[:, None]
    return BinnedMasks(bins, weights, _smoothness(bins, weights))


def compare_masks(first: BinnedMasks, second: BinnedMasks) -> Similarity | None:
    """Correlate two participants' masks; None where they have too few bins in common.

    The correlation r of two unrelated maps of n bins has the variance
    ``sum_ij rho_a(d_ij) rho_b(d_ij) / n^2`` over all pairs of bins, with d their distance and
    rho each map's correlation with itself at that distance: 1 / n for white maps, more for
    smooth ones.

    References
    ----------
    Clifford, Richardson and Hemon 1989, Biometrics 45, 123.
    """
    both, inverse = np.unique(
        np.concatenate([first.bins, second.bins]), axis=0, return_inverse=True
    )
    place = np.full((2, len(both)), -1)
    inverse = inverse.ravel()
    place[0, inverse[: len(first.bins)]] = np.arange(len(first.bins))
    place[1, inverse[len(first.bins) :]] = np.arange(len(second.bins))
    common = (place >= 0).all(axis=0)
    count = int(common.sum())
    if count < SHARED_BINS:
        return None
    left = np.nan_to_num(standardised(first.weights[place[0, common]]))
    right = np.nan_to_num(standardised(second.weights[place[1, common]]))
    pairs = np.zeros(_LAGS)
    for _, lag in _lags(both[common]):
        pairs += np.bincount(lag.ravel(), minlength=_LAGS)[:_LAGS]
    variance = np.einsum("l,li,lj->ij", pairs / count**2, first.smoothness, second.smoothness)
    # Opposite signs at some distances may cancel; nothing varies less than white maps do.
    return Similarity(left.T @ right, np.sqrt(np.maximum(variance, 1 / count)))


def _smoothness(bins: NDArray[np.int64], weights: Floats) -> Floats:
    """(L, K) mean product of standardised weights at each distance; 0 where there are none."""
    if not len(bins):
        return np.zeros((_LAGS, weights.shape[1]))
    unit = np.nan_to_num(standardised(weights)) * np.sqrt(len(bins))
    unit = unit.astype(np.float32)
    total, pairs = np.zeros((_LAGS, weights.shape[1])), np.zeros(_LAGS)
    for rows, lag in _lags(bins):
        for each in range(_LAGS):
            apart = (lag == each).astype(np.float32)
            total[each] += np.einsum("bk,bk->k", unit[rows], apart @ unit)
            pairs[each] += apart.sum()
    return total / np.maximum(pairs, 1)[:, None]


def _lags(bins: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Distances between bins (rows, B), in whole bins, of some rows at a time."""
    points = (bins - bins[:1]).astype(np.float64)
    length = np.square(points).sum(axis=1)
    for start in range(0, len(points), _ROWS):
        rows = slice(start, start + _ROWS)
        square = length[rows, None] + length - 2 * points[rows] @ points.T
        yield rows, np.rint(np.sqrt(np.maximum(square, 0))).astype(np.int64)

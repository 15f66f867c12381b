"""How a map goes with masks, and how often maps do that have nothing to do with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.maps.surrogates import draw_surrogates
from app.presence import require_client

Floats = NDArray[np.float64]

# Sums of the same numbers in another order differ by less; a correlation as high counts.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Covered:
    """The voxels of one participant that a map covers.

    Attributes
    ----------
    places : ndarray
        (V, 3) mm.
    values : ndarray
        (V,) of the map, finite and not all equal.
    weights : ndarray
        (V, K) of each component's mask, 0 for what is no member.
    """

    places: Floats
    values: Floats
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Correlations:
    """Of a map with K components' masks.

    Attributes
    ----------
    each : ndarray
        (S, K) Pearson's r; NaN where a mask has one weight in all voxels covered.
    mean : ndarray
        (K,) over the participants who have one; NaN where nobody has.
    p : ndarray
        (K,) likewise.
    """

    each: Floats
    mean: Floats
    p: Floats


def correlate(covered: Sequence[Covered], *, permutations: int, seed: int) -> Correlations:
    """Correlate a map with masks, against surrogates of the map.

    A component's statistic is the plain mean of its correlations (Fisher's z has no value for a
    map that is a mask itself), p the share of surrogate maps that reach it, one-sided: a map
    carries a concept where it is higher inside of the masks. Participants share a map, so a
    surrogate is one field for all of them.

    Parameters
    ----------
    covered : sequence of Covered
        One a participant, at least one.
    permutations : int
        Surrogate maps.
    seed : int
    """
    together = np.concatenate([each.values for each in covered])
    # One scale for all, on which equal values stay equal, and single precision is enough.
    values = [(each.values - together.mean()) / together.std() for each in covered]
    length = [np.linalg.norm(each - each.mean()) for each in values]
    masks = [
        _unit(each.weights) / np.float32(norm) for each, norm in zip(covered, length, strict=True)
    ]
    told = np.array([mask.any(axis=0) for mask in masks])
    number = np.maximum(told.sum(axis=0), 1)
    each = np.array([own.astype(np.float32) @ m for own, m in zip(values, masks, strict=True)])
    mean = each.sum(axis=0) / number
    reached = np.zeros(len(mean), dtype=int)
    places = [each.places for each in covered]
    for drawn in draw_surrogates(values, places, count=permutations, seed=seed):
        require_client()
        null = sum(own @ mask for own, mask in zip(drawn, masks, strict=True)) / number
        reached += (null >= mean - _ROUNDING).sum(axis=0)
    nobody = ~told.any(axis=0)
    return Correlations(
        each=np.where(told, each, np.nan),
        mean=np.where(nobody, np.nan, mean),
        p=np.where(nobody, np.nan, (1 + reached) / (1 + permutations)),
    )


def _unit(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns (V, K) without their means, at length 1; 0 where all of one value."""
    centred = weights - weights.mean(axis=0, dtype=float)
    length = np.linalg.norm(centred, axis=0)
    # Of equal weights rounding may leave a rest.
    varies = np.ptp(weights, axis=0) > 0
    return np.where(varies, centred / np.where(varies, length, 1), 0).astype(np.float32)

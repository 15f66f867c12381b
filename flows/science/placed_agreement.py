"""Whether participants' masks agree better than the same shapes placed elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flows.science.placements import place_region
from flows.science.similarity import SHARED_BINS
from flows.science.statistics import Floats, standardised
from flows.science.stats.tails import SLACK


@dataclass(frozen=True, eq=False)
class SignedMask:
    """One participant's members, and whether they respond more to a component or less.

    Attributes
    ----------
    members : ndarray
        (V,) bool.
    coordinates : ndarray
        (V, 3) mm in a common space; voxels with a NaN are left out.
    side : ndarray or None
        (V,) of `flows.science.hemispheres`; none are known where None.
    sign : float
        1 or -1.
    """

    members: NDArray[np.bool_]
    coordinates: NDArray[np.floating]
    side: NDArray[np.integer] | None = None
    sign: float = 1.0


def placed_agreement_p(
    masks: Sequence[SignedMask], *, placements: int, seed: int, bin_mm: float
) -> float:
    """p of "masks agree no better than their shapes do that lie anywhere".

    The statistic is the mean over pairs of participants of the correlation of their masks over the
    bins that both cover. Each draw of the null places every participant's mask anew
    (`place_region`): it keeps its size and shape, and its hemisphere.

    This asks less than to agree better than other components' masks do: masks of whatever is
    decoded lie where signal is. It is for components that are too few to be held against each
    other.

    Parameters
    ----------
    masks : sequence of SignedMask
        S of them.
    placements : int
        P.
    seed : int
    bin_mm : float
        Edge of a bin.

    Returns
    -------
    float
        At least 1 / (1 + P); NaN where no two participants have enough bins in common in which
        both masks vary.
    """
    own, placed = [], []
    for number, mask in enumerate(masks):
        known = np.isfinite(mask.coordinates).all(axis=1)
        members = mask.members[known]
        if not members.any() or members.all():
            continue
        xyz = mask.coordinates[known].astype(np.float64)
        drawn = place_region(
            members,
            xyz,
            placements=placements,
            seed=np.random.SeedSequence([seed, number]),
            side=None if mask.side is None else mask.side[known],
        )
        cells = np.floor(xyz / bin_mm).astype(np.int64)
        own.append(_binned(cells, np.flatnonzero(members)[None, :]))
        placed.append(_binned(cells, drawn))
        own[-1].values *= mask.sign
        placed[-1].values *= mask.sign
    observed, null = _mean_correlation(own), _mean_correlation(placed)
    if observed is None or null is None:
        return float("nan")
    return float((1 + (null >= observed[0] - SLACK).sum()) / (1 + placements))


@dataclass(eq=False)
class _Binned:
    """Share of the voxels of each bin (B, 3) that are members: values (P, B) of P masks."""

    bins: NDArray[np.int64]
    values: Floats


def _binned(cells: NDArray[np.int64], members: NDArray[np.integer]) -> _Binned:
    """Of cells (V, 3) and the indices (P, n) of members."""
    bins, label = np.unique(cells, axis=0, return_inverse=True)
    label = label.ravel()
    place = label[members] + np.arange(len(members))[:, None] * len(bins)
    counts = np.bincount(place.ravel(), minlength=len(members) * len(bins))
    return _Binned(bins, counts.reshape(len(members), -1) / np.bincount(label))


def _mean_correlation(masks: Sequence[_Binned]) -> Floats | None:
    """(P,) over pairs of participants; None where none can be compared."""
    found = []
    for first, second in combinations(masks, 2):
        at = {tuple(each): index for index, each in enumerate(second.bins.tolist())}
        common = [
            (index, at[key])
            for index, each in enumerate(first.bins.tolist())
            if (key := tuple(each)) in at
        ]
        if len(common) < SHARED_BINS:
            continue
        left, right = np.array(common).T
        # 0 where a mask is constant over the bins in common.
        one, other = (
            np.nan_to_num(standardised(each.T))
            for each in (first.values[:, left], second.values[:, right])
        )
        found.append(np.einsum("bp,bp->p", one, other))
    return np.mean(found, axis=0) if found else None

"""Which components of a participant belong together: by their voxels and by their meaning."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.statistics import Floats, benjamini_hochberg, require_finite


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of a participant's network.

    Attributes
    ----------
    cosine : float
        Two components whose directions have at least this cosine are linked, wherever their
        masks lie. Between random directions of D dimensions its standard deviation is
        1 / sqrt(D): the default is five of it and more from D = 400 on, and components, which
        are sought apart from each other, rarely reach it.
    """

    cosine: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.cosine <= 1:
            raise ValueError(f"cosine must lie in (0, 1], not {self.cosine}")


@dataclass(frozen=True, eq=False)
class Pairs:
    """All M = K (K - 1) / 2 pairs of K components.

    Attributes
    ----------
    first, second : ndarray
        (M,) indices of the two components, first < second.
    dice : ndarray
        (M,) overlap of their masks, in [0, 1]; 0 where both are empty.
    p, q : ndarray
        (M,) of the overlap, see `overlap_test`, and its q over the pairs; NaN where a mask is
        empty.
    cosine : ndarray
        (M,) of their directions.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    dice: Floats
    p: Floats
    q: Floats
    cosine: Floats

    @property
    def weight(self) -> Floats:
        """(M,) mean of Dice and cosine, a cosine below 0 counting as 0; in [0, 1]."""
        return np.asarray((self.dice + np.maximum(self.cosine, 0)) / 2)

    def linked(self, level: float, cosine: float) -> NDArray[np.bool_]:
        """(M,) whether the overlap exceeds chance, q <= level, or the cosine reaches its bound.

        A linked pair has a weight above 0 where `cosine` is.
        """
        return np.asarray((self.q <= level) | (self.cosine >= cosine))


def compare_pairs(components: NDArray[np.floating], members: NDArray[np.bool_]) -> Pairs:
    """Compare the components of one participant two by two.

    Parameters
    ----------
    components : ndarray
        (K, D) directions, of any length above 0.
    members : ndarray
        (K, V) bool, their hard masks.

    Returns
    -------
    Pairs

    Raises
    ------
    ValueError
        Where shapes do not match, or a direction is zero or not finite.
    """
    members = np.asarray(members, dtype=bool)
    if components.ndim != 2 or members.ndim != 2 or len(components) != len(members):
        raise ValueError(
            f"components {components.shape} and masks {members.shape} must be (K, D) and (K, V)"
        )
    require_finite("components", components)
    length = np.linalg.norm(components.astype(np.float64), axis=1, keepdims=True)
    if not length.all():
        raise ValueError("a component of length 0 has no direction")
    unit = components / length
    first, second = np.triu_indices(len(components), k=1)
    # Counts below 2**24 are exact in float32, and such products are quick.
    counts = members.astype(np.float32)
    both = (counts @ counts.T)[first, second].astype(np.int64)
    size = members.sum(axis=1)
    total = size[first] + size[second]
    p = overlap_test(both, size[first], size[second], members.shape[1])
    return Pairs(
        first=first.astype(np.int64),
        second=second.astype(np.int64),
        dice=np.divide(2.0 * both, total, out=np.zeros(len(first)), where=total > 0),
        p=p,
        q=benjamini_hochberg(p),
        # Rounding may take a cosine past 1.
        cosine=np.clip((unit @ unit.T)[first, second], -1, 1),
    )


def overlap_test(
    both: NDArray[np.integer],
    size_a: NDArray[np.integer],
    size_b: NDArray[np.integer],
    voxels: int,
) -> Floats:
    """Whether two masks share more voxels than two random sets of their sizes would.

    The one-sided tail of the hypergeometric distribution, ``P(X >= both)``. It takes voxels as
    exchangeable and so ignores smoothness: neighbouring voxels are alike, and two smooth masks
    of nothing in common overlap much or not at all more often than it allows. Masks that both
    keep to the voxels of high noise ceiling exceed it too. It tells which overlaps are no
    accident of the masks' sizes, and no more.

    Parameters
    ----------
    both, size_a, size_b : ndarray
        (M,) voxels in both masks, in the one, in the other.
    voxels : int
        V, voxels in all.

    Returns
    -------
    ndarray
        (M,) p, at least the smallest normal float; NaN where a mask is empty.

    References
    ----------
    Fisher 1922, J. R. Stat. Soc. 85, 87.
    """
    logs = np.log(np.arange(1, voxels + 1, dtype=np.float64))
    log_factorial = np.concatenate([[0.0], np.cumsum(logs)])

    def log_choose(n: NDArray[np.integer] | int, k: NDArray[np.integer] | int) -> Floats:
        return np.asarray(log_factorial[n] - log_factorial[k] - log_factorial[n - k])

    p = np.where((size_a > 0) & (size_b > 0), 1.0, np.nan)
    # A pair that shares nothing has reached its least, whose tail is everything.
    for pair in np.flatnonzero(both > 0):
        a, b = int(size_a[pair]), int(size_b[pair])
        shared = np.arange(int(both[pair]), min(a, b) + 1)
        terms = log_choose(a, shared) + log_choose(voxels - a, b - shared) - log_choose(voxels, b)
        top = terms.max()
        p[pair] = min(np.exp(top + np.log(np.exp(terms - top).sum())), 1.0)
    return np.maximum(p, np.finfo(np.float64).tiny)

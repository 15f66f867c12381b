"""Tests of what is decodable and where it lies, by permutation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.placements import place_region

# Slack for comparing a permuted statistic with the observed one: sums in another order.
SLACK = 1e-6
# Placements whose memberships are held at once as a dense matrix.
_PLACEMENT_BLOCK = 256

Floats = NDArray[np.float64]


def benjamini_hochberg(p: NDArray[np.floating]) -> Floats:
    """False-discovery-rate q values of a family of tests.

    Parameters
    ----------
    p : ndarray
        Any shape, all one family; NaN marks a test that was not made and stays NaN.

    Returns
    -------
    ndarray
        q of each test, in the shape of `p`.

    Raises
    ------
    ValueError
        Where a p lies outside [0, 1].

    References
    ----------
    Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57, 289.
    """
    p = np.asarray(p, dtype=np.float64)
    made = ~np.isnan(p)
    values = p[made]
    if ((values < 0) | (values > 1)).any():
        raise ValueError("p values must lie in [0, 1]")
    order = np.argsort(values)
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    q = np.empty_like(values)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    result = np.full(p.shape, np.nan)
    result[made] = q
    return result


def correlation_test(
    z: NDArray[np.floating],
    zhat: NDArray[np.floating],
    image: NDArray[np.integer],
    *,
    permutations: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """Whether decoded component responses follow the true ones: images are permuted.

    Trials are averaged by image first, so that what is permuted is what is independent, and
    the observed r is that of image averages as well.

    Parameters
    ----------
    z, zhat : ndarray
        (N, K) true and decoded responses.
    image : ndarray
        (N,) which image each trial showed; stimuli that the target space does not tell apart
        are one image.
    permutations : int
        P; p is at least 1 / (1 + P).
    seed : int

    Returns
    -------
    r, p : ndarray
        (K,) each; p is one-sided, r larger than chance. NaN where either side is constant.

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, or there are fewer than 3 images.
    """
    if z.ndim != 2 or z.shape != zhat.shape or np.shape(image) != (len(z),):
        raise ValueError(
            f"responses {z.shape}, {zhat.shape} and images {np.shape(image)} do not match"
        )
    require_finite("responses", z, zhat)
    require_permutations(permutations)
    label = np.unique(image, return_inverse=True)[1].ravel()
    trials = np.bincount(label)
    if len(trials) < 3:
        raise ValueError(f"{len(trials)} images are too few to permute: 3 are needed")

    def by_image(values: NDArray[np.floating]) -> Floats:
        summed = np.zeros((len(trials), values.shape[1]))
        np.add.at(summed, label, values)
        return standardised(summed / trials[:, None])

    truth, decoded = by_image(z), by_image(zhat)
    r = np.einsum("ik,ik->k", truth, decoded)
    generator = np.random.default_rng(seed)
    reached = np.zeros(z.shape[1])
    for _ in range(permutations):
        shuffled = truth[generator.permutation(len(truth))]
        reached += np.einsum("ik,ik->k", shuffled, decoded) >= r - SLACK
    return r, np.where(np.isnan(r), np.nan, (1 + reached) / (1 + permutations))


@dataclass(frozen=True, eq=False)
class RegionTest:
    """How K maps lie on R regions.

    Attributes
    ----------
    auc, dice, p : ndarray
        (K, R): the chance that a voxel of the region outscores one outside it; the overlap
        with the hard mask; one-sided p of the AUC. NaN for a region of no or all voxels;
        `dice` alone is NaN where region and hard mask are both empty.
    """

    auc: Floats
    dice: Floats
    p: Floats


def region_test(
    maps: NDArray[np.floating],
    regions: NDArray[np.bool_],
    coordinates: NDArray[np.floating],
    *,
    permutations: int,
    seed: int,
    threshold: float = 0.5,
) -> RegionTest:
    """Whether maps are higher inside regions than inside the same shapes placed elsewhere.

    Voxels next to each other are alike, so shuffling them would call any smooth map
    significant. Here the region's shape moves and the map stays as it is: placements
    (`place_region`) are the same for all maps.

    Parameters
    ----------
    maps : ndarray
        (V, K), larger where the component is carried.
    regions : ndarray
        (R, V) bool.
    coordinates : ndarray
        (V, 3) mm.
    permutations : int
        P placements a region.
    seed : int
        A region's placements depend on it and on the region alone, not on the others.
    threshold : float
        Map value from which a voxel is a member of the hard mask.

    Returns
    -------
    RegionTest

    Raises
    ------
    ValueError
        Where shapes do not match or values are not finite.
    """
    regions = np.asarray(regions, dtype=bool)
    count = len(maps)
    if maps.ndim != 2 or regions.ndim != 2 or regions.shape[1] != count:
        raise ValueError(f"maps {maps.shape} and regions {regions.shape} do not share voxels")
    if coordinates.shape != (count, 3):
        raise ValueError(f"{count} voxels have coordinates of shape {coordinates.shape}")
    require_finite("maps and coordinates", maps, coordinates)
    require_permutations(permutations)

    # Centred and scaled, so that float32 sums of ranks keep their precision.
    ranks = ((_average_ranks(maps) - (count + 1) / 2) / count).astype(np.float32)
    hard = (maps >= threshold).astype(np.float64)
    size = regions.sum(axis=1)
    overlap = 2 * (hard.T @ regions.T)
    total = hard.sum(axis=0)[:, None] + size
    dice = np.divide(overlap, total, out=np.full(overlap.shape, np.nan), where=total > 0)
    auc = np.full((maps.shape[1], len(regions)), np.nan)
    p = np.full_like(auc, np.nan)
    for index in np.flatnonzero((size > 0) & (size < count)):
        # Rank sum to AUC; both are centred, so no offset but one half.
        scale = count / (float(size[index]) * float(count - size[index]))
        observed = regions[index].astype(np.float32) @ ranks * scale
        placed = place_region(
            regions[index],
            coordinates,
            placements=permutations,
            seed=np.random.SeedSequence([seed, int(size[index])]),
        )
        reached = np.zeros(maps.shape[1])
        for start in range(0, permutations, _PLACEMENT_BLOCK):
            rows = placed[start : start + _PLACEMENT_BLOCK]
            member = np.zeros((len(rows), count), dtype=np.float32)
            np.put_along_axis(member, rows.astype(np.intp), 1, axis=1)
            reached += (member @ ranks * scale >= observed - SLACK).sum(axis=0)
        auc[:, index] = observed + 0.5
        p[:, index] = (1 + reached) / (1 + permutations)
    return RegionTest(auc=auc, dice=dice, p=p)


def standardised(values: NDArray[np.floating]) -> Floats:
    """Columns centred and at length 1; NaN where constant."""
    constant = np.ptp(values, axis=0) == 0
    centred = values - values.mean(axis=0)
    length = np.where(constant, np.nan, np.linalg.norm(centred, axis=0))
    return np.asarray(centred / length)


def _average_ranks(values: NDArray[np.floating]) -> Floats:
    """Ranks 1..V of each column, ties sharing their mean."""
    ranks = np.empty(values.shape)
    for column in range(values.shape[1]):
        _, inverse, size = np.unique(values[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(size) - (size - 1) / 2)[inverse]
    return ranks


def too_few_images(images: int, level: float) -> str | None:
    """Why `correlation_test` can find nothing with so few images; None where it can.

    Images have no more than n! orders, so that p cannot fall below 1 / n!.
    """
    orders = math.factorial(min(images, 20))
    if orders * level >= 1:
        return None
    return f"{images} distinct test images are too few: p cannot reach {level:g}"


def require_finite(name: str, *arrays: NDArray[np.floating]) -> None:
    """ValueError, starting with the name, where a value is not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{name} hold values that are not finite")


def require_permutations(permutations: int) -> None:
    """ValueError where there would be no null at all."""
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, not {permutations}")

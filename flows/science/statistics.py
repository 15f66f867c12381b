"""Tests of what is decodable and where it lies, by permutation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from flows.science.placements import count_centres, place_region
from flows.science.stats.orders import (
    OrderScheme,
    coincidence,
    log_orders,
    permuted_labels,
    units_within_runs,
)
from flows.science.stats.tails import SLACK, Null

# Placements whose memberships are held at once as a dense matrix.
_PLACEMENT_BLOCK = 256
# Values whose groups are summed at once, in float64.
_MEAN_BLOCK = 2**22
# A region turned about its own centre so often tells how likely it is put back on itself.
_TURNS = 100

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
    scheme: OrderScheme | None = None,
    run: NDArray[np.integer] | None = None,
) -> tuple[Floats, Floats]:
    """Whether decoded component responses follow the true ones: images are permuted.

    Trials are averaged by image first, so that what is permuted is what is independent, and
    the observed r is that of image averages as well. Under "shift" the labels of trials are
    shifted within runs, and decoded trials are averaged by these labels each time. Under
    "within_run" all is averaged by image and run, r is over these averages, and the labels of
    each run are permuted (`choose_order_scheme` tells which is called for).

    p near its floor is that of a fitted tail (`Null`), and no smaller than the chance that the
    few images, or runs, on which r rests fall in their places (`coincidence`).

    Parameters
    ----------
    z, zhat : ndarray
        (N, K) true and decoded responses.
    image : ndarray
        (N,) which image each trial showed; stimuli that the target space does not tell apart
        are one image.
    permutations : int
        P; counted p is at least 1 / (1 + P), a fitted one at least `smallest_p(P)`.
    seed : int
    scheme : OrderScheme, optional
        "free" where not given.
    run : ndarray, optional
        (N,) the trials' runs, in the order of the trials within each; needed but for "free".

    Returns
    -------
    r, p : ndarray
        (K,) each; p is one-sided, r larger than chance. NaN where either side is constant.

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, runs are not given but needed, or there
        are fewer than 3 images (under "within_run": pairs of an image and a run).
    """
    require_responses(z, zhat, image)
    require_permutations(permutations)
    scheme = scheme or OrderScheme("free", "not asked for")
    if scheme.kind == "free":
        run = np.zeros(len(z), dtype=np.intp)
    elif run is None:
        raise ValueError(f'orders of the kind "{scheme.kind}" need the runs of the trials')
    if np.shape(run) != (len(z),):
        raise ValueError(f"responses {z.shape} and runs {np.shape(run)} do not match")
    label = np.unique(image, return_inverse=True)[1].ravel()
    run = np.unique(run, return_inverse=True)[1].ravel()
    unit, unit_label, unit_run = units_within_runs(label, run)
    if scheme.kind == "shift":
        unit, unit_label = label, np.unique(label)
    if len(unit_label) < 3:
        raise ValueError(f"{len(unit_label)} images are too few to permute: 3 are needed")
    truth = standardised(group_means(z, label)[unit_label])
    decoded = standardised(group_means(zhat, unit))
    r = np.einsum("uk,uk->k", truth, decoded)
    null = Null(r, permutations, bound=1.0)
    if scheme.kind == "shift":
        parts = _parts_of_runs(truth, zhat, label, run)
        log_chance: Floats | None = -np.log(np.bincount(run))
        correlate = _ByLabel(truth, zhat, label)
        for labels in permuted_labels(scheme, label, run, permutations, seed):
            null.add(correlate(labels))
        orders = log_orders(scheme, label, run)
    else:
        parts = truth * decoded
        log_chance = -np.log(np.bincount(unit_run))[unit_run] if unit_run.any() else None
        # The truth of each label is the same in all its units.
        of_label = np.empty((len(np.unique(label)), z.shape[1]))
        of_label[unit_label] = truth
        for labels in permuted_labels(scheme, unit_label, unit_run, permutations, seed):
            null.add(np.einsum("uk,uk->k", of_label[labels], decoded))
        orders = log_orders(scheme, unit_label, unit_run)
    least = np.maximum(np.exp(-orders), coincidence(parts, log_chance, r, null.deviation()))
    return r, null.p(least=least)


class _ByLabel:
    """Correlation of the truth (I, K) with decoded trials (N, K), averaged by permuted labels."""

    def __init__(
        self, truth: Floats, decoded: NDArray[np.floating], label: NDArray[np.integer]
    ) -> None:
        self._truth = truth
        self._decoded = np.asarray(decoded - decoded.mean(axis=0), dtype=np.float64)
        trials = np.bincount(label)
        self._start = np.concatenate([[0], np.cumsum(trials)])
        self._share = np.repeat(1 / trials, trials)

    def __call__(self, labels: NDArray[np.integer]) -> Floats:
        """(K,) r; 0 where the averages are constant."""
        order = np.argsort(labels, kind="stable")
        shape = (len(self._truth), len(labels))
        means = csr_array((self._share, order, self._start), shape=shape) @ self._decoded
        square = np.einsum("ik,ik->k", means, means) - means.sum(axis=0) ** 2 / len(means)
        product = np.einsum("ik,ik->k", self._truth, means)
        length = np.sqrt(np.maximum(square, 0))
        return np.asarray(
            np.divide(product, length, out=np.zeros_like(product), where=length > 1e-12)
        )


def _parts_of_runs(
    truth: Floats,
    zhat: NDArray[np.floating],
    label: NDArray[np.integer],
    run: NDArray[np.integer],
) -> Floats:
    """(R, K) what each run adds to the correlation of the truth (I, K) with image averages."""
    means = group_means(zhat, label)
    length = np.linalg.norm(means - means.mean(axis=0), axis=0)
    share = (zhat - zhat.mean(axis=0)) / np.bincount(label)[label][:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        products = truth[label] * share / length
    summed = np.zeros((int(run.max()) + 1, zhat.shape[1]))
    np.add.at(summed, run, products)
    return summed


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
    side: NDArray[np.integer] | None = None,
    threshold: float = 0.5,
) -> RegionTest:
    """Whether maps are higher inside regions than inside the same shapes placed elsewhere.

    Voxels next to each other are alike, so shuffling them would call any smooth map
    significant. Here the region's shape moves and the map stays as it is: placements
    (`place_region`) are the same for all maps.

    p near its floor is that of a fitted tail (`Null`). Of all placements one in as many as there
    are centres leaves the region where it is, turned alone; what part of these reach the observed
    area is measured by turning it 100 times, and no fitted p is below that chance: a small
    compact region is put back on itself more often than the others' placements tell.

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
    side : ndarray, optional
        (V,) hemispheres (`flows.science.hemispheres`); none are known where not given.
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
    if side is not None and np.shape(side) != (count,):
        raise ValueError(f"{count} voxels have hemispheres of shape {np.shape(side)}")
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
            side=side,
        )
        null = Null(observed, permutations, bound=0.5)
        for start in range(0, permutations, _PLACEMENT_BLOCK):
            null.add(_rank_sums(placed[start : start + _PLACEMENT_BLOCK], ranks) * scale)
        turned = place_region(
            regions[index],
            coordinates,
            placements=_TURNS,
            seed=np.random.SeedSequence([seed, int(size[index]), 1]),
            side=side,
            own_centre=True,
        )
        # What happens at the region's own centre is a part of what happens anywhere.
        back = (_rank_sums(turned, ranks) * scale >= observed - SLACK).mean(axis=0)
        auc[:, index] = observed + 0.5
        p[:, index] = null.p(least=back / count_centres(regions[index], side))
    return RegionTest(auc=auc, dice=dice, p=p)


def _rank_sums(placed: NDArray[np.int32], ranks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(P, K) sums of the ranks (V, K) over placed regions (P, n)."""
    member = np.zeros((len(placed), len(ranks)), dtype=np.float32)
    np.put_along_axis(member, placed.astype(np.intp), 1, axis=1)
    return np.asarray(member @ ranks)


def group_means(values: NDArray[np.floating], label: NDArray[np.integer]) -> Floats:
    """Mean (L, K) of the rows (N, K) of each label 0..L-1; exactly constant where they are.

    Columns are taken in blocks, so that what is held beside the values and their means is small.
    """
    trials = np.bincount(label)
    means = np.zeros((len(trials), values.shape[1]))
    width = max(_MEAN_BLOCK // max(len(values), 1), 1)
    for start in range(0, values.shape[1], width):
        block = slice(start, start + width)
        base = np.asarray(values[:1, block], dtype=np.float64)
        summed = np.zeros((len(trials), base.shape[1]))
        np.add.at(summed, label, values[:, block] - base)
        means[:, block] = summed / trials[:, None] + base
    return means


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


def require_responses(
    z: NDArray[np.floating], zhat: NDArray[np.floating], image: NDArray[np.integer]
) -> None:
    """ValueError where responses (N, K) and images (N,) do not match, or are not finite."""
    if z.ndim != 2 or z.shape != zhat.shape or np.shape(image) != (len(z),):
        raise ValueError(
            f"responses {z.shape}, {zhat.shape} and images {np.shape(image)} do not match"
        )
    require_finite("responses", z, zhat)


def require_finite(name: str, *arrays: NDArray[np.floating]) -> None:
    """ValueError, starting with the name, where a value is not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{name} hold values that are not finite")


def require_permutations(permutations: int) -> None:
    """ValueError where there would be no null at all."""
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, not {permutations}")

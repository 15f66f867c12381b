"""How sure a figure is: intervals over images, noise ceilings, and two decoders side by side."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from flows.science.statistics import group_means, require_responses

# Draws whose weights are held at once.
_DRAW_BLOCK = 256
# Differences below it are rounding.
_TIE = 1e-12
# Share of draws that may have no value.
_MAX_MISSING = 0.01
# A reliability counts where image means differ at this level.
_LEVEL = 0.05

Floats = NDArray[np.float64]
# Means (B, M) over images of what a statistic is made of -> the statistics (B, K).
_Statistic = Callable[[Floats], Floats]


def correlation_interval(
    z: NDArray[np.floating],
    zhat: NDArray[np.floating],
    image: NDArray[np.integer],
    *,
    draws: int = 2000,
    seed: int,
    mass: float = 0.95,
) -> tuple[Floats, Floats]:
    """Bootstrap interval of the correlation of image means, images drawn with replacement.

    All trials of an image go together, since its repeats are no independent evidence; what is
    correlated is what `correlation_test` tests. The interval is BCa (bias-corrected and
    accelerated): r is skewed near its bounds and its spread changes with its value, by which
    plain percentiles miss more often on one side than on the other.

    Parameters
    ----------
    z, zhat : ndarray
        (N, K) true and decoded responses.
    image : ndarray
        (N,) which image each trial showed.
    draws : int
    seed : int
    mass : float
        Of the interval.

    Returns
    -------
    low, high : ndarray
        (K,) each; NaN where r is, or where resampled images leave a response constant in more
        than one draw of a hundred.

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, or there are fewer than 3 images.

    References
    ----------
    Efron 1987, J. Am. Stat. Assoc. 82, 171.
    """
    require_responses(z, zhat, image)
    _check_draws(draws, mass)
    label = np.unique(image, return_inverse=True)[1].ravel()
    means = [group_means(values, label) for values in (z, zhat)]
    count = len(means[0])
    if count < 3:
        raise ValueError(f"{count} images are too few to resample: 3 are needed")
    # Centred, so that sums of squares keep their precision; constant columns have no r.
    constant = np.logical_or(*(np.ptp(values, axis=0) == 0 for values in means))
    a, b = (np.where(constant, 0, values - values.mean(axis=0)) for values in means)
    moments = np.concatenate([a, b, a * a, b * b, a * b], axis=1)

    least = 1e-12 * a.var(axis=0) * b.var(axis=0)

    def correlate(means: Floats) -> Floats:
        first, second, square, other, product = np.split(means, 5, axis=1)
        spread = np.maximum(square - first**2, 0) * np.maximum(other - second**2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.clip((product - first * second) / np.sqrt(spread), -1, 1)
        return np.where(spread > least, r, np.nan)

    low, high, missing = _bca(correlate, moments, draws, seed, mass)
    unusable = constant | (missing > _MAX_MISSING)
    return np.where(unusable, np.nan, low), np.where(unusable, np.nan, high)


def share_interval(
    hits: NDArray[np.floating] | NDArray[np.bool_],
    image: NDArray[np.integer],
    *,
    draws: int = 2000,
    seed: int,
    mass: float = 0.95,
) -> tuple[float, float]:
    """Interval of a share of trials, as of top-1: BCa bootstrap over images.

    Where all trials hit, or none, every resample is the same and a bootstrap would be sure of
    it; the interval is the exact (Clopper-Pearson) one of as many independent images then.

    Parameters
    ----------
    hits : ndarray
        (N,) in [0, 1]: whether each trial hit; shares of a hit where it is tied.
    image : ndarray
        (N,) which image each trial showed; its trials are drawn together.
    draws, seed, mass
        As of `correlation_interval`.

    Returns
    -------
    low, high : float

    Raises
    ------
    ValueError
        Where shapes do not match, hits lie outside [0, 1], or there are fewer than 2 images.
    """
    hits = np.asarray(hits, dtype=np.float64)
    summed, trials = _hits_by_image(hits, image)
    _check_draws(draws, mass)
    if summed.sum() in (0, trials.sum()):
        found = len(trials) if summed.sum() else 0
        exact = stats.binomtest(found, len(trials)).proportion_ci(mass, method="exact")
        return float(exact.low), float(exact.high)
    return _mean_interval(summed, trials, draws, seed, mass)


def normalised_correlation(
    z: NDArray[np.floating], zhat: NDArray[np.floating], image: NDArray[np.integer]
) -> Floats:
    """r of image means over what the noise of the decoded responses lets it be.

    The decoded responses of an image's repeats differ by noise alone; from their variance
    follows which share of the variance of image means is not noise, the means' reliability.
    r over its square root is what r would be of infinitely many repeats. It is an estimate, so
    it can come out above 1.

    Parameters
    ----------
    z, zhat : ndarray
        (N, K) true and decoded responses.
    image : ndarray
        (N,) which image each trial showed; images seen once enter the means, not the noise.

    Returns
    -------
    ndarray
        (K,); NaN where r is, where no image repeats, and where image means do not differ
        beyond noise (F test at 5 %): a ceiling near 0 would make anything of r.

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, or there are fewer than 3 images.
    """
    require_responses(z, zhat, image)
    label = np.unique(image, return_inverse=True)[1].ravel()
    trials = np.bincount(label)
    if len(trials) < 3:
        raise ValueError(f"{len(trials)} images are too few to correlate: 3 are needed")
    truth, decoded = group_means(z, label), group_means(zhat, label)
    spare = int((trials - 1).sum())
    if spare == 0:
        return np.full(z.shape[1], np.nan)
    noise = np.square(zhat - decoded[label]).sum(axis=0) / spare
    overall = np.asarray(zhat, dtype=np.float64).mean(axis=0)
    between = (trials[:, None] * np.square(decoded - overall)).sum(axis=0) / (len(trials) - 1)
    centred = [values - values.mean(axis=0) for values in (truth, decoded)]
    with np.errstate(invalid="ignore", divide="ignore"):
        reliability = 1 - noise * (1 / trials).mean() / decoded.var(axis=0, ddof=1)
        lengths = np.sqrt(_square(centred[0]) * _square(centred[1]))
        r = (centred[0] * centred[1]).sum(axis=0) / lengths
        differ = stats.f.sf(between / noise, len(trials) - 1, spare) <= _LEVEL
        normalised = r / np.sqrt(reliability)
    known = differ & (reliability > 0)
    for values in (truth, decoded):
        known &= np.ptp(values, axis=0) > 0
    return np.where(known, normalised, np.nan)


@dataclass(frozen=True)
class PairedTest:
    """Two decoders on the same trials.

    Attributes
    ----------
    gained, lost : int
        Trials that the first hits and the other misses, and the other way round.
    p : float
        Exact McNemar p, two-sided; 1 where they differ nowhere.
    difference, low, high : float
        Share of hits of the first less that of the other, and its interval over images.
    """

    gained: int
    lost: int
    p: float
    difference: float
    low: float
    high: float


def paired_test(
    hits: NDArray[np.bool_],
    other_hits: NDArray[np.bool_],
    image: NDArray[np.integer],
    *,
    draws: int = 2000,
    seed: int,
    mass: float = 0.95,
) -> PairedTest:
    """Whether one decoder hits more often than another on the same trials.

    McNemar's p takes trials for independent. Repeats of an image are not, so where images
    repeat the interval, which draws all trials of an image together, is the one to go by.

    Parameters
    ----------
    hits, other_hits : ndarray
        (N,) bool, whether each decoder hit.
    image : ndarray
        (N,) which image each trial showed.
    draws, seed, mass
        As of `correlation_interval`.

    Returns
    -------
    PairedTest
        Where the decoders differ on no trial the interval is [0, 0]: of decoders that differ on
        some share of images, no more is known than that it is small.

    Raises
    ------
    ValueError
        Where shapes do not match, hits are not bool, or there are fewer than 2 images.

    References
    ----------
    McNemar 1947, Psychometrika 12, 153.
    """
    first, second = np.asarray(hits), np.asarray(other_hits)
    if first.dtype != bool or second.dtype != bool:
        raise ValueError(f"hits must be bool, not {first.dtype} and {second.dtype}")
    if first.shape != second.shape:
        raise ValueError(f"hits {first.shape} and {second.shape} do not match")
    _check_draws(draws, mass)
    change = first.astype(np.float64) - second.astype(np.float64)
    summed, trials = _hits_by_image(change, image, lowest=-1.0)
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    difference = float(change.mean())
    low = high = difference
    if np.ptp(summed / trials) > 0:
        low, high = _mean_interval(summed, trials, draws, seed, mass)
    return PairedTest(gained, lost, p, difference, low, high)


def _mean_interval(
    summed: Floats, trials: NDArray[np.integer], draws: int, seed: int, mass: float
) -> tuple[float, float]:
    """BCa interval of the mean over trials, from sums and counts (I,) of images."""

    def mean(means: Floats) -> Floats:
        return means[:, :1] / means[:, 1:]

    table = np.stack([summed, trials.astype(np.float64)], axis=1)
    low, high, _ = _bca(mean, table, draws, seed, mass)
    return float(low[0]), float(high[0])


def _bca(
    statistic: _Statistic, table: Floats, draws: int, seed: int, mass: float
) -> tuple[Floats, Floats, Floats]:
    """Bias-corrected and accelerated bootstrap interval over the rows of a table.

    Parameters
    ----------
    statistic : callable
    table : ndarray
        (I, M) what the statistic takes means of, one row an image.

    Returns
    -------
    low, high, missing : ndarray
        (K,) ends, and the share of draws in which the statistic has no value.
    """
    count = len(table)
    generator = np.random.default_rng(seed)
    equal = np.full(count, 1 / count)
    blocks = []
    for start in range(0, draws, _DRAW_BLOCK):
        size = min(_DRAW_BLOCK, draws - start)
        weights = generator.multinomial(count, equal, size=size) / count
        blocks.append(statistic(weights @ table))
    replicates = np.concatenate(blocks)
    observed = statistic(table.mean(axis=0, keepdims=True))[0]
    left_out = statistic((table.sum(axis=0) - table) / (count - 1))

    known = np.isfinite(replicates)
    number = np.maximum(known.sum(axis=0), 1)
    # Draws equal to the observed value, as shares of few hits are, count half.
    below = (np.sign(observed - replicates) * (np.abs(observed - replicates) > _TIE) + 1) / 2
    below = np.where(known, below, 0).sum(axis=0)
    bias = stats.norm.ppf(np.clip(below / number, 0.5 / number, 1 - 0.5 / number))
    usable = np.isfinite(left_out)
    left_out = np.where(usable, left_out, 0)
    centre = left_out.sum(axis=0) / np.maximum(usable.sum(axis=0), 1)
    change = np.where(usable, centre - left_out, 0)
    square = np.square(change).sum(axis=0)
    safe = np.where(square > 0, square, 1)
    acceleration = (change**3).sum(axis=0) / (6 * safe**1.5)

    def end(share: float) -> Floats:
        shifted = bias + stats.norm.ppf(share)
        corrected = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
        return _quantiles(replicates, known.sum(axis=0), np.nan_to_num(corrected, nan=0.5))

    return end((1 - mass) / 2), end((1 + mass) / 2), 1 - known.mean(axis=0)


def _quantiles(values: Floats, known: NDArray[np.integer], share: Floats) -> Floats:
    """(K,) quantile of each column (B, K), each at a share of its own; NaN left out."""
    ordered = np.sort(values, axis=0)
    place = share * np.maximum(known - 1, 0)
    lower = np.floor(place).astype(np.intp)
    upper = np.minimum(lower + 1, np.maximum(known - 1, 0))
    column = np.arange(values.shape[1])
    part = place - lower
    return np.asarray(ordered[lower, column] * (1 - part) + ordered[upper, column] * part)


def _hits_by_image(
    hits: Floats, image: NDArray[np.integer], lowest: float = 0.0
) -> tuple[Floats, NDArray[np.intp]]:
    """Sum of the hits and number of trials (I,) of each image."""
    if hits.ndim != 1 or np.shape(image) != hits.shape:
        raise ValueError(f"hits {hits.shape} and images {np.shape(image)} do not match")
    if not ((hits >= lowest) & (hits <= 1)).all():
        raise ValueError("hits must lie in [0, 1]")
    label = np.unique(image, return_inverse=True)[1].ravel()
    trials = np.bincount(label)
    if len(trials) < 2:
        raise ValueError(f"{len(trials)} images are too few to resample: 2 are needed")
    return np.bincount(label, weights=hits).astype(np.float64), trials


def _square(values: Floats) -> Floats:
    return np.asarray(np.square(values).sum(axis=0))


def _check_draws(draws: int, mass: float) -> None:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    if not 0 < mass < 1:
        raise ValueError(f"mass must lie between 0 and 1, not {mass:g}")

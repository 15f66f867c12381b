"""p values of permutation tests, with a fitted tail where permutations alone cannot tell."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

SLACK = 1e-6
"""Differences below it are rounding: a permuted statistic is summed in another order. Statistics
are of the order of 1 (correlations, areas, standard scores)."""

# Counted p are precise enough where so many permutations reach the observed value.
_ENOUGH_REACHED = 10
# Exceedances of the first fit: a tenth of the permutations, and no more than so many.
_MAX_EXCEEDANCES = 250
_MIN_EXCEEDANCES = 20
# A fit that fails is tried again on so much of its exceedances.
_SHRINK = 0.75
# Anderson-Darling statistic that 5 % of exponential tails exceed, by simulation of this very fit:
# 1.10 to 1.11 for 20 to 250 exceedances. Tails heavier than exponential exceed it less often.
_CRITICAL = 1.11
# How far below the floor of counted p, 1 / (1 + P), a fit may claim to see.
_EXTRAPOLATION = 1e-3
# Statistics nearer to their bound than this are as good as at it.
_AT_BOUND = 1 - 1e-6

Floats = NDArray[np.float64]


def permutation_p(
    observed: ArrayLike, null: ArrayLike, *, bound: float | None = None, least: ArrayLike = 0.0
) -> Floats:
    """One-sided p of statistics that are larger where there is something to be found.

    Parameters
    ----------
    observed : array_like
        (K,) statistics.
    null : array_like
        (P, K) the statistics of each permutation, or (P,) where all K share one null.
    bound : float, optional
        See `Null`.
    least : array_like
        See `Null.p`.

    Returns
    -------
    ndarray
        (K,) p in (0, 1]; NaN where the observed value is NaN or its null holds one.

    Raises
    ------
    ValueError
        Where shapes do not match or there is no permutation.
    """
    values = np.asarray(null, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    found = Null(observed, len(values), bound=bound)
    found.add(values)
    return found.p(least=least)


class Null:
    """The null distributions of K statistics, of which only the upper tails are kept.

    p is counted, (1 + reached) / (1 + P), where at least 10 permutations reach the observed
    value. Nearer to the floor a generalised Pareto distribution is fitted to the excesses over a
    high threshold (Winkler et al. 2016): over the highest tenth of the permutations, at most 250,
    and where an Anderson-Darling test rejects the fit at 5 %, over fewer of them, down to 20. Where
    no fit passes, or fewer than half of the excesses are distinct, p is the counted one. A fitted p
    is never above the counted one, and never below `smallest_p`.

    Two things are unlike Winkler et al. The tail's shape is at least 0, exponential: a fitted end
    of the distribution would be an end of the evidence as well, with a p of 0 beyond it, and
    correlations and areas, whose tails are lighter than exponential, get p that are too large
    rather than too small. And one over the number of excesses is added to the shape: of n
    excesses over the (n + 1)th highest value that sum to s, the chance of an excess beyond y is
    (1 + y / s)^-n where the tail is exponential, exactly, with nothing to estimate, while the
    plain fit, exp(-n y / s), finds 1.9 times too many p below 1e-6 with 1,000 permutations.

    Parameters
    ----------
    observed : array_like
        (K,) statistics, larger where there is something to be found.
    permutations : int
        P, how many are going to be added.
    bound : float, optional
        Where the statistic lies in [-bound, bound], as a correlation does (1) and an area under
        the curve less one half (0.5): tails are then fitted in ``atanh(x / bound)``. The density
        of such a statistic falls towards its bound as a power of the distance, which is an
        exponential tail on that scale.

    References
    ----------
    Winkler, Ridgway, Douaud, Nichols and Smith 2016, NeuroImage 141, 502. Hosking and Wallis
    1987, Technometrics 29, 339 (probability-weighted moments). Choulakian and Stephens 2001,
    Technometrics 43, 478 (goodness of fit).
    """

    def __init__(
        self, observed: ArrayLike, permutations: int, *, bound: float | None = None
    ) -> None:
        self.observed = np.atleast_1d(np.asarray(observed, dtype=np.float64))
        if self.observed.ndim != 1:
            raise ValueError(f"observed statistics of shape {self.observed.shape} must be (K,)")
        if permutations < 1:
            raise ValueError(f"permutations must be at least 1, not {permutations}")
        self.permutations = permutations
        self._bound = bound
        self._reached = np.zeros(len(self.observed), dtype=np.int64)
        self._added = 0
        exceedances = _most_exceedances(permutations)
        self._keep = exceedances + 1 if exceedances else 0
        self._columns = len(self.observed)
        self._total: Floats | None = None
        self._square: Floats | None = None
        self._unknown: NDArray[np.bool_] | None = None
        self._tail = np.empty((0, 0))
        self._filled = 0

    def add(self, values: ArrayLike) -> None:
        """Take further permutations into account.

        Parameters
        ----------
        values : array_like
            (B, K), (B, 1) where all K share one null, or (K,) for one permutation.
        """
        rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
        if self._total is None or self._square is None or self._unknown is None:
            if rows.ndim != 2 or rows.shape[1] not in (1, len(self.observed)):
                raise ValueError(
                    f"a null of shape {rows.shape} does not match {len(self.observed)} statistics"
                )
            self._columns = rows.shape[1]
            self._total, self._square = np.zeros((2, self._columns))
            self._unknown = np.zeros(self._columns, dtype=bool)
            self._tail = np.empty((2 * self._keep, self._columns))
        if rows.ndim != 2 or rows.shape[1] != self._columns:
            raise ValueError(f"a null of shape {rows.shape} follows one of {self._columns} columns")
        self._added += len(rows)
        self._reached += (rows >= self.observed - SLACK).sum(axis=0)
        self._total += rows.sum(axis=0)
        self._square += np.einsum("bk,bk->k", rows, rows)
        self._unknown |= np.isnan(rows).any(axis=0)
        if self._keep:
            for start in range(0, len(rows), self._keep):
                self._hold(rows[start : start + self._keep])

    def p(self, *, least: ArrayLike = 0.0) -> Floats:
        """(K,) one-sided p.

        Parameters
        ----------
        least : array_like
            Scalar or (K,): no fitted p is below it, as where there are only so many orders.

        Raises
        ------
        ValueError
            Where other than `permutations` rows were added.
        """
        if self._added != self.permutations or self._unknown is None:
            raise ValueError(f"{self._added} of {self.permutations} permutations were added")
        p: Floats = (1 + self._reached) / (1 + self.permutations)
        unknown = np.isnan(self.observed) | self._unknown
        near = np.flatnonzero((self._reached < _ENOUGH_REACHED) & ~unknown)
        if self._keep and len(near):
            tail = self._tail[: self._filled]
            tail = tail if self._columns == 1 else tail[:, near]
            tail = -np.sort(-tail, axis=0)[: self._keep]
            fitted = _fitted_p(self.observed[near], tail, self.permutations, self._bound)
            lowest = np.broadcast_to(np.asarray(least, dtype=np.float64), p.shape)[near]
            lowest = np.maximum(lowest, smallest_p(self.permutations))
            # NaN, no fit, leaves the counted p.
            p[near] = np.fmin(p[near], np.maximum(fitted, lowest))
        p[unknown] = np.nan
        return p

    def deviation(self) -> Floats:
        """Standard deviation, (K,) or (1,), of what was added."""
        if self._total is None or self._square is None:
            return np.full(self._columns, np.nan)
        mean = self._total / self._added
        return np.sqrt(np.maximum(self._square / self._added - mean**2, 0))

    def _hold(self, rows: Floats) -> None:
        if self._filled + len(rows) > len(self._tail):
            held = self._tail[: self._filled]
            held.partition(len(held) - self._keep, axis=0)
            self._tail[: self._keep] = held[-self._keep :].copy()
            self._filled = self._keep
        self._tail[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)


def smallest_p(permutations: int) -> float:
    """The smallest p that a test of so many permutations may claim.

    Three decades below the floor of counted p, where there are permutations enough to fit a tail
    to (200): 1e-6 for 1,000. On that scale the fit is held against simulated nulls and against many
    more permutations (tests and benchmarks); beyond it nothing was measured.
    """
    floor = 1 / (1 + permutations)
    return _EXTRAPOLATION * floor if _most_exceedances(permutations) else floor


def unreachable(level: float, permutations: int, families: Mapping[str, int]) -> list[str]:
    """Which families of tests are so large that one true finding alone could not be claimed.

    Where one test of n has something to find, its q is n times its p (Benjamini-Hochberg and
    Bonferroni agree there).

    Parameters
    ----------
    level : float
        Largest q, or corrected p, that counts.
    permutations : int
        P of each test.
    families : mapping
        Name -> number of tests; a partial conjunction over u of S participants multiplies p by
        S - u + 1, and so its number of tests.

    Returns
    -------
    list of str
        One line a family that cannot; none where all can.
    """
    smallest = smallest_p(permutations)
    lines = []
    for name, tests in families.items():
        if smallest * tests <= level:
            continue
        needed = _needed_permutations(level / tests)
        lines.append(
            f"{name}: among {tests:,} tests a single finding needs p <= {level / tests:.2g} for "
            f"the level {level:g}, and {permutations:,} permutations reach {smallest:.2g}: at "
            f"least {needed:,} permutations are needed"
        )
    return lines


def _needed_permutations(p: float) -> int:
    """The fewest permutations whose `smallest_p` is at most p."""
    fitted = int(np.ceil(_EXTRAPOLATION / p * (1 - 1e-12))) - 1
    counted = int(np.ceil((1 - 1e-12) / p)) - 1
    return min(counted, max(fitted, 10 * _MIN_EXCEEDANCES))


def _most_exceedances(permutations: int) -> int:
    """Exceedances of the first fit; 0 where permutations are too few for any."""
    tenth = permutations // 10
    return min(tenth, _MAX_EXCEEDANCES) if tenth >= _MIN_EXCEEDANCES else 0


def _fitted_p(observed: Floats, tail: Floats, permutations: int, bound: float | None) -> Floats:
    """p (K,) by the largest tail whose fit passes; NaN where none does.

    Parameters
    ----------
    observed : ndarray
        (K,).
    tail : ndarray
        (M, K) or (M, 1) highest values of the null, falling.
    """
    steps = np.diff(tail, axis=0) < -SLACK
    distinct = np.cumsum(steps, axis=0)
    if bound is not None:
        observed, tail = _unbounded(observed, bound), _unbounded(tail, bound)
    p = np.full(len(observed), np.nan)
    todo = np.ones(tail.shape[1], dtype=bool)
    highest = len(tail) - 1
    while highest >= _MIN_EXCEEDANCES and todo.any():
        # Values tied with the threshold do not exceed it.
        tied = np.argmax(steps[:highest][::-1], axis=0)
        count = np.where(steps[:highest].any(axis=0), highest - tied, 0)
        excess = tail[:highest] - tail[highest]
        excess[np.arange(highest)[:, None] >= count] = 0
        shape, scale = _fit(excess, count)
        passes = todo & (count >= _MIN_EXCEEDANCES) & (2 * distinct[highest - 1] >= count)
        passes &= _anderson_darling(excess, count, shape, scale) <= _CRITICAL
        with np.errstate(invalid="ignore", divide="ignore"):
            predictive = shape + 1 / count
            beyond = np.maximum(observed - tail[highest], 0)
            share = (1 + predictive * beyond / scale) ** (-1 / predictive)
        p = np.where(passes, (count + 1) / (permutations + 1) * share, p)
        todo &= ~passes
        highest = int(highest * _SHRINK)
    return p


def _unbounded(values: Floats, bound: float) -> Floats:
    return np.arctanh(np.clip(values / bound, -_AT_BOUND, _AT_BOUND))


def _fit(excess: Floats, count: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Shape, at least 0, and scale (K,) of generalised Pareto excesses.

    By probability-weighted moments; where these give a shape below 0, an exponential.

    Parameters
    ----------
    excess : ndarray
        (N, K), falling; 0 in the rows from `count` on.
    count : ndarray
        (K,) how many excesses there are.
    """
    rank = np.arange(1, len(excess) + 1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = excess.sum(axis=0) / count
        weighted = (excess * ((rank - 0.35) / count)).sum(axis=0) / count
        shape = 2 - mean / (mean - 2 * weighted)
        scale = 2 * mean * weighted / (mean - 2 * weighted)
    heavier = shape > 0
    return np.where(heavier, shape, 0.0), np.where(heavier, scale, mean)


def _anderson_darling(
    excess: Floats, count: NDArray[np.integer], shape: Floats, scale: Floats
) -> Floats:
    """(K,) distance of excesses from their fit, as `_fit` takes and gives them; NaN of none."""
    rank = np.arange(1, len(excess) + 1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = excess / scale
        beyond = np.where(shape > 0, -np.log1p(shape * ratio) / shape, -ratio)
        # An excess of rounding alone is taken for a small one.
        within = np.log(np.maximum(-np.expm1(beyond), 0.1 / count))
        terms = (2 * (count - rank) + 1) * within + (2 * rank - 1) * beyond
        total = np.where(rank <= count, terms, 0).sum(axis=0)
        return np.asarray(-count - total / count)

"""How smooth a map is at the voxels: its correlogram, told as a mixture of Gaussian kernels.

Values are told by their ranks, as a Gaussian field that was cut into these values (`Marginal`), so
that a sparse or skewed map has a parent that surrogates can be drawn of.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import nnls
from scipy.special import ndtri
from scipy.stats import rankdata

Floats = NDArray[np.float64]

# Scales of the kernels in cells; each is wider than the one before by the same factor.
_SCALES = np.geomspace(0.8, 40.0, 15)
# Variance, an axis, of the distance between where two points of two cells lie.
_CELL_VARIANCE = 1 / 6
# Orders of the Hermite series of a marginal, and values that tell it.
_ORDERS = 60
_QUANTILES = 2000
# Turns in which smoothness and variance are sought.
_ROUNDS = 8
# Standard errors below which a correlation is taken for none: kernels have no negative shares, so
# that those of noise would add up.
_DOUBT = 2.0
# Cells of a correlogram's grid, and the least share of the variance that a map must show.
_MOST_CELLS = 2_500_000
_LEAST_SHOWN = 0.2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Smoothness of a field of unit variance.

    Attributes
    ----------
    cell_mm : float
        Pitch of the grid that it is told on.
    white : float
        Share of the variance that no two cells have in common.
    scales, shares : ndarray
        (S,) standard deviations of Gaussian kernels, in cells, and their shares of the variance.
    """

    cell_mm: float
    white: float
    scales: Floats
    shares: Floats


class Marginal:
    """What a Gaussian field's correlation becomes when it is cut into the ranks of some values.

    Parameters
    ----------
    scores : ndarray
        (V,) normal scores of the values' ranks, those of equal values the same.
    """

    def __init__(self, scores: Floats) -> None:
        part = np.linspace(0, len(scores) - 1, min(len(scores), _QUANTILES)).round().astype(int)
        steps = np.sort(scores)[part]
        jumps = np.flatnonzero(np.diff(steps))
        at = ndtri((jumps + 1) / len(steps))
        height = np.diff(steps)[jumps] * np.exp(-0.5 * at**2) / np.sqrt(2 * np.pi)
        variance = float(steps.var())
        before, here = np.zeros_like(at), np.ones_like(at)
        power = np.empty(_ORDERS)
        for order in range(1, _ORDERS + 1):
            power[order - 1] = (height @ here) ** 2 / order
            before, here = here, (at * here - np.sqrt(order - 1) * before) / np.sqrt(order)
        power /= variance
        # What the series leaves out is of high order, and counts where nearly all is shared.
        parent = np.linspace(0, 1, 201)
        cut = np.polynomial.polynomial.polyval(parent, np.concatenate([[0.0], power]))
        self._parent = parent
        self._cut = cut + max(1 - power.sum(), 0) * parent ** (2 * _ORDERS)
        self._slopes = np.gradient(self._cut, parent)
        self._first = float(power[0])

    def cut(self, parent: Floats) -> Floats:
        """The correlation of the values where the field has this one, at least 0."""
        return np.asarray(np.interp(parent, self._parent, self._cut))

    def slope(self, parent: Floats) -> Floats:
        """What a small change of the field's correlation adds to that of the values."""
        return np.asarray(np.interp(parent, self._parent, self._slopes))

    def parent(self, cut: Floats) -> Floats:
        """The field's correlation where the values have this one; below 0 by the first order."""
        below = np.maximum(cut / max(self._first, 1e-3), -1)
        return np.where(cut < 0, below, np.interp(cut, self._cut, self._parent))


def normal_scores(values: Floats) -> Floats:
    """(V,) normal quantiles of the values' ranks, of the mean rank where some are equal."""
    scores: Floats = ndtri((rankdata(values) - 0.5) / len(values))
    return scores


def estimate_spectrum(values: Floats, places: Floats, cell_mm: float) -> Spectrum:
    """The smoothness of a map at voxels, from all their pairs.

    The variogram tells it, which needs no mean; how much variance a map has beyond what these
    voxels show follows from the smoothness itself, so both are sought in turns.

    Parameters
    ----------
    values : ndarray
        (V,), not all equal.
    places : ndarray
        (V, 3) mm.
    cell_mm : float
        Pitch of the grid that voxels are put on; a wider one where the grid would be too large.
    """
    scores = normal_scores(values)
    scores = (scores - scores.mean()) / scores.std()
    marginal = Marginal(scores)
    extent = np.ptp(places, axis=0) + cell_mm
    # Twice as many cells an axis, so that no pair is met around the grid's edge.
    cell_mm = max(cell_mm, float((8 * np.prod(extent) / _MOST_CELLS) ** (1 / 3)))
    lag, pairs, variogram = _variogram(scores, places, cell_mm)
    if len(lag) == 0:
        return Spectrum(cell_mm, 1.0, _SCALES, np.zeros(len(_SCALES)))
    square = _SCALES**2 + _CELL_VARIANCE
    kernels = (_SCALES**2 / square)[:, None] ** 1.5 * np.exp(-0.5 * lag**2 / square[:, None])
    near = lag <= max(lag.max() / 2, lag.min())
    # Each pair is counted from both its ends.
    doubt = _DOUBT * np.sqrt(2 / pairs)
    shown = 1.0
    for _ in range(_ROUNDS):
        cut = 1 - variogram * shown
        cut = np.sign(cut) * np.maximum(np.abs(cut) - doubt, 0)
        parent = marginal.parent(cut)
        weight = np.sqrt(pairs[near]) * marginal.slope(parent[near])
        # Beside the kernels a white share, and a last equation by which all make up the variance.
        equations = np.zeros((len(weight) + 1, 1 + len(_SCALES)))
        equations[:-1, 1:] = weight[:, None] * kernels[:, near].T
        equations[-1] = np.sqrt(pairs.sum())
        wanted = np.append(weight * parent[near], equations[-1, 0])
        found = nnls(equations, wanted)[0]
        white, shares = np.split(found / found.sum(), [1])
        shown = 1 - float(pairs @ marginal.cut(shares @ kernels) / pairs.sum())
        shown = max(shown, _LEAST_SHOWN)
    return Spectrum(cell_mm, float(white[0]), _SCALES, shares)


def _variogram(scores: Floats, places: Floats, cell_mm: float) -> tuple[Floats, Floats, Floats]:
    """Distances in cells, pairs of voxels, and the variogram there, from all pairs at once.

    The variogram, half the mean squared difference, is over the mean square of the voxels of the
    same pairs: where few values stand out, it matters which pairs these are in.
    """
    cell = np.rint((places - places.min(axis=0)) / cell_mm).astype(int)
    shape = [fft.next_fast_len(int(each), real=True) for each in 2 * (cell.max(axis=0) + 1)]
    flat = np.ravel_multi_index(tuple(cell.T), shape)

    def spread(weights: Floats) -> NDArray[np.complex128]:
        grid = np.bincount(flat, weights, minlength=int(np.prod(shape))).reshape(shape)
        return np.asarray(fft.rfftn(grid))

    count, first, second = spread(np.ones(len(scores))), spread(scores), spread(scores**2)
    pairs = fft.irfftn(np.abs(count) ** 2, shape).ravel()
    squares = fft.irfftn((second * count.conj()).real, shape).ravel()
    products = fft.irfftn(np.abs(first) ** 2, shape).ravel()
    steps = [np.minimum(np.arange(each), each - np.arange(each)) for each in shape]
    lag = np.sqrt(sum(each.astype(float) ** 2 for each in np.ix_(*steps))).ravel()
    # What no pair has is nearly 0 after the transforms.
    inside = pairs > 0.5
    ring = np.rint(lag[inside]).astype(int)

    def summed(values: Floats) -> Floats:
        return np.bincount(ring, values[inside]).astype(float)

    number = summed(pairs)
    # Within one cell a voxel would be paired with itself.
    told = np.flatnonzero(number > 0)[1:]
    number, distance = number[told], (summed(pairs * lag)[told] / number[told])
    alike = summed(products)[told] / np.maximum(summed(squares)[told], 1e-3 * number)
    return distance, number, 1 - alike

"""Whether a component is told better than random mixtures of the components beside it.

Directions of a space that brains carry are decodable, whichever they are: that a direction can be
decoded says nothing of it alone. A component is specific where decoders tell it better than they
tell mixtures of the run's own components, and where its mask tells it better than it tells them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.statistics import Floats, group_means

# Entries of one (trials, mixtures) product.
_ENTRIES = 2**24


@dataclass(frozen=True, eq=False)
class Sums:
    """What correlations over units are made of; sums of different units add up.

    Attributes
    ----------
    count : int
        Units.
    moments : ndarray
        (5, ...) sums of z, zhat, z^2, zhat^2 and z zhat over units.
    """

    count: int
    moments: Floats

    def correlations(self) -> Floats:
        """(...) Pearson r; 0 where either side is constant: such a mixture tells nothing."""
        z, zhat, z2, zhat2, both = self.moments / max(self.count, 1)
        variance = np.maximum(z2 - z**2, 0) * np.maximum(zhat2 - zhat**2, 0)
        scale = np.sqrt(variance)
        told = scale > 1e-12 * np.maximum(np.sqrt(z2 * zhat2), 1e-30)
        return np.asarray(np.divide(both - z * zhat, scale, out=np.zeros_like(scale), where=told))


def draw_mixtures(components: int, mixtures: int, seed: int) -> Floats:
    """(M, K) coefficients of random mixtures: independent normal ones.

    Parameters
    ----------
    components : int
        K.
    mixtures : int
        M.
    seed : int
    """
    return np.random.default_rng(seed).standard_normal((mixtures, components))


def mix(coefficients: NDArray[np.floating], components: NDArray[np.floating]) -> Floats:
    """(M, D) unit directions; a mixture of nothing stays 0."""
    mixed = np.asarray(coefficients @ components, dtype=np.float64)
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.asarray(mixed / np.where(length > 0, length, 1))


def mixture_sums(
    y: NDArray[np.floating],
    yhat: NDArray[np.floating],
    unit: NDArray[np.integer],
    directions: NDArray[np.floating],
) -> Sums:
    """What the correlations of true and decoded responses along some directions are made of.

    Parameters
    ----------
    y, yhat : ndarray
        (N, D) targets and predictions of trials.
    unit : ndarray
        (N,) what is averaged before anything is correlated, numbered from 0 without a gap.
    directions : ndarray
        (M, D).

    Returns
    -------
    Sums
        Of M directions.
    """
    moments = np.empty((5, len(directions)))
    block = max(1, _ENTRIES // max(len(y), 1))
    for start in range(0, len(directions), block):
        along = directions[start : start + block].T.astype(np.float32)
        z, zhat = (group_means(np.maximum(rows @ along, 0), unit) for rows in (y, yhat))
        part = slice(start, start + block)
        moments[:, part] = [each.sum(axis=0) for each in (z, zhat, z**2, zhat**2, z * zhat)]
    return Sums(int(unit.max()) + 1 if len(unit) else 0, moments)


def add(parts: list[Sums]) -> Sums:
    """Sums of several sets of units."""
    return Sums(sum(part.count for part in parts), np.sum([part.moments for part in parts], axis=0))

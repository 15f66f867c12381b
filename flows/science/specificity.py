"""Whether a component is more than a mixture of the components beside it.

Directions of a space that brains carry are decodable, whichever they are: that a direction can be
decoded says nothing of it alone. A component is specific where there are voxels that are tuned to
it, more than any are to mixtures of the run's own components, and where its mask tells it better
than it tells mixtures.

How well a direction is told would not do for the first: concepts differ in how well brains carry
them, and mixtures of those that are carried best are told better than the others. Of a mixture,
however well it is told, each voxel answers to a part.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.statistics import Floats, group_means, require_finite
from flows.science.stats.tails import permutation_p

# Entries of one (trials, mixtures) product.
_ENTRIES = 2**24
# Voxels that answer to a direction most, which must be tuned to it: fewer than the smallest place
# that a concept may have, of which some carry other concepts as well.
TUNED_VOXELS = 5
# Fewer components have too few mixtures to be held against.
FEWEST = 3
# Of the scores' mean variance, added to each: components that are nearly one leave voxels'
# tuning to either undetermined.
_RIDGE = 1e-3


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


def draw_pairs(components: int, mixtures: int, seed: int) -> Floats:
    """(M, K) coefficients of sums and differences of two components in equal parts.

    They are the mixtures that voxels are tuned to most: of many parts each has a smaller share.

    Parameters
    ----------
    components : int
        K, at least 2.
    mixtures : int
        M.
    seed : int
    """
    rng = np.random.default_rng(seed)
    pairs = np.zeros((mixtures, components))
    first = rng.integers(components, size=mixtures)
    second = (first + rng.integers(1, components, size=mixtures)) % components
    for column in (first, second):
        pairs[np.arange(mixtures), column] = rng.choice([-1.0, 1.0], size=mixtures)
    return pairs


def tuning(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    coefficients: NDArray[np.floating],
    *,
    voxels: int = TUNED_VOXELS,
) -> Floats:
    """How far the voxels that answer to a direction most answer to it alone.

    Of the voxels whose responses correlate most with the scores along a direction, the sum of
    these correlations over the sum of their multiple correlations with all components' scores: 1
    where all that they tell of the components lies along it. Of a mixture of two unrelated
    components, each carried by voxels of its own, it is 0.7. It does not depend on how much
    voxels tell.

    Parameters
    ----------
    scores : ndarray
        (I, K) of stimuli along components.
    responses : ndarray
        (I, V) mean responses to the stimuli.
    coefficients : ndarray
        (M, K) of directions, in components whose scores have unit variance.
    voxels : int

    Returns
    -------
    ndarray
        (M,) at most 1; NaN where scores along a direction do not vary.

    Raises
    ------
    ValueError
        Where shapes do not match or values are not finite.
    """
    if len(scores) != len(responses) or coefficients.shape[1:] != scores.shape[1:]:
        raise ValueError(
            f"scores {scores.shape}, responses {responses.shape} and coefficients "
            f"{coefficients.shape} do not match"
        )
    require_finite("scores and responses", scores, responses)
    s, x = (_standard(values) for values in (scores, responses))
    among = np.asarray(s.T @ s / len(s))
    between = np.asarray(s.T @ x / len(s))
    ridge = _RIDGE * max(float(np.trace(among)), np.finfo(float).tiny) / len(among)
    weights = np.linalg.solve(among + ridge * np.eye(len(among)), between)
    multiple = np.sqrt(np.maximum((weights * (among @ weights)).sum(axis=0), 0))
    found = np.full(len(coefficients), np.nan)
    spread = np.sqrt(np.einsum("mk,kl,ml->m", coefficients, among, coefficients))
    block = max(1, _ENTRIES // max(responses.shape[1], 1))
    for start in range(0, len(coefficients), block):
        part = slice(start, start + block)
        varies = np.flatnonzero(spread[part] > 0) + start
        along = coefficients[varies] @ between / spread[varies, None]
        count = min(voxels, along.shape[1])
        best = np.argpartition(-along, count - 1, axis=1)[:, :count]
        told = np.take_along_axis(along, best, axis=1).sum(axis=1)
        found[varies] = told / np.maximum(multiple[best].sum(axis=1), np.finfo(float).tiny)
    return found


def tuned_p(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    *,
    mixtures: int,
    seed: int,
) -> Floats:
    """p of "voxels are tuned to a component no more than to mixtures of two others".

    Parameters
    ----------
    scores, responses
        As `tuning` takes them; of stimuli that components may have been found with, since what is
        found of noise is found of its mixtures too.
    mixtures : int
        Drawn by `draw_pairs`.
    seed : int

    Returns
    -------
    ndarray
        (K,); NaN of fewer than `FEWEST` components, or where a component's scores do not vary.
    """
    count = scores.shape[1]
    if count < FEWEST:
        return np.full(count, np.nan)
    own = tuning(scores, responses, np.eye(count))
    pairs = draw_pairs(count, mixtures, seed)
    against = tuning(scores, responses, pairs)
    p = np.full(count, np.nan)
    for component in np.flatnonzero(np.isfinite(own)):
        # Pairs that it is a part of lie near it, and nearer where the parts go against each other.
        others = against[(pairs[:, component] == 0) & np.isfinite(against)]
        if len(others):
            p[component] = permutation_p(own[[component]], others)[0]
    return p


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


def _standard(values: NDArray[np.floating]) -> Floats:
    """Columns of mean 0 and unit variance; constant ones are 0."""
    centred = np.asarray(values - values.mean(axis=0))
    spread = centred.std(axis=0)
    told = spread > 1e-9 * np.abs(values).max(axis=0, initial=0)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=told))

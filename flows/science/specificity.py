"""Whether a component is more than a mixture of the components beside it.

Directions of a space that brains carry are decodable, whichever they are: that a direction can be
decoded says nothing of it alone. A component is specific where voxels answer to it unlike they
answer to mixtures of the run's own components, and where its mask tells it better than it tells
mixtures.

How well a direction is told would not do for the first: concepts differ in how well brains carry
them, and mixtures of those that are carried best are told better than the others. Of a mixture,
however well it is told, each voxel answers to a part. Two statistics witness that: the voxels that
answer to a direction most are tuned to it alone; and its map is sparser than those of the
directions beside it. The first needs few voxels, but such as carry nothing else; the second needs
no such voxels, but a map that is not made of very few.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.statistics import Floats, group_means, require_finite
from flows.science.stats.tails import SLACK, permutation_p

# Entries of one (trials, mixtures) product.
_ENTRIES = 2**24
# Voxels that answer to a direction most, which must be tuned to it: fewer than the smallest place
# that a concept may have, of which some carry other concepts as well.
TUNED_VOXELS = 5
# Degrees by which a direction is turned for the directions beside it.
TURN = 30.0
# Fewer directions have too few mixtures to be held against.
FEWEST = 3
# Fewer components are mixed with other directions of the stimuli as well (`directions_beside`).
_ENOUGH = 8
# Of the scores' mean variance, added to each: components that are nearly one leave voxels'
# tuning to either undetermined.
_RIDGE = 1e-3
# What differs by less does so by rounding: maps are correlations.
_ROUNDING = 1e-6


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


def draw_pairs(components: int, mixtures: int, seed: int, *, sign: int = 1) -> Floats:
    """(M, K) coefficients of sums, or of differences, of two components in equal parts.

    They are the mixtures that look most like one component: of many parts each has a smaller share.

    Parameters
    ----------
    components : int
        K, at least 2.
    mixtures : int
        M.
    seed : int
    sign : {1, -1}
        Of the second component; the first is drawn as well.
    """
    rng = np.random.default_rng(seed)
    pairs = np.zeros((mixtures, components))
    first = rng.integers(components, size=mixtures)
    second = (first + rng.integers(1, components, size=mixtures)) % components
    rows = np.arange(mixtures)
    pairs[rows, first], pairs[rows, second] = 1, sign
    return pairs


def directions_beside(
    components: NDArray[np.floating],
    targets: NDArray[np.floating],
    *,
    enough: int = _ENOUGH,
) -> Floats:
    """Directions to mix few components with, besides each other.

    Two or three components have hardly any mixtures. The stimuli differ in more ways, and a
    direction that is none is a mixture of these as well: they are the principal axes of what the
    components' scores leave of the targets, so that their own scores go with no component's.

    Parameters
    ----------
    components : ndarray
        (K, D) directions.
    targets : ndarray
        (I, D) of distinct stimuli.
    enough : int
        Components that are mixed with each other alone.

    Returns
    -------
    ndarray
        (J, D) unit rows; K + J is at most `enough`, and no more than the dimensions in which
        targets differ. None where K is `enough`.
    """
    missing = enough - len(components)
    if missing <= 0:
        return np.zeros((0, targets.shape[1]))
    y = np.asarray(targets - targets.mean(axis=0), dtype=np.float64)
    scores = y @ components.T
    along = np.linalg.pinv(scores, rcond=_ROUNDING) @ y
    variance, axes = np.linalg.eigh((y - scores @ along).T @ (y - scores @ along))
    total = float((y**2).sum())
    kept = [each for each in range(1, missing + 1) if variance[-each] > _ROUNDING * total]
    most = axes[:, [-each for each in kept]].T if kept else np.zeros((0, y.shape[1]))
    return mix(np.eye(len(most)), most - (most @ along.T) @ components)


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
    _require_match(scores, responses, coefficients)
    return _tuning(*_covariances(scores, responses), coefficients, voxels)


def relative_sparseness(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    coefficients: NDArray[np.floating],
    *,
    degrees: float = TURN,
) -> Floats:
    """How sparse a direction's map is, over the sparsest of the directions beside it.

    A map is the correlation of each voxel's responses with the scores along a direction. It is
    sparse where few voxels answer and most do not: the size of its skewness over voxels, whichever
    its sign, since a concept may be one that voxels answer to less. The directions beside it are
    turned from it, by an angle between scores, towards and away from each component in turn. Maps
    of sums of independent sources are the nearer to Gaussian the more sources they are of, so that
    a source is sparser than what lies beside it (above 1, or little below), and a mixture becomes
    sparser on the way to a part of it (Hyvarinen and Oja 2000). A direction that no voxel answers
    to has a map without any skewness of its own (near 0).

    Parameters
    ----------
    scores, responses, coefficients
        As `tuning` takes them.
    degrees : float

    Returns
    -------
    ndarray
        (M,) at least 0; NaN where scores along a direction do not vary, where its map does not
        vary over voxels, or where no component lies off the direction.

    Raises
    ------
    ValueError
        Where shapes do not match or values are not finite.

    References
    ----------
    Hyvarinen and Oja 2000, Neural Networks 13, 411.
    """
    _require_match(scores, responses, coefficients)
    return _relative(*_sparseness(*_covariances(scores, responses), coefficients, degrees))


@dataclass(frozen=True, eq=False)
class VoxelP:
    """p of "voxels answer to a component as they do to mixtures", (K,) each.

    Attributes
    ----------
    tuned, sparse : ndarray
        By `tuning` and by `relative_sparseness` alone.
    combined : ndarray
        By both together.
    """

    tuned: Floats
    sparse: Floats
    combined: Floats


def voxel_p(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    *,
    mixtures: int,
    seed: int,
    count: int | None = None,
) -> VoxelP:
    """p of "voxels answer to a component no otherwise than to mixtures", by two witnesses.

    The witnesses are combined without regard to how they depend on each other: each ranks the
    component among the mixtures, and each mixture among the others and the component, and the sums
    of the logarithms of these ranks (Fisher) are compared (nonparametric combination, Pesarin and
    Salmaso 2010).

    That is done with each of three kinds of mixtures, and the largest p counts. A component that is
    made of two others is one of their sums, or one of their differences: apart, since a sum is the
    sparser, and differences would make it look special. A component that is any direction is like
    random mixtures of all; where components are few, those of two are too few and too much alike to
    stand for these.

    Parameters
    ----------
    scores, responses
        As `tuning` takes them; of stimuli that components may have been found with, since what is
        found of noise is found of its mixtures too.
    mixtures : int
        Of each kind.
    seed : int
    count : int, optional
        Components that are judged, K; those after them are mixed with these, and not judged.

    Returns
    -------
    VoxelP
        NaN of fewer than `FEWEST` directions in all, or where a component's scores do not vary;
        `sparse` and `combined` are also NaN where no voxel's answers differ from the others'.

    Raises
    ------
    ValueError
        Where shapes do not match or values are not finite.

    References
    ----------
    Pesarin and Salmaso 2010, Permutation tests for complex data. Winkler et al. 2016, Human Brain
    Mapping 37, 1486 (non-parametric combination).
    """
    width = scores.shape[1]
    count = width if count is None else count
    _require_match(scores, responses, np.eye(width))
    if width < FEWEST:
        return VoxelP(*np.full((3, count), np.nan))
    among, between = _covariances(scores, responses)
    sums, differences = (draw_pairs(width, mixtures, seed, sign=sign) for sign in (1, -1))
    own = _Witnesses(among, between, np.eye(width))
    of_two = [_Witnesses(among, between, each) for each in (sums, differences)]
    of_all = _Witnesses(among, between, draw_mixtures(width, mixtures, seed))
    found = np.empty((3, 3, count))
    for component in range(count):
        told = own.of()[:, component]
        # Mixtures of two that it is a part of lie near it.
        apart = sums[:, component] == 0
        kinds = [*(each.of()[:, apart] for each in of_two), of_all.of(component)]
        for p, others in zip(found, kinds, strict=True):
            p[:2, component] = [_one_p(one, each) for one, each in zip(told, others, strict=True)]
            p[2, component] = _combined_p(told, others)
    # NaN stays NaN.
    return VoxelP(*found.max(axis=0))


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


def _require_match(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    coefficients: NDArray[np.floating],
) -> None:
    if len(scores) != len(responses) or coefficients.shape[1:] != scores.shape[1:]:
        raise ValueError(
            f"scores {scores.shape}, responses {responses.shape} and coefficients "
            f"{coefficients.shape} do not match"
        )
    require_finite("scores and responses", scores, responses)


def _covariances(
    scores: NDArray[np.floating], responses: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Correlations among components' scores (K, K), and of these with voxels' responses (K, V)."""
    s, x = (_standard(values) for values in (scores, responses))
    among, between = (np.asarray(s.T @ each / len(s), dtype=np.float64) for each in (s, x))
    return among, between


def _spread(among: Floats, coefficients: NDArray[np.floating]) -> Floats:
    """(M,) standard deviation of the scores along directions; 0 where it is rounding."""
    variance = ((coefficients @ among) * coefficients).sum(axis=1)
    told = variance > _ROUNDING * (coefficients**2).sum(axis=1)
    return np.asarray(np.sqrt(np.where(told, variance, 0)))


def _tuning(
    among: Floats, between: Floats, coefficients: NDArray[np.floating], voxels: int
) -> Floats:
    """`tuning` by covariances."""
    ridge = _RIDGE * max(float(np.trace(among)), np.finfo(float).tiny) / len(among)
    weights = np.linalg.solve(among + ridge * np.eye(len(among)), between)
    multiple = np.sqrt(np.maximum((weights * (among @ weights)).sum(axis=0), 0))
    found = np.full(len(coefficients), np.nan)
    spread = _spread(among, coefficients)
    block = max(1, _ENTRIES // max(between.shape[1], 1))
    for start in range(0, len(coefficients), block):
        part = slice(start, start + block)
        varies = np.flatnonzero(spread[part] > 0) + start
        along = coefficients[varies] @ between / spread[varies, None]
        count = min(voxels, along.shape[1])
        best = np.argpartition(-along, count - 1, axis=1)[:, :count]
        told = np.take_along_axis(along, best, axis=1).sum(axis=1)
        found[varies] = told / np.maximum(multiple[best].sum(axis=1), np.finfo(float).tiny)
    return found


def _sparseness(
    among: Floats, between: Floats, coefficients: NDArray[np.floating], degrees: float
) -> tuple[Floats, Floats]:
    """Sparseness (M,) of directions' maps, and (M, K) the more of those turned by each component.

    The map of a turned direction is a sum of two, m and b: its moments are those of m and b, and
    of their products, which matrix products give for all m and b at once. NaN of maps that do not
    vary; 0 where a component does not lie off the direction.
    """
    variances, voxels = np.diag(among), between.shape[1]
    maps = between - between.mean(axis=1, keepdims=True)
    squares = maps**2
    square, cube = squares.sum(axis=1), (squares * maps).sum(axis=1)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    own, beside = np.full(len(coefficients), np.nan), np.zeros(coefficients.shape)
    spread = _spread(among, coefficients)
    block = max(1, _ENTRIES // max(voxels, 1))
    for start in range(0, len(coefficients), block):
        part = slice(start, start + block)
        varies = np.flatnonzero(spread[part] > 0) + start
        directions = coefficients[varies] / spread[varies, None]
        along = directions @ maps
        squared = along**2
        # Of each component, what is at right angles to the direction.
        shared = directions @ among
        off = np.sqrt(np.maximum(variances - shared**2, 0))
        apart = off > np.sqrt(_ROUNDING)
        scale = np.divide(sine, off, out=np.zeros_like(off), where=apart)
        m3, m2 = (squared * along).sum(axis=1)[:, None], squared.sum(axis=1)[:, None]
        m2b, mb2, mb = squared @ maps.T, along @ squares.T, along @ maps.T
        own[varies] = np.abs(_skewness(m3, m2, voxels))[:, 0]
        for b in (scale, -scale):
            m = cosine - b * shared
            third = m**3 * m3 + 3 * m**2 * b * m2b + 3 * m * b**2 * mb2 + b**3 * cube
            second = m**2 * m2 + 2 * m * b * mb + b**2 * square
            turned = np.abs(np.nan_to_num(_skewness(third, second, voxels)))
            beside[varies] = np.maximum(beside[varies], np.where(apart, turned, 0))
    return own, beside


def _relative(own: Floats, beside: Floats) -> Floats:
    """(M,) of what `_sparseness` gives; NaN where nothing lies beside a direction."""
    sparsest = beside.max(axis=1, initial=0)
    return np.asarray(np.divide(own, sparsest, out=np.full_like(own, np.nan), where=sparsest > 0))


class _Witnesses:
    """Both statistics of some directions."""

    def __init__(self, among: Floats, between: Floats, coefficients: Floats) -> None:
        self._tuned = _tuning(among, between, coefficients, TUNED_VOXELS)
        self._own, self._beside = _sparseness(among, between, coefficients, TURN)
        self._both = np.stack([self._tuned, _relative(self._own, self._beside)])

    def of(self, place: int | None = None) -> Floats:
        """(2, M); of mixtures in the place of a component, so that none is turned to it.

        A component is turned to all others, and so is a sum of two, since both of its parts lie in
        one plane with it. A mixture of all would be turned to one more, and look the less sparse.
        """
        if place is None:
            return self._both
        others = np.delete(self._beside, place, axis=1)
        return np.stack([self._tuned, _relative(self._own, others)])


def _skewness(third: Floats, second: Floats, voxels: int) -> Floats:
    """By sums of powers of deviations over voxels; NaN of maps that do not vary."""
    deviation = np.sqrt(np.maximum(second, 0) / max(voxels, 1))
    varies = deviation > _ROUNDING
    cubed = np.where(varies, deviation, 1) ** 3
    return np.asarray(np.where(varies, third / max(voxels, 1) / cubed, np.nan))


def _one_p(own: float, others: Floats) -> float:
    others = others[np.isfinite(others)]
    if not np.isfinite(own) or not len(others):
        return np.nan
    return float(permutation_p([own], others)[0])


def _combined_p(own: Floats, others: Floats) -> float:
    """p of statistics (W,) together, of which others (W, M) are draws under the null.

    Each draw's p are its ranks among all. The component's own are those of fitted tails beyond
    the ranks, and so is what they come to together: else none of many components could be told.
    """
    others = others[:, np.isfinite(others).all(axis=0)]
    if not np.isfinite(own).all() or not others.shape[1]:
        return np.nan
    total = np.zeros(others.shape[1])
    for value, values in zip(own, others, strict=True):
        below = np.searchsorted(np.sort(values), values - SLACK, side="left")
        below += value < values - SLACK
        total -= np.log(1 - below / (len(values) + 1))
    own_total = -sum(np.log(_one_p(value, each)) for value, each in zip(own, others, strict=True))
    return _one_p(float(own_total), total)


def _standard(values: NDArray[np.floating]) -> Floats:
    """Columns of mean 0 and unit variance; constant ones are 0."""
    centred = np.asarray(values - values.mean(axis=0))
    spread = centred.std(axis=0)
    told = spread > 1e-9 * np.abs(values).max(axis=0, initial=0)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=told))

"""Which voxels respond to a component: the order of voxels that answers "where".

A decoder's weights are a filter. A voxel may have weight because it takes off others' noise, and of
two that respond alike one may have none (Haufe et al. 2014). Where a component lies is told by what
responds to it: voxels whose responses go with its scores, smoothed over neighbours, beyond what
the bulk of the participant's voxels do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.special import ndtr, ndtri

from flows.science.statistics import Floats, require_finite

# Width of the smoothing, in typical distances between neighbours: a voxel counts about as much as
# its nearest neighbours together. Patches of 15 voxels survive it.
WIDTH = 0.75
# Width of the smoothing that orders voxels which do not stand out. A wide one tells single voxels
# in the midst of those that respond from voxels elsewhere.
ORDER_WIDTH = 1.25
# Deviations, before any smoothing, that a voxel must have of its own to stand out: neighbours of
# voxels that respond strongly have much in a smoothed map that is not theirs.
OWN = 1.0
# The kernel's end, in widths.
_CUT = 3.0
# False-discovery rate of the voxels that stand out of one map.
LEVEL = 0.01
# Of a normal distribution, deviation over median absolute deviation.
_NORMAL_MAD = 1.4826
# A spread of this part of the largest value is what rounding leaves of equal values.
_ROUNDING = 1e-9
# The same for sums of float32 products.
_ROUNDING_OF_SUMS = 1e-5
# Largest weight of a voxel that does not stand out, and largest weight of all: below one half and
# below 1 in float32 too, as which weights are stored.
_BELOW_HALF = float(np.nextafter(np.float32(0.5), np.float32(0)))
_BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
# Draws of stimuli for the interval of an area: percentiles of 2.5 have five draws beyond them.
DRAWS = 200
# Bounds what is held at once: values of responses (float64), voxels whose neighbours are sought,
# values of drawn maps, and of the scores of draws (float32 both).
_RESPONSE_BLOCK = 2**21
_VOXEL_BLOCK = 2**15
_MAP_BLOCK = 2**23
_SCORE_BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class RespondingVoxels:
    """How one participant's voxels respond to K components.

    Attributes
    ----------
    maps : ndarray
        (K, V) smoothed correlations of responses with scores (`response_maps`, `smoother`).
    deviation : ndarray
        (K, V) of `deviations`, over the voxels that vary; 0 of those that do not, and of those
        that do not deviate to the same side by `OWN` before any smoothing.
    sign : ndarray
        (K,) of `signs`.
    soft : ndarray
        (K, V) of `soft_weights`: at least one half where a voxel stands out, and only there.
    """

    maps: Floats
    deviation: Floats
    sign: NDArray[np.int8]
    soft: Floats


def find_responding_voxels(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    places: NDArray[np.floating],
    *,
    level: float = LEVEL,
) -> RespondingVoxels:
    """Smoothed response maps, what stands out of them, its sign and its soft weights.

    A voxel that does not vary over the stimuli tells nothing: it has 0 everywhere, its neighbours
    are smoothed without it, and it is no part of the bulk that others are held against.

    Parameters
    ----------
    scores : ndarray
        (I, K) of stimuli along components.
    responses : ndarray
        (I, V) mean responses to the same stimuli.
    places : ndarray
        (V, 3) mm; NaN where a voxel's place is unknown.
    level : float
        False-discovery rate of the voxels that stand out, in (0, 0.5).

    Returns
    -------
    RespondingVoxels

    Raises
    ------
    ValueError
        Where shapes do not match, or scores or responses are not finite.
    """
    _check_level(level)
    _check(scores, responses, places)
    raw = response_maps(scores, responses)
    varies = _varying(responses)
    narrow, wide = _smoothers(varies, places)
    own, wider = _deviations_of(raw, narrow, wide, varies)
    deviation = np.zeros(raw.shape)
    deviation[:, varies] = own
    sign = signs(own, level)
    soft = np.zeros(raw.shape)
    soft[:, varies] = soft_weights(own, sign, level, wider)
    maps = _smoothed(narrow, raw)
    return RespondingVoxels(maps, deviation, sign, soft)


def response_maps(scores: NDArray[np.floating], responses: NDArray[np.floating]) -> Floats:
    """(K, V) correlation over stimuli of what a component answers to and how a voxel responds.

    Parameters
    ----------
    scores : ndarray
        (I, K) of stimuli along components. What counts is their upper side, ``relu(score)``.
    responses : ndarray
        (I, V) mean responses to the stimuli. They are read in blocks of voxels.

    Returns
    -------
    ndarray
        (K, V) Pearson r; 0 where a component or a voxel does not vary.

    Raises
    ------
    ValueError
        Where shapes do not match or values are not finite.
    """
    _check(scores, responses)
    told = _unit_columns(np.maximum(scores, 0)).T.astype(np.float32)
    maps = np.empty((len(told), responses.shape[1]))
    for block in _blocks(responses):
        values = responses[:, block]
        require_finite("responses", values)
        maps[:, block] = told @ _unit_columns(values).astype(np.float32)
    return np.clip(maps, -1, 1, out=maps)


def smoother(places: NDArray[np.floating], width: float = WIDTH) -> sparse.csr_array:
    """(V, V) matrix that takes maps (V, K) to weighted means over each voxel's neighbours.

    Weights are Gaussian. They end at three widths, and each row sums to 1: of the width 0.75 a
    voxel of a lattice has 57 neighbours, itself among them.

    Parameters
    ----------
    places : ndarray
        (V, 3) mm. A voxel whose place is unknown (NaN) is its own mean; so are all where fewer
        than two places differ. Several voxels may share a place.
    width : float
        Standard deviation of the Gaussian in typical distances between neighbours: the median
        over places of the distance to the nearest other place.

    Returns
    -------
    csr_array
        float64; of about 700 bytes a voxel for a width of 0.75.

    Raises
    ------
    ValueError
        Where places are infinite or of another shape, or the width is not above 0.
    """
    places = np.asarray(places, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 3:
        raise ValueError(f"places must be a (V, 3) array, not {places.shape}")
    if np.isinf(places).any():
        raise ValueError("places hold infinite values")
    if not 0 < width < np.inf:
        raise ValueError(f"the width of the smoothing must be above 0, not {width:g}")
    known = ~np.isnan(places).any(axis=1)
    placed = np.flatnonzero(known)
    sigma = width * _typical_distance(places[placed])
    if sigma == 0:
        return sparse.csr_array(sparse.eye_array(len(places)))
    tree = cKDTree(places[placed])
    parts = []
    for start in range(0, len(places), _VOXEL_BLOCK):
        block = slice(start, start + _VOXEL_BLOCK)
        own, alone = np.flatnonzero(known[block]), np.flatnonzero(~known[block])
        near = cKDTree(places[block][own]).sparse_distance_matrix(
            tree, _CUT * sigma, output_type="ndarray"
        )
        row = np.concatenate([own[near["i"]], alone])
        column = np.concatenate([placed[near["j"]], alone + start])
        weight = np.concatenate([np.exp(-0.5 * (near["v"] / sigma) ** 2), np.ones(len(alone))])
        weight /= np.bincount(row, weight)[row]
        shape = (len(known[block]), len(places))
        parts.append(sparse.csr_array((weight, (row, column)), shape=shape))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def remaining_noise(smooth: sparse.csr_array) -> Floats:
    """(V,) what part of independent noise's deviation is left at each voxel by `smoother`.

    1 of a voxel without neighbours, about 0.4 of one in the midst of others.
    """
    return np.sqrt(np.asarray(smooth.power(2).sum(axis=1), dtype=np.float64).ravel())


def deviations(maps: NDArray[np.floating], noise: NDArray[np.floating] | None = None) -> Floats:
    """(K, V) how far each voxel lies from the bulk, in deviations of the bulk.

    Responses to concepts that go together in stimuli go together too, so that r of all voxels
    spreads more than noise makes it: the bulk of voxels itself is the null (Efron 2004). Its
    centre is the median, its deviation that of the median absolute deviation, so that the voxels
    that stand out do not count: they may be a fifth of all.

    Of a smoothed map, voxels with few neighbours vary more than others. Without regard to it
    those at the edges stand out of half of the maps of noise.

    Parameters
    ----------
    maps : ndarray
        (K, V), of voxels that vary alone.
    noise : ndarray, optional
        (V,) relative deviation of each voxel's noise, above 0 (`remaining_noise`); equal where
        not given.

    Returns
    -------
    ndarray
        0 of a map of which half of the voxels have one value: it has no bulk that spreads.

    Raises
    ------
    ValueError
        Where values are not finite, or noise is not above 0, or not of each voxel.

    References
    ----------
    Efron 2004, J. Am. Stat. Assoc. 99, 96 (the empirical null).
    """
    require_finite("maps", maps)
    if noise is None:
        noise = np.ones(maps.shape[1])
    if noise.shape != maps.shape[1:] or not (np.isfinite(noise) & (noise > 0)).all():
        raise ValueError(f"maps {maps.shape} need one noise above 0 each voxel")
    found = np.zeros(maps.shape)
    if not maps.size:
        return found
    for own, row in zip(found, maps, strict=True):
        centred = (row - np.median(row)) / noise
        spread = _NORMAL_MAD * np.median(np.abs(centred))
        if spread > _ROUNDING * np.abs(row).max():
            own[:] = centred / spread
    return found


def signs(deviation: NDArray[np.floating], level: float = LEVEL) -> NDArray[np.int8]:
    """(K,) 1 where voxels that stand out respond more to a component, -1 where they respond less.

    By the sum of the deviations of all that stand out on either side. Beside voxels that respond
    more to faces there are always some that respond less, those of what is shown instead of faces.
    1 where none stands out.
    """
    _check_level(level)
    sums = [
        row[(row >= _smallest(row, level)) | (-row >= _smallest(-row, level))].sum()
        for row in deviation
    ]
    return np.where(np.array(sums) < 0, -1, 1).astype(np.int8)


def standing_out(
    deviation: NDArray[np.floating], sign: NDArray[np.integer], level: float = LEVEL
) -> NDArray[np.bool_]:
    """(K, V) voxels that respond to a component, in its own direction, beyond the bulk.

    Their one-sided p are those of normal deviations, and the family the component's voxels.

    Parameters
    ----------
    deviation : ndarray
        (K, V) of `deviations`.
    sign : ndarray
        (K,) 1 or -1.
    level : float
        Share of those that stand out which may be of the bulk (Benjamini and Hochberg 1995).

    Raises
    ------
    ValueError
        Where signs are not 1 or -1, one a component, or the level is not in (0, 0.5).
    """
    _check_level(level)
    own = _own_direction(deviation, sign)
    least = np.array([_smallest(row, level) for row in own]).reshape(-1, 1)
    return np.asarray(own >= least)


def soft_weights(
    deviation: NDArray[np.floating],
    sign: NDArray[np.integer],
    level: float = LEVEL,
    wider: NDArray[np.floating] | None = None,
) -> Floats:
    """(K, V) weights in [0, 1) in the order of the deviations in the component's own direction.

    ``d / (d + c)`` of a deviation d above 0, else 0. c is the smallest deviation that stands out
    of the component's map, so that weights of at least one half are those of `standing_out`, in
    float32 too. Where none stands out, c is the deviation that one voxel alone would need among
    so many, ``-ndtri(level / V)``: no weight reaches one half.

    Parameters
    ----------
    deviation, sign, level
        As `standing_out` takes them.
    wider : ndarray, optional
        (K, V) deviations of maps that were smoothed more widely: d of voxels that do not stand
        out. Their c is the largest of these d, where that is more.

    Raises
    ------
    ValueError
        As `standing_out`, or where `wider` has another shape.
    """
    _check_level(level)
    own = _own_direction(deviation, sign)
    rest = own if wider is None else _own_direction(wider, sign)
    if rest.shape != own.shape:
        raise ValueError(f"deviations {own.shape} and wider ones {rest.shape} do not match")
    found = np.zeros(own.shape)
    for weight, row, other in zip(found, own, rest, strict=True):
        least = _smallest(row, level)
        middle = least if np.isfinite(least) else -ndtri(level / max(len(row), 1))
        beyond = row >= least
        above = np.maximum(np.where(beyond, row, other), 0)
        # So large that those of a wider smoothing keep their order below one half.
        below = max(middle, above[~beyond].max(initial=0))
        most = np.where(beyond, _BELOW_ONE, _BELOW_HALF)
        # d / (d + c), so written that each rounding keeps the order.
        with np.errstate(divide="ignore", over="ignore"):
            share = 1 / (1 + np.where(beyond, middle, below) / above)
        weight[:] = np.minimum(share, most)
    return found


def area_interval(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    places: NDArray[np.floating],
    sign: NDArray[np.integer],
    regions: NDArray[np.bool_],
    *,
    seed: int,
    draws: int = DRAWS,
    mass: float = 0.95,
    level: float = LEVEL,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Floats, Floats]:
    """Bootstrap interval of the area under the curve of each component's weights and each region.

    Stimuli are drawn with replacement; maps are computed anew, smoothed, and ranked as
    `find_responding_voxels` ranks them: by the deviation in the component's direction, all below
    the median alike. Voxels are not drawn: neighbours are alike, and what varies from study to
    study are the stimuli shown. A draw repeats some stimuli and lacks others, so its maps are
    noisier than the study's: intervals lie rather low, and the highest areas may lie above theirs.

    Parameters
    ----------
    scores, responses, places, level
        As `find_responding_voxels` takes them.
    sign : ndarray
        (K,) of `signs`, over all stimuli.
    regions : ndarray
        (R, V) bool.
    seed : int
    draws : int
    mass : float
        Of the interval, in (0, 1).
    on_progress : callable, optional
        Called with draws done and draws in all, after each of them.

    Returns
    -------
    low, high : ndarray
        (K, R) each; NaN of a region of no or all voxels, or where a component does not vary.

    Raises
    ------
    ValueError
        Where shapes do not match or values are not finite.
    """
    _check(scores, responses, places)
    regions = np.asarray(regions, dtype=bool)
    if regions.ndim != 2 or regions.shape[1] != responses.shape[1]:
        raise ValueError(f"responses {responses.shape} and regions {regions.shape} do not match")
    if draws < 1 or not 0 < mass < 1:
        raise ValueError(f"{draws} draws do not make an interval of mass {mass:g}")
    told = _unit_columns(np.maximum(scores, 0))
    varies = told.any(axis=0)
    count, size = regions.shape[1], regions.sum(axis=1)
    partly = (size > 0) & (size < count)
    low, high = (np.full((told.shape[1], len(regions)), np.nan) for _ in range(2))
    direction = _own_direction(np.ones((told.shape[1], 1)), sign)[varies]
    _check_level(level)
    # Before all else, since this refuses what is not finite.
    live = _varying(responses)
    smooths = _smoothers(live, places)
    if not (partly.any() and varies.any()):
        return low, high
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(told), np.full(len(told), 1 / len(told)), size=draws)
    members = sparse.csr_array(regions[partly].astype(np.float64))
    # Rank sum to area; ranks are centred, so no offset but one half.
    scale = 1 / (size[partly] * (count - size[partly]).astype(np.float64))
    areas = np.empty((draws, int(varies.sum()), int(partly.sum())))
    each = _drawn_maps(told[:, varies], responses, drawn)
    for done, (area, maps) in enumerate(zip(areas, each, strict=True), start=1):
        raw = maps * direction
        order = np.zeros(raw.shape)
        order[:, live] = _order(*_deviations_of(raw, *smooths, live), level)
        ranks = _centred_ranks(order)
        area[:] = (members @ ranks.T).T * scale + 0.5
        if on_progress is not None:
            on_progress(done, draws)
    ends = np.quantile(areas, [(1 - mass) / 2, (1 + mass) / 2], axis=0)
    low[np.ix_(varies, partly)], high[np.ix_(varies, partly)] = ends
    return low, high


def _drawn_maps(
    told: Floats, responses: NDArray[np.floating], drawn: NDArray[np.integer]
) -> Iterator[NDArray[np.float32]]:
    """(K, V) correlations, a draw at a time: stimulus i counts ``drawn[draw, i]`` times.

    Several draws are made of one pass over the responses, a block of voxels at a time.
    """
    stimuli, components = told.shape
    voxels = responses.shape[1]
    at_once = min(_MAP_BLOCK // (components * voxels), _SCORE_BLOCK // (components * stimuli))
    for start in range(0, len(drawn), max(at_once, 1)):
        weight = drawn[start : start + max(at_once, 1)] / stimuli
        mean = weight @ told
        inverse = _inverse_deviation(mean, weight @ told**2)
        # (draws, K, I): weighted, centred and scaled, so that a product gives r but for the voxels.
        z = (weight[:, None] * (told.T - mean[..., None]) * inverse[..., None]).astype(np.float32)
        weight = weight.astype(np.float32)
        maps = np.empty((len(weight), components, voxels), dtype=np.float32)
        for block in _blocks(responses):
            x = _unit_columns(responses[:, block]).astype(np.float32)
            inverse = _inverse_deviation(weight @ x, weight @ x**2)
            product = (z.reshape(-1, stimuli) @ x).reshape(len(weight), components, -1)
            np.multiply(product, inverse[:, None], out=maps[..., block])
        yield from maps


def _inverse_deviation(mean: NDArray[np.floating], square: NDArray[np.floating]) -> Floats:
    """1 over the standard deviation; 0 where nothing but rounding is left of it."""
    variance = np.asarray(square, dtype=np.float64) - np.asarray(mean, dtype=np.float64) ** 2
    varies = variance > _ROUNDING_OF_SUMS * square
    return np.asarray(varies / np.sqrt(np.where(varies, variance, 1)))


def _smoothers(
    live: NDArray[np.bool_], places: NDArray[np.floating]
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """What tells which voxels stand out, and what orders the others."""
    where = _places_of(live, places)
    return smoother(where), smoother(where, ORDER_WIDTH)


def _deviations_of(
    raw: NDArray[np.floating],
    narrow: sparse.csr_array,
    wide: sparse.csr_array,
    live: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Deviations that stand out or do not, and that order: of voxels that vary, of raw maps."""
    found, wider = (
        deviations(_smoothed(smooth, raw)[:, live], remaining_noise(smooth)[live])
        for smooth in (narrow, wide)
    )
    alone = deviations(raw[:, live])
    return np.where(np.sign(found) * alone >= OWN, found, 0), wider


def _order(narrow: Floats, wide: Floats, level: float) -> Floats:
    """What puts voxels in the order of `soft_weights`, in the components' own direction."""
    least = np.array([_smallest(row, level) for row in narrow])[:, None]
    top = wide.max(axis=1, initial=0, keepdims=True)
    return np.where(narrow >= least, top + narrow, np.maximum(wide, 0))


def _centred_ranks(maps: NDArray[np.floating]) -> Floats:
    """(K, V) ranks of the voxels of each map, minus their mean; ties share theirs."""
    order = np.argsort(maps, axis=1)
    ranks = np.empty(maps.shape)
    for own, row, places in zip(ranks, maps, order, strict=True):
        ordered = row[places]
        ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(row))
        length = np.diff(ends, prepend=0)
        own[places] = np.repeat(ends - (length + len(row)) / 2, length)
    return ranks


def _smoothed(smooth: sparse.csr_array, maps: NDArray[np.floating]) -> Floats:
    return np.ascontiguousarray(np.asarray(smooth @ maps.T).T, dtype=np.float64)


def _typical_distance(places: NDArray[np.floating]) -> float:
    """Median over places of the distance to the nearest other place, mm; 0 where there is none."""
    different = np.unique(places, axis=0)
    if len(different) < 2:
        return 0.0
    nearest = np.asarray(cKDTree(different).query(different, k=2)[0])[:, 1]
    return float(np.median(nearest))


def _places_of(member: NDArray[np.bool_], places: NDArray[np.floating]) -> Floats:
    """Places of some voxels, those of the others taken for unknown."""
    return np.where(member[:, None], np.asarray(places, dtype=np.float64), np.nan)


def _smallest(own: NDArray[np.floating], level: float) -> float:
    """Smallest deviation that stands out among the (V,) of one map; infinite where none does.

    As `benjamini_hochberg` says, of the few whose p is below the level: no other can stand out.
    """
    some = np.sort(own[own >= -ndtri(level)])[::-1]
    passing = ndtr(-some) * len(own) <= level * np.arange(1, len(some) + 1)
    return float(some[np.flatnonzero(passing)[-1]]) if passing.any() else np.inf


def _own_direction(deviation: NDArray[np.floating], sign: NDArray[np.integer]) -> Floats:
    sign = np.asarray(sign)
    if deviation.ndim != 2 or sign.shape != deviation.shape[:1] or (np.abs(sign) != 1).any():
        raise ValueError(f"deviations {deviation.shape} need one sign of 1 or -1 each component")
    require_finite("deviations", deviation)
    return np.asarray(deviation * sign[:, None], dtype=np.float64)


def _unit_columns(values: NDArray[np.floating]) -> Floats:
    """Columns centred and at length 1; exactly 0 where constant."""
    if not len(values):
        return np.zeros(values.shape)
    constant = np.ptp(values, axis=0) == 0
    centred = np.subtract(values, values.mean(axis=0, dtype=np.float64), dtype=np.float64)
    # Scaled first: squares of very large or small values have no number.
    size = np.abs(centred).max(axis=0)
    centred /= np.where(constant | (size == 0), 1, size)
    length = np.linalg.norm(centred, axis=0)
    centred /= np.where(length == 0, 1, length)
    centred[:, constant] = 0
    return np.asarray(centred)


def _varying(responses: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(V,) voxels that vary over stimuli."""
    varies = np.zeros(responses.shape[1], dtype=bool)
    if len(responses):
        for block in _blocks(responses):
            require_finite("responses", responses[:, block])
            varies[block] = np.ptp(responses[:, block], axis=0) > 0
    return varies


def _blocks(responses: NDArray[np.floating]) -> Iterator[slice]:
    """Of voxels, few enough to hold in float64."""
    width = max(_RESPONSE_BLOCK // max(len(responses), 1), 1)
    for start in range(0, responses.shape[1], width):
        yield slice(start, start + width)


def _check(
    scores: NDArray[np.floating],
    responses: NDArray[np.floating],
    places: NDArray[np.floating] | None = None,
) -> None:
    if scores.ndim != 2 or responses.ndim != 2 or len(scores) != len(responses):
        raise ValueError(f"scores {scores.shape} and responses {responses.shape} do not match")
    if places is not None and places.shape != (responses.shape[1], 3):
        raise ValueError(f"responses {responses.shape} and places {places.shape} do not match")
    # Responses may not fit in memory: they are looked at where they are read.
    require_finite("scores", scores)


def _check_level(level: float) -> None:
    if not 0 < level < 0.5:
        raise ValueError(f"level must lie between 0 and 0.5, not {level:g}")

"""What participants share: masks that agree, and concepts that several decode."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flows.science.participants import participant_names
from flows.science.placed_agreement import SignedMask, placed_agreement_p
from flows.science.similarity import bin_masks, compare_masks
from flows.science.statistics import (
    Floats,
    require_finite,
    require_permutations,
)
from flows.science.stats.tails import permutation_p

# Pairings that a tail can be fitted to.
_FEW = 200


def agreement_test(
    masks: Sequence[NDArray[np.floating]],
    coordinates: Sequence[NDArray[np.floating]],
    ok: NDArray[np.bool_],
    *,
    permutations: int,
    seed: int,
    bin_mm: float = 6.0,
    level: float = 1.0,
    labels: Sequence[str] | None = None,
    pool: NDArray[np.bool_] | None = None,
    sides: Sequence[NDArray[np.integer]] | None = None,
    threshold: float = 0.5,
) -> tuple[Floats, Floats]:
    """Whether participants' masks of one component agree better than those of different ones.

    Masks are averaged in bins of a common space. The agreement of two participants is the
    correlation of their masks over the bins that both cover: unlike Dice, it has the same
    chance level, zero, for small and large masks. A component's agreement is the mean over
    its pairs of participants.

    What is tested is the mean of these correlations, each over the standard deviation that it
    would have of unrelated masks as smooth as the two (`compare_masks`). Broad masks correlate
    by chance more than focal ones do: by the correlations alone, unrelated masks of unequal
    smoothness had p < 0.05 in 12 % of cases where they were broad, in 2 % where focal.

    Null: pairings in which each participant's mask is that of a component drawn at random from
    those that the participant decodes. No two participants draw the same one while their pools
    hold another: what they share of it is no null, and would make p too large. Two who must
    draw the same one are not compared with each other in that pairing. Each pairing counts
    once, so that with M in all a counted p is at least 1 / (1 + M): fewer than 19 give none of
    0.05. Where 200 or more pairings are drawn, p near that floor is that of a fitted tail
    (`permutation_p`); fewer are too few to fit one to, and pairings are drawn from `pool` then,
    where it is given.

    Where there are so few components that one alone could not reach a q of `level`, members
    (weights from `threshold` on, of either sign) are held against the same shapes placed elsewhere
    (`placed_agreement_p`).

    The test is relative to the other components. Where all are mixtures of the same few
    concepts their masks are alike, and p is too large rather than too small. Masks may differ
    in size and smoothness, but where those of the others lie in one part of the brain and a
    component's in another, that alone is agreement.

    Parameters
    ----------
    masks : sequence of ndarray
        S of (V_s, K) weights, soft or hard.
    coordinates : sequence of ndarray
        S of (V_s, 3) mm in a common space such as MNI; voxels with a NaN are left out.
    ok : ndarray
        (S, K) bool: which masks count, those of components the participant decodes.
    permutations : int
        P.
    seed : int
    bin_mm : float
        Edge of a bin.
    level : float
        Of q over components: where one alone could not reach it, pairings are no null.
    labels : sequence of str, optional
        Names of the participants, for errors.
    pool : ndarray, optional
        (S, K) bool, those of `ok` among them: further masks to pair where decoded ones make fewer
        than 200 pairings, as all that are usable. Masks of what is not decoded say less of where
        signal lies, which decoded ones have in common: they are the second choice.
    sides : sequence of ndarray, optional
        S of (V_s,) hemispheres, for placements.
    threshold : float
        Weight from which a voxel is a member, for placements.

    Returns
    -------
    agreement, p : ndarray
        (K,) each, p one-sided; both NaN where fewer than two participants have masks that can be
        compared.

    Raises
    ------
    ValueError
        Where shapes do not match, or masks are not finite.
    """
    count = _check_masks(masks, coordinates, ok, labels)
    if pool is not None and pool.shape != ok.shape:
        raise ValueError(f"ok of shape {ok.shape} and pool of shape {pool.shape} do not match")
    require_permutations(permutations)
    if not bin_mm > 0:
        raise ValueError(f"bin_mm must be above 0, not {bin_mm}")
    binned = [bin_masks(m, c, bin_mm) for m, c in zip(masks, coordinates, strict=True)]
    similarity = {
        (a, b): found
        for a, b in combinations(range(len(masks)), 2)
        if (found := compare_masks(binned[a], binned[b])) is not None
    }
    score = {pair: found.correlation / found.deviation for pair, found in similarity.items()}
    agreement, p = np.full(count, np.nan), np.full(count, np.nan)
    nulls: dict[tuple[tuple[int, int], ...], Floats] = {}
    for component in range(count):
        have = np.flatnonzero(ok[:, component]).tolist()
        pairs = tuple(pair for pair in combinations(have, 2) if pair in similarity)
        if not pairs:
            continue
        own = (component, component)
        agreement[component] = np.mean([similarity[pair].correlation[own] for pair in pairs])
        # Components that the same participants decode have one null in common.
        if pairs not in nulls:
            tables = {pair: score[pair] for pair in pairs}
            null = _null_scores(tables, ok, permutations, seed)
            if pool is not None and len(null) < min(_FEW, permutations):
                null = _null_scores(tables, ok | pool, permutations, seed)
            nulls[pairs] = null
        null = nulls[pairs]
        # Of the smallest p that they count, one component alone must reach a q of the level.
        if len(null) >= _FEW or (len(null) and count / (1 + len(null)) <= level):
            observed = np.mean([score[pair][own] for pair in pairs])
            p[component] = permutation_p([observed], null)[0]
        else:
            p[component] = placed_agreement_p(
                [
                    _signed(
                        masks[each][:, component],
                        coordinates[each],
                        None if sides is None else sides[each],
                        threshold,
                    )
                    for each in sorted({one for pair in pairs for one in pair})
                ],
                placements=permutations,
                seed=seed,
                bin_mm=bin_mm,
            )
    return agreement, p


def _signed(
    weights: NDArray[np.floating],
    coordinates: NDArray[np.floating],
    side: NDArray[np.integer] | None,
    threshold: float,
) -> SignedMask:
    members = np.abs(weights) >= threshold
    sign = -1.0 if weights[members].sum() < 0 else 1.0
    return SignedMask(members, coordinates, side, sign)


def _null_scores(
    tables: Mapping[tuple[int, int], Floats], ok: NDArray[np.bool_], permutations: int, seed: int
) -> Floats:
    """Mean scores (N,) of distinct pairings of different components, N at most `permutations`.

    `tables` holds the scores (K, K) of each pair of participants.
    """
    compared = sorted({participant for pair in tables for participant in pair})
    generator = np.random.default_rng([seed, *compared])
    drawn = np.unique(_draw_pairings(ok[compared], permutations, generator), axis=1)
    of = dict(zip(compared, drawn, strict=True))
    total, pairs = np.zeros(drawn.shape[1]), np.zeros(drawn.shape[1])
    for (a, b), table in tables.items():
        different = of[a] != of[b]
        total += np.where(different, table[of[a], of[b]], 0)
        pairs += different
    return total[pairs > 0] / pairs[pairs > 0]


def _draw_pairings(
    ok: NDArray[np.bool_], permutations: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Components (S, P) drawn from each participant's pool, ok (S, K).

    Within a pairing they differ, but where all of a pool are taken.
    """
    drawn = np.empty((len(ok), permutations), dtype=np.intp)
    taken = np.zeros((permutations, ok.shape[1]), dtype=bool)
    # The smallest pool has the least choice, and draws first.
    for participant in np.argsort(ok.sum(axis=1), kind="stable"):
        pool = np.flatnonzero(ok[participant])
        # Random order, those taken last.
        key = generator.random((permutations, len(pool))) + taken[:, pool]
        drawn[participant] = pool[key.argmin(axis=1)]
        taken[np.arange(permutations), drawn[participant]] = True
    return drawn


def _check_masks(
    masks: Sequence[NDArray[np.floating]],
    coordinates: Sequence[NDArray[np.floating]],
    ok: NDArray[np.bool_],
    labels: Sequence[str] | None,
) -> int:
    """Number of components, where everything fits."""
    if not masks or len(masks) != len(coordinates) or ok.shape != (len(masks), masks[0].shape[1]):
        raise ValueError(
            f"{len(masks)} participants' masks, {len(coordinates)} coordinate tables and ok of "
            f"shape {ok.shape} do not match"
        )
    names = participant_names(labels, len(masks))
    for name, mask, table in zip(names, masks, coordinates, strict=True):
        if mask.shape != (len(table), ok.shape[1]) or table.shape != (len(table), 3):
            raise ValueError(
                f"{name}: masks {mask.shape} and coordinates {table.shape} do not match"
            )
        require_finite(f"masks of {name}", mask)
    return int(ok.shape[1])

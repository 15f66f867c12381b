"""Calibration: how often tests find something on null data, and what they find beside it.

Shares are of p < 0.05 over at least 1,000 repetitions, with their 95 % intervals; p values of one
repetition depend on each other and are counted as one cluster.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from scipy import stats

from flows.science.claims import YES, Evidence, judge
from flows.science.sharing import agreement_test
from flows.science.specificity import draw_mixtures, mix, mixture_sums, voxel_p
from flows.science.statistics import (
    benjamini_hochberg,
    correlation_test,
    group_means,
    region_test,
)
from flows.science.stats.orders import choose_order_scheme
from flows.science.stats.tails import permutation_p
from tests.benchmarks.nulls import (
    SCALES_MM,
    Brain,
    MaskKind,
    Told,
    ToldNull,
    draw_masks,
    draw_told,
    grow_brain,
    respond,
    respond_in_order,
    saturated,
)

REPETITIONS, PERMUTATIONS, BRAINS = 1000, 299, 20
LEVEL = 0.05
FITTED_LEVEL = 0.001
"""Below the floor of counted p: what is found there is found by fitted tails."""
SMOOTHNESS = {"white": 0.0, "1 voxel": 1.0, "2 voxels": 2.0, "4 voxels": 4.0}
RESPONSES = {
    "most images answer": 0.0,
    "one image in 5 answers": 0.3,
    "one image in 25 answers": 0.5,
}
ORDERS = {
    "random order": ("random", 6, 50),
    "blocks of a topic": ("topics", 6, 50),
    "similar stimuli follow each other": ("similar", 6, 50),
    "the same, one run of 300 trials": ("similar", 1, 300),
    "the same, 12 runs of 20 trials": ("similar", 12, 20),
    "a topic of its own in each run": ("run topics", 6, 50),
    "8 trained categories in blocks": ("categories", 6, 40),
}
"""Orders of the stimuli, number of runs, and trials of each."""
MIXTURES = 999
"""Of a run's components, what one of them is held against."""
SPECIFICITY = {"4 components": 4, "12 components": 12, "24 components": 24}
SPECIFICITY_NULLS: dict[str, ToldNull] = {
    "any direction": "any",
    "the sum of two that are planted": "sum",
    "two that are planted, of either sign": "pair",
}
AGREEMENT = {
    "4 participants, 12 smooth masks each": MaskKind(4, 12),
    "2 participants, 8 smooth masks each": MaskKind(2, 8),
    "size and smoothness by component": MaskKind(4, 12, own="uneven"),
    "patches at places of their own": MaskKind(4, 12, own="patches"),
    "all masks where there is signal": MaskKind(4, 12, where_signal=True),
    "half of the 12 shared, patches": MaskKind(4, 12, shared=6, own="patches"),
    "the same, where there is signal": MaskKind(4, 12, shared=6, own="patches", where_signal=True),
    "half of 12 shared by 8 participants": MaskKind(8, 12, shared=6, own="patches"),
    "half shared, the others smooth": MaskKind(4, 12, shared=6),
    "half shared, the others uneven": MaskKind(4, 12, shared=6, own="uneven"),
    "11 of 12 mixtures of 3 shared concepts": MaskKind(4, 12, shared=11, concepts=3),
}
"""Settings of the agreement test; the components that are not shared are judged."""


def measure() -> Iterator[str]:
    """Shares of p < 0.05 on null data for each test, power beside them, then false discoveries."""
    exact = np.ceil(LEVEL * (1 + PERMUTATIONS) - 1) / (1 + PERMUTATIONS)
    yield (
        f"{PERMUTATIONS} permutations: an exact test gives {exact:.3f}; target 0.03 to 0.07; "
        f"last, the share of p < {FITTED_LEVEL:g}, all by fitted tails"
    )
    brains = [grow_brain(number) for number in range(BRAINS)]
    yield "correlation of test trials, images seen 1 to 3 times, 8 correlated components"
    yield from _measure_correlation()
    yield "the same in the order of the trials, predictions smooth in time (AR(1) 0.8)"
    yield from _measure_orders()
    yield (
        f"specific, {MIXTURES} mixtures of each kind: what is no more than a direction that voxels "
        "carry"
    )
    yield from _measure_specificity()
    yield "region, maps smoothed by a full width at half maximum; whole brains are the clusters"
    yield from _measure_regions(brains)
    yield "agreement of masks"
    yield from _measure_agreement(brains)
    yield "false discovery rate at q <= 0.05, 4 participants, 12 components"
    yield from _measure_discoveries(brains)


def share(hits: np.ndarray) -> tuple[float, float, float]:
    """Mean of the hits and its 95 % interval, from the means of the rows.

    Parameters
    ----------
    hits : ndarray
        (C, ...), one row a cluster; NaN counts for nothing.
    """
    rows = np.nanmean(hits.reshape(len(hits), -1).astype(float), axis=1)
    rows = rows[~np.isnan(rows)]
    half = stats.t.ppf(0.975, len(rows) - 1) * rows.std(ddof=1) / np.sqrt(len(rows))
    return float(rows.mean()), float(rows.mean() - half), float(rows.mean() + half)


def _told(hits: np.ndarray) -> str:
    mean, low, high = share(hits)
    return f"{mean:.3f} ({max(low, 0):.3f} to {min(high, 1):.3f})"


def _told_p(p: np.ndarray) -> str:
    """Shares below both levels of p, one row a cluster; NaN was not tested."""
    tested = np.isfinite(p)
    small = np.where(tested, p < FITTED_LEVEL, np.nan)
    return f"{_told(np.where(tested, p < LEVEL, np.nan))}, {share(small)[0]:.4f}"


def _measure_correlation() -> Iterator[str]:
    for name, bend in RESPONSES.items():
        p = np.empty((REPETITIONS, 8))
        for number in range(REPETITIONS):
            rng = np.random.default_rng([number, 2])
            drawn = respond(8, rng, bend=bend)
            _, p[number] = correlation_test(
                drawn.z, drawn.zhat, drawn.image, permutations=PERMUTATIONS, seed=number
            )
        yield f"  {name}: {_told_p(p)}"


def _measure_orders() -> Iterator[str]:
    """By the scheme that is chosen, and by free permutations."""
    for name, (order, runs, trials) in ORDERS.items():
        p, free = np.empty((2, REPETITIONS, 8))
        kinds: Counter[str] = Counter()
        for number in range(REPETITIONS):
            rng = np.random.default_rng([number, 6])
            drawn = respond_in_order(order, 8, rng, runs=runs, trials=trials)
            scheme = choose_order_scheme(
                drawn.vectors,
                drawn.image,
                drawn.run,
                seed=number,
                training_image=np.arange(8) if order == "categories" else None,
            )
            kinds[scheme.kind] += 1
            responses = (drawn.z, drawn.zhat, drawn.image)
            _, p[number] = correlation_test(
                *responses, permutations=PERMUTATIONS, seed=number, scheme=scheme, run=drawn.run
            )
            _, free[number] = correlation_test(*responses, permutations=PERMUTATIONS, seed=number)
        chosen = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        yield f"  {name} ({chosen}): {_told_p(p)}; free permutations {_told_p(free)}"


def _measure_specificity() -> Iterator[str]:
    """Of what voxels carry and a mask tells, the last component is nothing more than the rest.

    Any direction among such; and an equal mixture of two planted components among all planted
    ones. Beside it power for the first of the planted, with a mask that tells it best.
    """
    for name, count in SPECIFICITY.items():
        for title, null in SPECIFICITY_NULLS.items():
            p, power = np.empty((2, REPETITIONS, 5))
            for number in range(REPETITIONS):
                drawn = draw_told(count, np.random.default_rng([number, 7]), null=null)
                p[number], power[number] = _specificity(drawn, number)
            parts = ("tuned", "sparse", "both", "by the mask", "specific")
            told = zip(parts, p.T, power.T, strict=True)
            yield f"  {name}, {title}"
            for part, judged, planted in told:
                found = f"; power {_told(planted[:, None] < LEVEL)}" if null == "sum" else ""
                yield f"    {part}: {_told_p(judged[:, None])}{found}"


def _specificity(drawn: Told, seed: int) -> tuple[list[float], list[float]]:
    """p of the last component, and of the first with a mask of its own, by every part."""
    count = len(drawn.components)
    scores, responses = (
        group_means(values, drawn.image) for values in (drawn.y @ drawn.components.T, drawn.x)
    )
    voxels = voxel_p(scores, responses, mixtures=MIXTURES, seed=seed)
    mixtures = mix(draw_mixtures(count, MIXTURES, seed), drawn.components)
    judged = []
    for index, masked in ((count - 1, drawn.masked), (0, drawn.own)):
        r, null = (
            mixture_sums(drawn.y, masked, drawn.image, each).correlations()
            for each in (drawn.components[[index]], mixtures)
        )
        own = float(permutation_p(r, null)[0])
        told = [float(each[index]) for each in (voxels.tuned, voxels.sparse, voxels.combined)]
        judged.append([*told, own, max(told[-1], own)])
    return judged[0], judged[1]


def _measure_regions(brains: list[Brain]) -> Iterator[str]:
    """Brains are the clusters: the maps of one are judged by the same placements."""
    count = REPETITIONS // len(brains)
    found = np.empty((len(brains), 2 * len(SMOOTHNESS), count, len(brains[0].regions)))
    for number, brain in enumerate(brains):
        rng = np.random.default_rng([number, 3])
        plain = [brain.smooth_maps(count, fwhm, rng) for fwhm in SMOOTHNESS.values()]
        maps = plain + [saturated(each, rng) for each in plain]
        p = region_test(
            np.concatenate(maps, axis=1),
            np.array(list(brain.regions.values())),
            brain.native,
            permutations=PERMUTATIONS,
            seed=number,
        ).p
        found[number] = p.reshape(found.shape[1:])
    names = [*SMOOTHNESS, *(f"{name}, as masks" for name in SMOOTHNESS)]
    for index, name in enumerate(names):
        yield f"  {name}: {_told_p(found[:, index])}"
    for index, name in enumerate(brains[0].regions):
        yield f"  all maps, {name}: {_told_p(found[..., index])}"


def _measure_agreement(brains: list[Brain]) -> Iterator[str]:
    for name, kind in AGREEMENT.items():
        ok = np.ones((kind.participants, kind.components), dtype=bool)
        p = np.empty((REPETITIONS, kind.components))
        for number in range(REPETITIONS):
            masks, places = draw_masks(kind, brains, np.random.default_rng([number, 4]))
            _, p[number] = agreement_test(masks, places, ok, permutations=PERMUTATIONS, seed=number)
        power = f", power {_told(p[:, : kind.shared] < LEVEL)}" if kind.shared else ""
        yield f"  {name}: {_told_p(p[:, kind.shared :])}{power}"
        if kind.own == "uneven":
            for index, scale in enumerate(SCALES_MM):
                judged = p[:, kind.shared :][:, index :: len(SCALES_MM)]
                yield f"    of them smooth over {scale:g} mm: {_told_p(judged)}"


def _measure_discoveries(brains: list[Brain]) -> Iterator[str]:
    """A third shared; a third decodable, with unlike masks; a third that nobody decodes."""
    kind = MaskKind(4, 12, shared=4, own="patches")
    decodable = np.arange(kind.components) < 8
    shared = np.arange(kind.components) < kind.shared
    tests, concepts = np.empty((2, REPETITIONS)), np.empty((2, REPETITIONS))
    for number in range(REPETITIONS):
        rng = np.random.default_rng([number, 5])
        signal = np.where(decodable, rng.uniform(0.5, 1.5, kind.components), 0)
        p_test = np.empty((kind.participants, kind.components))
        for participant in range(kind.participants):
            drawn = respond(kind.components, rng, signal=signal)
            _, p_test[participant] = correlation_test(
                drawn.z, drawn.zhat, drawn.image, permutations=PERMUTATIONS, seed=number
            )
        decodes = benjamini_hochberg(p_test) <= LEVEL
        tests[:, number] = _judged(decodes, np.broadcast_to(decodable, decodes.shape))
        masks, places = draw_masks(kind, brains, rng)
        agreement, agreement_p = agreement_test(
            masks, places, decodes, permutations=PERMUTATIONS, seed=number
        )
        evidence = Evidence(
            usable=np.ones(p_test.shape, dtype=bool),
            p_hard=p_test,
            specific_p=np.full(p_test.shape, np.nan),
            agreement=agreement,
            agreement_p=agreement_p,
            cosine=None,
            chance=None,
            replication_cosine=None,
            replication_p=None,
        )
        claims = judge(evidence, minimum=kind.participants // 2, level=LEVEL, cosine=0.8).verdicts
        both = (claims["decodable"] == YES) & (claims["agreeing"] == YES)
        concepts[:, number] = _judged(both, shared)
    for name, (false, found) in {
        "participants x components that decode": tests,
        "decodable and agreeing concepts": concepts,
    }.items():
        yield f"  {name}: false {_told(false)}, found {_told(found)}"


def _judged(claimed: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Share of the claims that are false, 0 of none, and share of what is true that is claimed."""
    false = (claimed & ~true).sum() / max(claimed.sum(), 1)
    return float(false), float((claimed & true).sum() / true.sum())

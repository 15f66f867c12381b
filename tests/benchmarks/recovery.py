"""Planted concepts recovered by masks, against ridge weights along PCA's and along our components.

All get the same responses, vectors and number of components. The component for a planted concept
is the one of largest cosine to its direction, PCA's with either sign.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tests.benchmarks.simulation import (
    Cohort,
    CohortSize,
    decode,
    draw_cohort,
    find_components,
    find_masks,
    found,
    nearest,
    planted_aucs,
)

SEEDS, SIZE = (101, 102, 103), CohortSize()
OURS, HARD = "our masks", "our masks, hard"
PCA, CUT = "PCA and ridge weights", "ridge weights, cut to the size of our hard masks"
RIDGE = "ridge weights along our components, uncut"


def measure(size: CohortSize = SIZE, seeds: Sequence[int] = SEEDS) -> Iterator[str]:
    """Mean AUC of each way over seeds, participants and concepts."""
    yield (
        f"{size.participants} participants, {np.prod(size.grid):,} voxels, "
        f"{3 * size.images:,} training trials, {size.concepts} planted concepts of {size.patch} "
        f"voxels, components by default; seeds {', '.join(map(str, seeds))}"
    )
    runs, ceilings = [], []
    for seed in seeds:
        cohort = draw_cohort(size, seed)
        ceilings += [one.noise_ceiling for one in cohort.participants]
        runs.append(compare(cohort, seed))
    yield f"median noise ceiling {np.median(ceilings):.1f} % (of voxels that answer to anything)"
    for name in runs[0]:
        means = [float(run[name].mean()) for run in runs]
        share = sum(found(run[name]) for run in runs)
        yield (
            f"{name}: mean AUC {np.mean(means):.3f} (by seed "
            f"{', '.join(f'{mean:.3f}' for mean in means)}); "
            f"found {share} of {size.concepts * len(runs)}"
        )
    for ours, peer in ((OURS, PCA), (HARD, CUT), (OURS, RIDGE)):
        ahead = np.mean([run[ours].mean() - run[peer].mean() for run in runs])
        pairs = np.concatenate([(run[ours] - run[peer]).ravel() for run in runs])
        yield (
            f"{ours} - {peer}: {ahead:+.3f}; ahead for {(pairs > 0).mean():.0%}, "
            f"behind for {(pairs < 0).mean():.0%} of masks"
        )


def compare(cohort: Cohort, seed: int) -> dict[str, np.ndarray]:
    """AUC (S, C) of each way's maps against the planted voxels."""
    decoded = decode(cohort, seed)
    components = find_components(cohort, decoded, seed)
    chosen = components[nearest(components, cohort.directions)]
    # The masks of a component do not depend on the others: only those that are judged are fitted.
    fits = find_masks(cohort, decoded, chosen, seed)
    principal = principal_components(cohort, len(components))
    principal = principal[nearest(principal, cohort.directions)]
    weights = [each.ridge.parameters["weight"] for each in decoded]
    along = [chosen @ weight for weight in weights]
    maps = {
        OURS: [fit.soft for fit in fits],
        PCA: [principal @ weight for weight in weights],
        HARD: [fit.members.astype(float) for fit in fits],
        CUT: [_cut(ridge, fit.members) for ridge, fit in zip(along, fits, strict=True)],
        RIDGE: along,
    }
    return {name: planted_aucs(cohort, each) for name, each in maps.items()}


def principal_components(cohort: Cohort, count: int) -> np.ndarray:
    """(2 * count, D) of the vectors of the images that our components are sought on, both signs."""
    image = np.concatenate([one.trials[1] for one in cohort.participants])
    vectors = cohort.vectors[image]
    rows = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2][:count]
    return np.concatenate([rows, -rows])


def _cut(scores: np.ndarray, members: np.ndarray) -> np.ndarray:
    """1 for as many of the highest scores of each row as the row has members, else 0."""
    rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(rank < members.sum(axis=1, keepdims=True)).astype(float)

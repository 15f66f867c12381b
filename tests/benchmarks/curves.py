"""Planted concepts found as noise rises and as participants get fewer, on one simulated cohort."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tests.benchmarks.simulation import (
    Cohort,
    CohortSize,
    Decoded,
    decode,
    draw_cohort,
    find_components,
    find_masks,
    found,
    nearest,
    planted_aucs,
)

SEED, SIZE = 201, CohortSize(participants=8, ceiling=10.0)
CEILINGS, PARTICIPANTS = (40.0, 20.0, 10.0, 5.0), (8, 4, 2)
# Participants of the table of ceilings.
FEW = 4
_COLUMNS = "mean AUC | found | median voxels of a mask"


def measure(
    size: CohortSize = SIZE,
    ceilings: tuple[float, ...] = CEILINGS,
    participants: tuple[int, ...] = PARTICIPANTS,
    few: int = FEW,
    seed: int = SEED,
) -> Iterator[str]:
    """Mean AUC, concepts found and masks' sizes for each noise ceiling, then for each number."""
    yield (
        f"{np.prod(size.grid):,} voxels, {3 * size.images:,} training trials a participant, "
        f"{size.concepts} planted concepts of {size.patch} voxels, seed {seed}; found: AUC of at "
        "least 0.9 in three quarters of the participants"
    )
    cohort = draw_cohort(size, seed)
    decoded = decode(cohort, seed)
    rows = {count: _recover(cohort, decoded, count, seed) for count in participants}
    if few not in rows:
        rows[few] = _recover(cohort, decoded, few, seed)

    yield f"median noise ceiling, estimated | {_COLUMNS} ({few} participants)"
    for ceiling in ceilings:
        if ceiling == size.ceiling:
            yield _row(f"{_ceiling(cohort.first(few)):.1f} %", rows[few])
            continue
        other = draw_cohort(replace(size, participants=few, ceiling=ceiling), seed)
        recovered = _recover(other, decode(other, seed), few, seed)
        yield _row(f"{_ceiling(other):.1f} %", recovered)
    yield f"participants | {_COLUMNS} (median noise ceiling {_ceiling(cohort):.1f} %)"
    for count in participants:
        yield _row(str(count), rows[count])


@dataclass(frozen=True)
class Recovered:
    """AUC (S, C) of masks against planted voxels, and how many the hard masks have, (S, C)."""

    aucs: np.ndarray
    sizes: np.ndarray


def _recover(cohort: Cohort, decoded: list[Decoded], count: int, seed: int) -> Recovered:
    """The masks of the components nearest to what was planted."""
    fewer, theirs = cohort.first(count), decoded[:count]
    components = find_components(fewer, theirs, seed)
    chosen = components[nearest(components, cohort.directions)]
    fits = find_masks(fewer, theirs, chosen, seed)
    return Recovered(
        aucs=planted_aucs(fewer, [fit.soft for fit in fits]),
        sizes=np.array([fit.members.sum(axis=1) for fit in fits]),
    )


def _ceiling(cohort: Cohort) -> float:
    return float(np.median([one.noise_ceiling for one in cohort.participants]))


def _row(name: str, recovered: Recovered) -> str:
    aucs = recovered.aucs
    return (
        f"  {name} | {aucs.mean():.3f} | {found(aucs)} of {aucs.shape[1]} | "
        f"{np.median(recovered.sizes):.0f}"
    )

"""Search by a map: p values of maps that have nothing to do with any mask, power, and time.

Shares are of p < 0.05 over maps, with their 95 % intervals; the masks that one map is held against
are one cluster. Brains are the demo's, of about 4,700 voxels of 3 mm.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from app.maps.correlation import Covered, correlate
from app.maps.nifti import BrainMap
from tests.benchmarks.calibration import LEVEL, share
from tests.benchmarks.nulls import Brain, grow_brain

MAPS, POWER_MAPS, MASKS, PERMUTATIONS = 100, 50, 20, 199
BRAINS = 4
MM = 2.0
# Standard deviations of the kernel that noise is smoothed by, in voxels of the map.
SMOOTHNESS = {"white": 0.0, "1 voxel": 1.0, "2 voxels": 2.0, "4 voxels": 4.0}
MASK_KINDS = {"one ball": 1, "four balls": 4, "scattered": 0}
SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the 3 % highest alone": lambda values: (values > np.quantile(values, 0.97)).astype(float),
    "heavy-tailed": lambda values: np.sinh(2 * values / values.std()),
}
Shape = Callable[[np.ndarray], np.ndarray]


def measure() -> Iterator[str]:
    """Calibration of one and of four participants, what fails, power, and time."""
    brains = [grow_brain(number) for number in range(BRAINS)]
    exact = np.ceil(LEVEL * (1 + PERMUTATIONS) - 1) / (1 + PERMUTATIONS)
    yield f"{PERMUTATIONS} surrogates: an exact test gives {exact:.3f}; target 0.03 to 0.07"
    for number in (1, BRAINS):
        yield f"null maps on a {MM:g} mm grid, participants: {number}"
        for name, sigma in SMOOTHNESS.items():
            yield _told(name, null_shares(brains[:number], sigma))
    for name, shape in SHAPES.items():
        yield f"the same, participants: {BRAINS}, {name}"
        for smooth in ("white", "4 voxels"):
            yield _told(smooth, null_shares(brains, SMOOTHNESS[smooth], shape=shape))
    yield "voxels shuffled, in place of surrogates, one participant"
    for name, sigma in SMOOTHNESS.items():
        yield _told(name, null_shares(brains[:1], sigma, judge=shuffled))
    yield from _measure_power(brains)
    yield from _measure_time()


def draw_map(sigma: float, rng: np.random.Generator, shape: Shape | None = None) -> BrainMap:
    """Smooth noise on the part of the MNI grid that brains take."""
    size = np.array([80, 64, 60])
    noise = rng.standard_normal(size, dtype=np.float32)
    values = ndimage.gaussian_filter(noise, sigma) if sigma else noise
    affine = np.diag([MM, MM, MM, 1.0])
    affine[:3, 3] = [-80, -120, -50]
    stored = values if shape is None else shape(values.astype(float))
    return BrainMap(stored, 1.0, 0.0, np.linalg.inv(affine))


def draw_masks(
    places: list[np.ndarray], balls: int, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Masks (V, count) of 20 to 200 members, at the same places in all participants but for 2 mm.

    Parameters
    ----------
    places : list of ndarray
        (V, 3) mm of each participant.
    balls : int
        That members lie in; 0 scatters them.
    """
    masks = [np.zeros((len(each), count), dtype=np.float32) for each in places]
    for number in range(count):
        members = int(rng.integers(20, 200))
        centres = places[0][rng.integers(len(places[0]), size=max(balls, 1))]
        for mask, mm in zip(masks, places, strict=True):
            if balls == 0:
                chosen = rng.choice(len(mm), members, replace=False)
            else:
                moved = centres + rng.normal(0, 2, centres.shape)
                distance = np.linalg.norm(mm[:, None] - moved, axis=2)
                nearest = np.argsort(distance, axis=0)[: members // balls + 1]
                chosen = np.unique(nearest)
            mask[chosen, number] = rng.uniform(0.5, 1, len(chosen))
    return masks


def surrogates(covered: list[Covered], seed: int) -> np.ndarray:
    """(K,) p values of the catalog's own test."""
    return correlate(covered, permutations=PERMUTATIONS, seed=seed).p


def shuffled(covered: list[Covered], seed: int) -> np.ndarray:
    """(K,) p values as they would be if a map's neighbouring voxels had nothing in common."""
    rng = np.random.default_rng(seed)
    (one,) = covered
    weights = one.weights - one.weights.mean(axis=0)
    null = np.array([rng.permutation(one.values) @ weights for _ in range(PERMUTATIONS)])
    return (1 + (null >= one.values @ weights).sum(axis=0)) / (1 + PERMUTATIONS)


def null_shares(
    brains: list[Brain],
    sigma: float,
    *,
    shape: Shape | None = None,
    judge: Callable[[list[Covered], int], np.ndarray] = surrogates,
    maps: int = MAPS,
) -> dict[str, np.ndarray]:
    """Whether p < 0.05, (maps, MASKS) of each kind of masks."""
    places = [brain.mni for brain in brains]
    hits = {kind: np.empty((maps, MASKS), dtype=bool) for kind in MASK_KINDS}
    for number in range(maps):
        rng = np.random.default_rng([number, 6])
        covered: list[Covered] = []
        while not covered:
            drawn = draw_map(sigma, rng, shape)
            kinds = [draw_masks(places, balls, MASKS, rng) for balls in MASK_KINDS.values()]
            covered = [
                Covered(mm, drawn.at(mm), np.concatenate(masks, axis=1))
                for mm, *masks in zip(places, *kinds, strict=True)
            ]
            # As in the catalog, who has one value in all voxels has no part.
            covered = [each for each in covered if np.ptp(each.values) > 0]
        p = judge(covered, number).reshape(len(MASK_KINDS), MASKS)
        for kind, each in zip(MASK_KINDS, p, strict=True):
            hits[kind][number] = each < LEVEL
    return hits


def _told(name: str, hits: dict[str, np.ndarray]) -> str:
    parts = []
    for kind, each in hits.items():
        mean, low, high = share(each)
        parts.append(f"{kind} {mean:.3f} ({max(low, 0):.3f} to {min(high, 1):.3f})")
    return f"  {name}: {', '.join(parts)}"


def _measure_power(brains: list[Brain]) -> Iterator[str]:
    """A map is the first of twenty masks, and smooth noise of so many times its deviation."""
    kept = brains[0].kept
    cells = np.argwhere(kept).astype(float)
    yield f"power, {POWER_MAPS} maps: a mask (one ball) and noise smoothed over 1 voxel, 20 masks"
    for noise in (1.0, 3.0, 10.0):
        told = []
        for name, number in (
            ("native, whole grid", 1),
            ("native, voxels alone", 1),
            (f"{BRAINS} participants", BRAINS),
        ):
            hits, first = np.empty((2, POWER_MAPS), dtype=bool)
            for index in range(POWER_MAPS):
                rng = np.random.default_rng([index, 7])
                places = [cells * 3.0] if number == 1 else [brain.mni for brain in brains]
                masks = draw_masks(places, 1, MASKS, rng)
                if number == 1:
                    volume = ndimage.gaussian_filter(rng.standard_normal(kept.shape), 1.0)
                    volume *= noise * masks[0][:, 0].std() / volume.std()
                    volume[kept] += masks[0][:, 0]
                    if name.endswith("alone"):
                        volume[~kept] = np.nan
                    drawn = BrainMap(volume, 1.0, 0.0, np.diag([1 / 3, 1 / 3, 1 / 3, 1.0]))
                    values = [drawn.at(places[0])]
                else:
                    drawn = draw_map(1.0, rng)
                    scale = noise * masks[0][:, 0].std() / drawn.stored.std()
                    values = [
                        drawn.at(mm) * scale + mask[:, 0]
                        for mm, mask in zip(places, masks, strict=True)
                    ]
                found = correlate(
                    [Covered(*each) for each in zip(places, values, masks, strict=True)],
                    permutations=PERMUTATIONS,
                    seed=index,
                )
                hits[index] = found.p[0] < LEVEL
                first[index] = found.mean.argmax() == 0
            told.append(f"{name} {hits.mean():.2f}, first {first.mean():.2f}")
        yield f"  noise {noise:g} x the mask's deviation, p < {LEVEL}: {'; '.join(told)}"


def _measure_time() -> Iterator[str]:
    yield "time of correlation and 999 surrogates, one map smoothed over 2 voxels"
    for participants, voxels, masks in ((4, 4000, 40), (8, 18_000, 128)):
        rng = np.random.default_rng(0)
        pitch = 1.8 if voxels > 5000 else 3.0
        lattice = np.stack(np.meshgrid(*[np.arange(-60, 60, pitch)] * 3, indexing="ij"), axis=-1)
        lattice = lattice.reshape(-1, 3) * [1, 0.7, 0.6] + [0, -60, 5]
        covered = []
        drawn = draw_map(2.0, rng)
        for _ in range(participants):
            mm = lattice[rng.choice(len(lattice), voxels, replace=False)] + rng.normal(0, 1, 3)
            weights = (rng.random((voxels, masks)) < 0.02).astype(np.float32)
            values = np.nan_to_num(drawn.at(mm))
            covered.append(Covered(mm, values, weights))
        start = time.perf_counter()
        correlate(covered, permutations=999, seed=0)
        seconds = time.perf_counter() - start
        yield f"  {participants} participants x {voxels:,} voxels, {masks} masks: {seconds:.1f} s"

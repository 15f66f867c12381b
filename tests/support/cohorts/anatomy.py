"""Brains of planted cohorts: two folded sheets of voxels, patches that overlap, and regions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

VOXEL_MM = 3.0
JITTER_MM = 2.0
"""Standard deviation, an axis, of where a patch lies in one participant."""
PARCELS = 12
"""Parcels of each hemisphere, the same in all participants."""


@dataclass(frozen=True)
class Part:
    """A part of the brain: a box in MNI mm, of which a shell of an ellipsoid is grey matter."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


POSTERIOR = Part((-66.0, -102.0, -30.0), (66.0, -34.0, 48.0))
VENTRAL = Part((-60.0, -92.0, -30.0), (60.0, -30.0, 2.0))

_CENTRE, _RADII = np.array([0.0, -22.0, 6.0]), np.array([60.0, 76.0, 46.0])


@dataclass(frozen=True, eq=False)
class Brain:
    """One participant's voxels: (V, 3) indices in C order, the affine to MNI mm, (V, 3) MNI mm."""

    voxel: NDArray[np.int64]
    affine: NDArray[np.float64]
    shape: tuple[int, int, int]
    mni: NDArray[np.float64]


def grow_brain(number: int, voxels: int, part: Part, rng: np.random.Generator) -> Brain:
    """Draw a brain of exactly so many voxels, half of them in each hemisphere.

    Every brain has a grid and folds of its own; of odd numbers the first axis runs from right to
    left, as in files of FSL.

    Raises
    ------
    ValueError
        The part of the brain has too few places.
    """
    low, high = np.array(part.low), np.array(part.high)
    shape = np.ceil((high - low) / VOXEL_MM).astype(int) + 1
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = low + rng.uniform(-1.5, 1.5, 3)
    if number % 2:
        affine[0, 0] = -VOXEL_MM
        affine[0, 3] = high[0] + rng.uniform(-1.5, 1.5)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    mni = index @ affine[:3, :3].T + affine[:3, 3]
    radius = np.linalg.norm((mni - _CENTRE) / _RADII, axis=1)
    # Folds: how far from the shell grey matter lies goes up and down along it.
    waves = rng.normal(0, 0.12, (8, 3))
    phase = rng.uniform(0, 2 * np.pi, 8)
    folds = np.sin(mni @ waves.T + phase).mean(axis=1)
    depth = np.abs(radius - 1 - 0.12 * folds)
    kept = np.zeros(len(mni), dtype=bool)
    for side, count in ((-1, voxels // 2), (1, voxels - voxels // 2)):
        here = np.flatnonzero((side * mni[:, 0] > 2) & (radius < 1.35))
        if len(here) < count:
            raise ValueError(f"{count} voxels asked of a hemisphere that has {len(here)} places")
        kept[here[np.argsort(depth[here], kind="stable")[:count]]] = True
    return Brain(
        index[kept].astype(np.int64),
        affine,
        (int(shape[0]), int(shape[1]), int(shape[2])),
        np.asarray(mni[kept], dtype=np.float64),
    )


def smoother(mni: NDArray[np.float64], width: float) -> sparse.csr_array:
    """(V, V) Gaussian weights among neighbours; ``white @ smoother`` has variance 1 a voxel.

    Parameters
    ----------
    mni : ndarray
        (V, 3) mm.
    width : float
        Standard deviation in mm.
    """
    tree = cKDTree(mni)
    near = tree.sparse_distance_matrix(tree, 2.5 * width, output_type="coo_matrix")
    weight = np.exp(-(near.data**2) / (2 * width**2))
    kernel = sparse.csr_array((weight, (near.row, near.col)), shape=near.shape)
    length = np.sqrt(np.asarray(kernel.multiply(kernel).sum(axis=0)).ravel())
    scaled = sparse.csr_array(kernel @ sparse.diags_array(1 / length))
    return scaled.astype(np.float32)


def coarse_patterns(
    mni: NDArray[np.float64], width: float, count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(P, V) Gaussian bumps at random voxels; random mixtures of them have variance 1."""
    centres = mni[rng.permutation(len(mni))[:count]]
    squares = ((mni[None] - centres[:, None]) ** 2).sum(axis=-1)
    bumps = np.exp(-squares / (2 * width**2)) + 1e-6
    return np.asarray(bumps / np.linalg.norm(bumps, axis=0), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Places:
    """Where the cohort's concepts lie: (C, 2, 3) MNI mm left and right, and (C,) share left."""

    centres: NDArray[np.float64]
    left: NDArray[np.float64]


def draw_places(concepts: int, voxels: int, part: Part, rng: np.random.Generator) -> Places:
    """Draw a place in each hemisphere for every concept, each far from those before it.

    Not at the margin of a brain of so many voxels, beyond which another's would have none.
    """
    template = grow_brain(0, voxels, part, rng).mni
    right = template[template[:, 0] > 6]
    around = cKDTree(right).query_ball_point(right, 9.0, return_length=True)
    right = right[around >= np.quantile(around, 0.3)]
    chosen: list[NDArray[np.float64]] = []
    for _ in range(concepts):
        candidates = right[rng.choice(len(right), 12)]
        if chosen:
            nearest, _ = cKDTree(np.array(chosen)).query(candidates)
            chosen.append(candidates[int(np.argmax(nearest))])
        else:
            chosen.append(candidates[0])
    centres = np.repeat(np.array(chosen)[:, None], 2, axis=1)
    centres += rng.normal(0, 2.5, centres.shape)
    centres[:, 0, 0] *= -1
    return Places(centres, rng.uniform(0.25, 0.75, concepts))


def grow_patches(
    brain: Brain, places: Places, sizes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """How strongly each voxel answers to each concept: (C, V), 0 outside the concept's patch.

    Patches have an irregular outline, are strongest in their middle, and overlap freely.

    Parameters
    ----------
    sizes : ndarray
        (C,) voxels of both hemispheres together; 0 for a concept that is not carried.
    """
    strength = np.zeros((len(sizes), len(brain.mni)), dtype=np.float32)
    ragged = rng.standard_normal((len(sizes), len(brain.mni)), dtype=np.float32)
    outline = 1 + 0.12 * (ragged @ smoother(brain.mni, 4.0))
    for concept, size in enumerate(sizes):
        left = np.clip(places.left[concept] + rng.normal(0, 0.06), 0.1, 0.9)
        halves = (round(size * left), size - round(size * left))
        for side, count in enumerate(halves):
            centre = places.centres[concept, side] + rng.normal(0, JITTER_MM, 3)
            here = np.flatnonzero((brain.mni[:, 0] > 0) == bool(side))
            distance = np.linalg.norm(brain.mni[here] - centre, axis=1) * outline[concept, here]
            members = here[np.argsort(distance, kind="stable")[:count]]
            strength[concept, members] = np.linspace(1, 0.45, count)
    return strength


def draw_regions(
    brain: Brain,
    strength: NDArray[np.float32],
    concepts: tuple[str, ...],
    places: Places,
    part: Part,
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], tuple[tuple[str, str], ...]]:
    """Regions (R, V) and their names (atlas, name).

    The atlas ``localiser`` outlines every second concept in each hemisphere as a localiser would,
    near its patch and not on it; ``parcels`` divides each hemisphere without regard to any.
    Participants have the parcels' centres in common, which hang on `places` alone.
    """
    members: list[NDArray[np.bool_]] = []
    names: list[tuple[str, str]] = []
    free = np.ones(len(brain.mni), dtype=bool)
    for concept in range(0, len(concepts), 2):
        for side, hemisphere in enumerate(("lh", "rh")):
            patch = strength[concept] * ((brain.mni[:, 0] > 0) == bool(side))
            if not patch.any():
                continue
            spot = np.average(brain.mni, axis=0, weights=patch) + rng.normal(0, 1.5, 3)
            reach = int((patch > 0).sum() * rng.uniform(0.8, 1.2)) + 1
            nearest = np.argsort(np.linalg.norm(brain.mni - spot, axis=1), kind="stable")[:reach]
            region = np.zeros(len(free), dtype=bool)
            region[nearest] = True
            region &= free
            if region.any():
                free &= ~region
                members.append(region)
                names.append(("localiser", f"{hemisphere}.{concepts[concept].replace(' ', '-')}"))
    same = np.random.default_rng(int(abs(places.centres).sum() * 1000))
    low, high = np.array(part.low), np.array(part.high)
    for side, hemisphere in enumerate(("lh", "rh")):
        centres = same.uniform(low, high, (PARCELS, 3))
        centres[:, 0] = np.where(side, 1, -1) * abs(centres[:, 0])
        here = (brain.mni[:, 0] > 0) == bool(side)
        parcel_of = np.asarray(cKDTree(centres).query(brain.mni)[1])
        for parcel in range(PARCELS):
            if (region := here & (parcel_of == parcel)).any():
                members.append(region)
                names.append(("parcels", f"{hemisphere}.{parcel + 1:02d}"))
    return np.array(members), tuple(names)

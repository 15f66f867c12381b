"""Brains of the demo's participants: a grid each, planted patches, regions, localiser maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from flows.demo.concepts import CONCEPTS, Blob, both_sides

VOXEL_MM = 3.0
CENTRE_MM = np.array([0.0, -65.0, 4.0])
SHAPE = (44, 29, 24)
CORTEX_MM = 12.0
BLOB_JITTER_MM = 1.8
REGION_JITTER_MM = 1.3

FLOC_ATLASES = {
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
}
"""Label names of each localiser atlas, in the order of their numbers; not all have voxels."""

FLOC_MAPS = {
    "floc_facestval": "floc-faces",
    "floc_bodiestval": "floc-bodies",
    "floc_placestval": "floc-places",
    "floc_wordtval": "floc-words",
}

VISUAL_ATLAS = "prf-visualrois"
VISUAL_AREAS: dict[str, tuple[Blob, Blob]] = {
    "V1v": both_sides(7, -88, -3, 7.5),
    "V1d": both_sides(8, -94, 7, 7.5),
    "V2v": both_sides(14, -82, -10, 6.5),
    "V2d": both_sides(16, -97, 15, 6.5),
    "V3v": both_sides(21, -88, -13, 6.0),
    "V3d": both_sides(23, -92, 12, 6.0),
    "hV4": both_sides(28, -78, -16, 6.0),
}
"""Early visual areas; "v" sees the upper field, "d" the lower, each the other side's half."""


@dataclass(frozen=True)
class Anatomy:
    """One participant's brain on its grid.

    Attributes
    ----------
    affine : numpy.ndarray
        (4, 4), voxel index -> native mm.
    mni : numpy.ndarray
        (X, Y, Z, 3) MNI mm of every voxel.
    brain : numpy.ndarray
        (X, Y, Z) bool.
    planted : numpy.ndarray
        (C, X, Y, Z) bool in the order of ``CONCEPTS``; disjoint in a plain cohort.
    visual : numpy.ndarray
        (X, Y, Z) int, 1-based index into ``VISUAL_AREAS``, 0 elsewhere; disjoint from ``planted``.
    distributed : numpy.ndarray
        (X, Y, Z) bool, voxels that carry meaning without belonging to a concept.
    arbitrary : numpy.ndarray
        (X, Y, Z) bool, voxels that answer reliably to what no concept and no word describes.
    response : numpy.ndarray
        (C,) 1 where voxels respond more to a concept, -1 where they respond less.
    atlases : dict
        Atlas name -> (X, Y, Z) int16 labels: -1 outside cortex, 0 unlabelled, then 1-based.
    maps : dict
        Localiser map name -> (X, Y, Z) float32 t-values, NaN outside the brain.
    """

    affine: np.ndarray
    mni: np.ndarray
    brain: np.ndarray
    planted: np.ndarray
    visual: np.ndarray
    distributed: np.ndarray
    arbitrary: np.ndarray
    response: np.ndarray
    atlases: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


def grow_anatomy(participant: int, participants: int, rng: np.random.Generator) -> Anatomy:
    """Draw one participant's brain.

    Every brain differs in grid, position, tilt and size, and in where and how large its patches
    are (centres with a standard deviation of 1.8 mm an axis). Regions are drawn around the patches
    as a localiser would find them, not on them.

    Parameters
    ----------
    participant, participants : int
        0-based index and number of all; decide which single-participant concepts the brain carries.
    rng : numpy.random.Generator
    """
    affine, mni = draw_grid(rng)
    brain = cover_brain(mni, [blob for concept in CONCEPTS for blob in concept.blobs])
    patches = [(row, blob) for row, concept in enumerate(CONCEPTS) for blob in concept.blobs]
    areas = [(row, blob) for row, pair in enumerate(VISUAL_AREAS.values()) for blob in pair]
    moved = [move_blob(blob, rng) for _, blob in (*patches, *areas)]
    owner = nearest_blob(mni, moved, brain)

    planted = np.zeros((len(CONCEPTS), *brain.shape), dtype=bool)
    for index, (row, _) in enumerate(patches):
        only = CONCEPTS[row].participant
        if only is None or only % participants == participant:
            planted[row] |= owner == index
    visual = np.zeros(brain.shape, dtype=np.int16)
    for index, (row, _) in enumerate(areas, start=len(patches)):
        visual[owner == index] = row + 1

    free = brain & (owner < 0) & (mni[..., 1] < -32)
    texture = smooth_noise(rng, brain.shape, 1.5)
    distributed = free & (texture > np.quantile(texture[free], 0.7))

    outlined = nearest_blob(mni, [outline_blob(blob, rng) for blob in moved], brain)
    outlines = [outlined == index for index in range(len(moved))]
    atlases = draw_atlases(mni, brain, patches, moved, outlines)
    maps = {name: localiser_map(planted, atlas, brain, rng) for name, atlas in FLOC_MAPS.items()}
    return Anatomy(
        affine,
        mni,
        brain,
        planted,
        visual,
        distributed,
        arbitrary=np.zeros_like(brain),
        response=np.ones(len(CONCEPTS)),
        atlases=atlases,
        maps=maps,
    )


def draw_grid(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a grid: its affine, and the MNI mm of its voxels (X, Y, Z, 3)."""
    shape = tuple(int(n + rng.integers(-1, 2)) for n in SHAPE)
    tilt = Rotation.from_euler("xyz", rng.normal(0, 2, 3), degrees=True).as_matrix()
    to_native = tilt * rng.normal(1, 0.015, 3)
    shift = rng.normal(0, 4, 3)
    middle = to_native @ CENTRE_MM + shift
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = middle - VOXEL_MM * (np.array(shape) - 1) / 2
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    native = index * VOXEL_MM + affine[:3, 3]
    return affine, (native - shift) @ np.linalg.inv(to_native).T


def cover_brain(mni: np.ndarray, blobs: list[Blob]) -> np.ndarray:
    """Cortex of the posterior brain: what lies near any patch, inside an ellipsoid of MNI's size.

    Patches of single-participant concepts count for every brain, so that no brain shows by its
    outline what it carries.
    """
    areas = [blob for pair in VISUAL_AREAS.values() for blob in pair]
    tree = cKDTree([blob.centre for blob in (*blobs, *areas)])
    distance, _ = tree.query(mni.reshape(-1, 3))
    near = np.reshape(distance, mni.shape[:3]) < CORTEX_MM
    radius = np.linalg.norm((mni - [0, -18, 6]) / [70, 88, 50], axis=-1)
    inside: np.ndarray = (radius < 1) & (np.abs(mni[..., 0]) > 1.5) & near
    return inside


def move_blob(blob: Blob, rng: np.random.Generator) -> Blob:
    x, y, z = np.array(blob.centre) + rng.normal(0, BLOB_JITTER_MM, 3)
    return Blob((x, y, z), blob.radius * rng.uniform(0.94, 1.08), blob.labels)


def outline_blob(blob: Blob, rng: np.random.Generator) -> Blob:
    x, y, z = np.array(blob.centre) + rng.normal(0, REGION_JITTER_MM / np.sqrt(3), 3)
    return Blob((x, y, z), blob.radius * rng.uniform(0.95, 1.1), blob.labels)


def nearest_blob(mni: np.ndarray, blobs: list[Blob], brain: np.ndarray) -> np.ndarray:
    """Index of the patch each voxel lies in, -1 for none; where two meet, the nearer has it."""
    best = np.ones(brain.shape)
    owner = np.full(brain.shape, -1)
    for index, blob in enumerate(blobs):
        distance = np.linalg.norm(mni - blob.centre, axis=-1) / blob.radius
        same_side = np.sign(mni[..., 0]) == np.sign(blob.centre[0])
        inside = (distance < best) & brain & same_side
        owner[inside] = index
        best[inside] = distance[inside]
    return owner


def draw_atlases(
    mni: np.ndarray,
    brain: np.ndarray,
    patches: list[tuple[int, Blob]],
    moved: list[Blob],
    outlines: list[np.ndarray],
) -> dict[str, np.ndarray]:
    """Atlases from the outline (X, Y, Z) of every patch, and of every early visual area after."""
    outside = np.where(brain, 0, -1).astype(np.int16)
    atlases = {name: outside.copy() for name in (*FLOC_ATLASES, VISUAL_ATLAS)}
    for index, (row, blob) in enumerate(patches):
        atlas = CONCEPTS[row].atlas
        if atlas is None:
            continue
        anterior = mni[..., 1] > moved[index].centre[1]
        inside = outlines[index]
        for label, half in zip(blob.labels, (~anterior, anterior), strict=False):
            members = inside & half if len(blob.labels) == 2 else inside
            atlases[atlas][members] = FLOC_ATLASES[atlas].index(label) + 1
    for index, inside in enumerate(outlines[len(patches) :]):
        atlases[VISUAL_ATLAS][inside] = index // 2 + 1
    posterior = mni[..., 1] < -45
    atlases["nsdgeneral"] = np.where(brain, posterior, -1).astype(np.int16)
    return atlases


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth noise of unit variance; sigma in voxels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    unit: np.ndarray = field / field.std()
    return unit


def localiser_map(
    planted: np.ndarray, atlas: str, brain: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A localiser contrast: high on the concept's voxels, smooth noise of variance 1 all over."""
    (row,) = (i for i, concept in enumerate(CONCEPTS) if concept.atlas == atlas)
    effect = ndimage.gaussian_filter(planted[row].astype(np.float32), 0.7)
    t = 7 * effect + smooth_noise(rng, brain.shape, 0.8) - 0.3
    return np.where(brain, t, np.nan).astype(np.float32)

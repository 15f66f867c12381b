"""Brains of the varied cohort: patches of 20 to 500 voxels that overlap, one of them suppressed.

No figure here was chosen by what a run finds. Sizes are those of a geometric series, the four
concepts that localiser regions outline among the larger ones, since a region needs voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from flows.demo.anatomy import (
    FLOC_MAPS,
    VISUAL_AREAS,
    Anatomy,
    cover_brain,
    draw_atlases,
    draw_grid,
    localiser_map,
    move_blob,
    nearest_blob,
    outline_blob,
    smooth_noise,
)
from flows.demo.concepts import CONCEPTS, Blob, Point, both_sides

FEWEST, MOST = 20, 500
"""Voxels of a concept's patches in one participant, all of them together."""
SIZE_SPREAD = 0.12
"""Standard deviation over participants of the logarithm of a patch's size."""
RAGGED = 0.1
"""Standard deviation of the distance at which a patch ends, as a share of it."""
DISTRIBUTED_SHARE, ARBITRARY_SHARE = 0.2, 0.12
"""Of the posterior voxels that carry no concept and lie in no early visual area."""


@dataclass(frozen=True)
class Patch:
    """How a concept is planted in the varied cohort.

    Attributes
    ----------
    voxels : int
        Of all its blobs together, in a typical participant.
    responds : {"more", "less"}
        Whether its voxels respond more or less to what shows the concept than to other stimuli.
    centre : tuple of float or None
        MNI mm of its blob on the right, mirrored on the left; None for the concept's own places.
    """

    voxels: int
    responds: Literal["more", "less"] = "more"
    centre: Point | None = None


VARIED: dict[str, Patch] = {
    "faces": Patch(116),
    "bodies": Patch(279),
    "places": Patch(373),
    "words": Patch(86),
    # Beside the FFA, and into it.
    "food": Patch(208, centre=(36, -58, -16)),
    "animals": Patch(500),
    "vehicles": Patch(155, responds="less"),
    # Half inside the animals' patch.
    "sport": Patch(48, centre=(54, -50, 14)),
    "flowers": Patch(36),
    # Into the vehicles' patch, whose voxels respond less.
    "sea": Patch(64, centre=(19, -69, 30)),
    "electronics": Patch(27),
    "furniture": Patch(20),
    "music": Patch(100),
}
"""By the concepts' names."""


def responses_of(kind: str) -> tuple[Literal["more", "less"], ...]:
    """How voxels respond to each of ``CONCEPTS`` in a cohort of a kind."""
    varied = kind == "varied"
    return tuple(VARIED[concept.name].responds if varied else "more" for concept in CONCEPTS)


def grow_varied_anatomy(participant: int, participants: int, rng: np.random.Generator) -> Anatomy:
    """Draw one participant's brain of the varied cohort.

    As `flows.demo.anatomy.grow_anatomy`, but that patches have sizes of their own and a ragged
    outline, overlap freely, and that clumps of voxels answer to what no word describes.

    Parameters
    ----------
    participant, participants : int
        0-based index and number of all; decide which single-participant concepts the brain carries.
    rng : numpy.random.Generator
    """
    affine, mni = draw_grid(rng)
    patches = [(row, blob) for row, concept in enumerate(CONCEPTS) for blob in blobs_of(row)]
    brain = cover_brain(mni, [blob for _, blob in patches])
    areas = [blob for pair in VISUAL_AREAS.values() for blob in pair]
    moved = [move_blob(blob, rng) for _, blob in patches]
    moved_areas = [move_blob(blob, rng) for blob in areas]
    sizes = _draw_sizes(rng)
    planted = np.zeros((len(CONCEPTS), *brain.shape), dtype=bool)
    outlines = []
    for (row, _), blob in zip(patches, moved, strict=True):
        whole = sum(own.radius**3 for own, (of, _) in zip(moved, patches, strict=True) if of == row)
        count = sizes[row] * blob.radius**3 / whole
        ragged = 1 + RAGGED * smooth_noise(rng, brain.shape, 1.0)
        only = CONCEPTS[row].participant
        if only is None or only % participants == participant:
            planted[row] |= _nearest_voxels(mni, blob, count, brain, ragged)
        around = count * rng.uniform(0.86, 1.3)
        outlines.append(_nearest_voxels(mni, outline_blob(blob, rng), around, brain))

    any_planted = planted.any(axis=0)
    area = nearest_blob(mni, moved_areas, brain)
    visual = np.where((area >= 0) & ~any_planted, area // 2 + 1, 0).astype(np.int16)
    free = brain & ~any_planted & (visual == 0) & (mni[..., 1] < -32)
    distributed = _clumps(free, DISTRIBUTED_SHARE, rng)
    arbitrary = _clumps(free & ~distributed, ARBITRARY_SHARE / (1 - DISTRIBUTED_SHARE), rng)

    outlined = nearest_blob(mni, [outline_blob(blob, rng) for blob in moved_areas], brain)
    outlines += [outlined == index for index in range(len(areas))]
    atlases = draw_atlases(mni, brain, patches, [*moved, *moved_areas], outlines)
    maps = {name: localiser_map(planted, atlas, brain, rng) for name, atlas in FLOC_MAPS.items()}
    response = np.where(np.array(responses_of("varied")) == "less", -1.0, 1.0)
    return Anatomy(
        affine, mni, brain, planted, visual, distributed, arbitrary, response, atlases, maps
    )


def blobs_of(row: int) -> tuple[Blob, ...]:
    """Where a concept of ``CONCEPTS`` lies in the varied cohort."""
    concept = CONCEPTS[row]
    centre = VARIED[concept.name].centre
    if centre is None:
        return concept.blobs
    return tuple(
        replace(moved, labels=blob.labels)
        for moved, blob in zip(
            both_sides(*centre, concept.blobs[0].radius), concept.blobs, strict=True
        )
    )


def _draw_sizes(rng: np.random.Generator) -> np.ndarray:
    """(C,) voxels of each concept in one participant."""
    typical = np.array([VARIED[concept.name].voxels for concept in CONCEPTS])
    sizes = typical * rng.lognormal(0, SIZE_SPREAD, len(typical))
    return np.clip(sizes, FEWEST, MOST)


def _nearest_voxels(
    mni: np.ndarray,
    blob: Blob,
    count: float,
    brain: np.ndarray,
    ragged: np.ndarray | float = 1.0,
) -> np.ndarray:
    """(X, Y, Z) bool, the brain's voxels that lie nearest to a blob's centre, on its side."""
    distance = np.linalg.norm(mni - blob.centre, axis=-1) * ragged
    same_side = np.sign(mni[..., 0]) == np.sign(blob.centre[0])
    distance = np.where(brain & same_side, distance, np.inf).ravel()
    members = np.zeros(distance.size, dtype=bool)
    members[np.argsort(distance, kind="stable")[: round(count)]] = True
    return members.reshape(brain.shape)


def _clumps(free: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """(X, Y, Z) bool, a share of the free voxels, in clumps."""
    texture = smooth_noise(rng, free.shape, 1.5)
    clumps: np.ndarray = free & (texture > np.quantile(texture[free], 1 - share))
    return clumps

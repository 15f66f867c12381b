"""Cohorts with planted concepts: of captions, of CLIP vectors, and of a laboratory's size.

What they have in common and the demo has not: the words and the concepts, which are drawn from the
seed; patches from 15 to 300 voxels that overlap; voxels that pass a threshold of their own, or are
suppressed; single voxels all over that answer to mixtures of the target space's leading
components; noise that is correlated in time; and few stimuli with three showings to train on.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tests.support.cohorts.anatomy import POSTERIOR, VENTRAL, Part, draw_places
from tests.support.cohorts.designs import DesignConfig, draw_folds, draw_seen, draw_trials
from tests.support.cohorts.participants import Ground, Trials, plant_participant
from tests.support.cohorts.records import PlantedCohort
from tests.support.cohorts.responses import PICTURE_FEATURES, ResponseConfig, typical_drive
from tests.support.cohorts.stimuli import Stimuli, caption_stimuli, clip_stimuli

MANY_PICTURES = DesignConfig(pool=840, train=760, validation=140, test=200)


@dataclass(frozen=True)
class CohortConfig:
    """Size of a cohort.

    Attributes
    ----------
    participants : int
    concepts : int
        Shared ones; one more is planted in a single participant.
    voxels : int
        Of each participant.
    patch : tuple of int
        Voxels of the smallest and of the largest patch, both hemispheres together.
    sizes : tuple of int, optional
        Voxels of each shared concept's patch in a typical participant; by default they run from
        the smallest to the largest.
    design : DesignConfig
    responses : ResponseConfig
    part : Part
        Of the brain.
    last_saw_less : bool
        Whether the last participant has fewer training trials, of the same stimuli.
    """

    participants: int = 4
    concepts: int = 12
    voxels: int = 2000
    patch: tuple[int, int] = (15, 300)
    sizes: tuple[int, ...] | None = None
    design: DesignConfig = MANY_PICTURES
    responses: ResponseConfig = field(default_factory=ResponseConfig)
    part: Part = POSTERIOR
    last_saw_less: bool = True


CAPTIONS = CohortConfig()
LARGE_PATCHES = replace(CAPTIONS, voxels=4000, patch=(250, 800))
"""Patches several times larger than the demo's, of which a voxel lies in two or three."""
CLIP = CohortConfig(voxels=2200, design=DesignConfig(pool=640, train=640, validation=160, test=200))
LABORATORY = CohortConfig(
    participants=3,
    concepts=5,
    voxels=900,
    patch=(30, 160),
    design=DesignConfig(
        pool=112,
        train=112,
        validation=22,
        test=26,
        repeats=(0.35, 0.53, 0.12),
        trials_per_session=40,
    ),
    responses=ResponseConfig(ceiling=0.2),
    part=VENTRAL,
    last_saw_less=False,
)
"""320 trials of 160 pictures, and betas of a better signal, as of blocks or slow designs."""


def caption_cohort(
    seed: int, participants: int = 4, *, config: CohortConfig = CAPTIONS
) -> PlantedCohort:
    """A cohort whose targets are MiniLM vectors of captions, D 384.

    Parameters
    ----------
    seed : int
    participants : int
    config : CohortConfig
        `CAPTIONS`, `LARGE_PATCHES` or one of your own; its participants are not read.
    """
    rng = np.random.default_rng([seed, 1])
    stimuli = caption_stimuli(config.design.stimuli, config.concepts + 1, rng)
    name = "captions" if config.patch[1] <= CAPTIONS.patch[1] else "captions-large"
    return _plant(f"{name}-{seed}", stimuli, replace(config, participants=participants), rng)


def clip_cohort(seed: int, participants: int = 4, *, config: CohortConfig = CLIP) -> PlantedCohort:
    """A cohort whose targets are real CLIP ViT-B/32 vectors of object names, D 512, on their cone.

    Raises
    ------
    FileNotFoundError
        The table of names is not there (`objects.find_clip_names`).
    """
    rng = np.random.default_rng([seed, 2])
    stimuli = clip_stimuli(config.design.stimuli, config.concepts + 1, rng)
    return _plant(f"clip-{seed}", stimuli, replace(config, participants=participants), rng)


def laboratory_cohort(seed: int, *, clip: bool = True) -> PlantedCohort:
    """3 participants, 320 trials, 160 pictures, 5 shared concepts and one of one participant."""
    make = clip_cohort if clip else caption_cohort
    cohort = make(seed, LABORATORY.participants, config=LABORATORY)
    return replace(cohort, name=f"laboratory-{cohort.name}")


def _plant(
    name: str, stimuli: Stimuli, config: CohortConfig, rng: np.random.Generator
) -> PlantedCohort:
    """Draw folds, places and carriers, then each participant."""
    fold = draw_folds(config.design, rng)
    carried = _draw_carriers(config.participants, len(stimuli.concepts), rng)
    sizes = _draw_sizes(config, len(stimuli.concepts), rng)
    places = draw_places(len(stimuli.concepts), config.voxels, config.part, rng)
    picture = rng.standard_normal((len(fold), PICTURE_FEATURES))
    ground = Ground(
        stimuli.evidence,
        stimuli.vectors,
        picture,
        stimuli.concepts,
        places,
        config.part,
        fold,
        config.voxels,
    )
    seen = draw_seen(config.design, fold, config.participants, rng)
    people = []
    for number, own in enumerate(rng.spawn(config.participants)):
        design = config.design
        if config.last_saw_less and number and number == config.participants - 1:
            design = replace(design, repeats=_fewer(design.repeats))
        image, session = draw_trials(design, fold, seen[number], own)
        wanted = np.clip(np.round(sizes * own.lognormal(0, 0.15, len(sizes))), *config.patch)
        able = replace(config.responses, ceiling=config.responses.ceiling * own.lognormal(0, 0.12))
        people.append(
            plant_participant(
                number,
                ground,
                Trials(image, session, image),
                (wanted * carried[number]).astype(np.int64),
                able,
                own,
            )
        )
    return PlantedCohort(
        name=name,
        vectors=stimuli.vectors,
        stimuli=tuple(f"s{number:04d}" for number in range(len(fold))),
        captions=stimuli.captions,
        fold=fold,
        topic=stimuli.topic,
        concepts=stimuli.concepts,
        shared=carried.sum(axis=0) > 1,
        directions=stimuli.directions,
        drive=typical_drive(stimuli.evidence),
        participants=tuple(people),
        terms=stimuli.terms,
        term_vectors=stimuli.term_vectors,
        truth={"centres_mm": places.centres.tolist(), "sizes": sizes.tolist()},
    )


def _draw_carriers(participants: int, concepts: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(S, C) bool: the last concept is one participant's; where there are many, some lack some."""
    carried = np.ones((participants, concepts), dtype=bool)
    carried[:, -1] = False
    carried[rng.integers(participants), -1] = True
    if participants > 4:
        for concept in range(0, concepts - 1, 3):
            lacking = rng.permutation(participants)[: participants // 4]
            carried[lacking, concept] = False
    return carried


def _draw_sizes(
    config: CohortConfig, concepts: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(C,) voxels of each concept's patch: those asked for, or a series in random order."""
    low, high = config.patch
    if config.sizes is not None:
        return np.append(np.array(config.sizes, dtype=np.float64), np.sqrt(low * high))
    shared = rng.permutation(np.geomspace(low, high, concepts - 1))
    return np.append(shared, np.sqrt(low * high))


def _fewer(repeats: tuple[float, float, float]) -> tuple[float, float, float]:
    once, twice, thrice = repeats
    return once + twice / 3, twice * 2 / 3, thrice

"""Cohorts of a block design: few categories, or many, and many trials of each."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tests.support.cohorts.anatomy import VENTRAL, draw_places
from tests.support.cohorts.objects import GROUPS, load_clip_names
from tests.support.cohorts.participants import Ground, Trials, plant_participant
from tests.support.cohorts.records import PlantedCohort
from tests.support.cohorts.responses import PICTURE_FEATURES, ResponseConfig, typical_drive
from tests.support.cohorts.stimuli import group_directions, standard, unit

BLOCK_CATEGORIES = ("Person", "cat", "chair", "Sneakers", "bottle")
PATCH = (15, 120)
RESPONSES = ResponseConfig(ceiling=0.15, meaning=0.25, picture=0.35)


def block_cohort(
    seed: int,
    participants: int = 4,
    *,
    categories: int = 5,
    runs: int = 3,
    trials: int = 15,
    voxels: int = 600,
    responses: ResponseConfig = RESPONSES,
) -> PlantedCohort:
    """A block design in ventral cortex: in each run every category comes in one block of trials.

    A stimulus is one category's block in one run, with the name's CLIP vector as target: stimuli of
    a category have one vector. What is reliable in a voxel is its answer to categories. The last
    run is the test fold, the one before it the validation fold. With `BLOCK_CATEGORIES` each
    category is a concept; with more, groups of names are.

    Parameters
    ----------
    seed : int
    participants : int
    categories : int
        5, or more of the names in `objects.GROUPS`.
    runs, trials : int
        Runs, at least 3, and trials of a block.
    voxels : int
    responses : ResponseConfig
        How strong and how noisy answers are.

    Raises
    ------
    FileNotFoundError
        The table of names is not there.
    """
    rng = np.random.default_rng([seed, 3])
    names, concepts, directions, evidence, vectors = _draw_categories(categories, rng)
    count = len(names)
    places = draw_places(len(concepts), voxels, VENTRAL, rng)
    picture = rng.standard_normal((count, PICTURE_FEATURES))
    fold = np.repeat(["train"] * (runs - 2) + ["validation", "test"], count)
    sizes = rng.permutation(np.geomspace(*PATCH, len(concepts)))
    ground = Ground(evidence, vectors, picture, concepts, places, VENTRAL, fold, voxels)
    people = []
    for number, own in enumerate(rng.spawn(participants)):
        order = np.concatenate([run * count + own.permutation(count) for run in range(runs)])
        image = np.repeat(order, trials)
        wanted = np.clip(np.round(sizes * own.lognormal(0, 0.15, len(sizes))), *PATCH)
        people.append(
            plant_participant(
                number,
                ground,
                Trials(image, image // count + 1, image % count),
                wanted.astype(np.int64),
                responses,
                own,
                drift=0.12,
            )
        )
    table = load_clip_names()
    return PlantedCohort(
        name=f"blocks-{categories}-{seed}",
        vectors=np.tile(vectors, (runs, 1)).astype(np.float32),
        stimuli=tuple(f"c{n:02d}-run{run + 1}" for run in range(runs) for n in range(count)),
        captions=names * runs,
        fold=fold,
        topic=np.tile(np.arange(count), runs),
        concepts=concepts,
        shared=np.full(len(concepts), participants > 1),
        directions=directions.astype(np.float32),
        drive=np.tile(typical_drive(evidence), (runs, 1)),
        participants=tuple(people),
        terms=table.names,
        term_vectors=table.vectors.astype(np.float32),
        truth={"centres_mm": places.centres.tolist(), "sizes": sizes.tolist()},
    )


def many_categories_cohort(seed: int, responses: ResponseConfig = RESPONSES) -> PlantedCohort:
    """One participant, 81 categories, six runs in which each comes in a block of three trials."""
    return block_cohort(seed, 1, categories=81, runs=6, trials=3, voxels=900, responses=responses)


def _draw_categories(
    categories: int, rng: np.random.Generator
) -> tuple[
    tuple[str, ...],
    tuple[str, ...],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """Names (n,), concepts, directions (C, D), evidence (n, C) and the names' vectors (n, D)."""
    table = load_clip_names()
    if categories == len(BLOCK_CATEGORIES):
        names = BLOCK_CATEGORIES
        vectors = table.vectors[table.rows(names)]
        directions = np.asarray(unit(vectors - vectors.mean(axis=0)))
        return names, names, directions, np.asarray(standard(np.eye(len(names)))), vectors
    groups, directions = group_directions(table)
    able = [n for n, group in enumerate(groups) if len(GROUPS[group]) >= 8]
    chosen = np.sort(rng.permutation(able)[:12])
    members = [rng.permutation(GROUPS[groups[n]]).tolist() for n in chosen]
    # One of each group in turn, so that groups are of about one size.
    longest = max(map(len, members))
    turn = [group[place] for place in range(longest) for group in members if place < len(group)]
    if len(turn) < categories:
        raise ValueError(f"{categories} categories asked of {len(turn)} names")
    names = tuple(turn[:categories])
    vectors = table.vectors[table.rows(names)]
    centred = table.vectors - table.vectors.mean(axis=0)
    near = unit(centred[table.rows(names)]) @ directions[chosen].T
    belongs = np.array([[name in GROUPS[groups[n]] for n in chosen] for name in names])
    concepts = tuple(groups[n] for n in chosen)
    return names, concepts, directions[chosen], standard(belongs * near), vectors


def shuffle_within_runs(cohort: PlantedCohort, seed: int) -> PlantedCohort:
    """The same responses, said to be of the same run's blocks in another order."""
    rng = np.random.default_rng([seed, 9])
    people = []
    for one in cohort.participants:
        image = one.image.copy()
        for run in np.unique(one.session):
            own = one.session == run
            shown, block = np.unique(image[own], return_inverse=True)
            image[own] = rng.permutation(shown)[block.ravel()]
        people.append(replace(one, image=image))
    name = f"{cohort.name}-shuffled"
    return replace(cohort, name=name, participants=tuple(people), shuffled=True)

"""The same cohorts shuffled, and with stimuli in blocks or in sequences of similar ones."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tests.support.cohorts.anatomy import smoother
from tests.support.cohorts.participants import NEIGHBOUR_MM, standardise
from tests.support.cohorts.records import PlantedCohort, PlantedParticipant
from tests.support.cohorts.responses import autoregress

CANDIDATES = 10
"""Stimuli that the next one of a sequence is the most similar of."""

Order = Callable[[PlantedCohort, NDArray[np.int64], np.random.Generator], NDArray[np.intp]]
"""From the stimuli (n,) of a session's trials to the order that the trials come in."""


def shuffled(cohort: PlantedCohort, seed: int) -> PlantedCohort:
    """Shuffle stimuli against responses, in every participant in another way.

    All trials of a stimulus stay together, and a stimulus takes the place of one of the same fold
    that was shown as often: noise ceilings, folds and standardised responses stay as they are, and
    nothing is planted any more.
    """
    people = []
    for number, one in enumerate(cohort.participants):
        rng = np.random.default_rng([seed, number])
        shown = np.bincount(one.image, minlength=len(cohort.fold))
        becomes = np.arange(len(cohort.fold))
        for fold in np.unique(cohort.fold):
            for times in np.unique(shown[shown > 0]):
                alike = np.flatnonzero((cohort.fold == fold) & (shown == times))
                becomes[alike] = rng.permutation(alike)
        people.append(replace(one, image=becomes[one.image], planted=np.zeros_like(one.planted)))
    return replace(
        cohort, name=f"{cohort.name}-shuffled", participants=tuple(people), shuffled=True
    )


def blocked(
    cohort: PlantedCohort, seed: int = 0, *, rho: float = 0.8, share: float = 0.4
) -> PlantedCohort:
    """Within every session, stimuli of one topic follow each other; noise is correlated in time.

    Parameters
    ----------
    cohort : PlantedCohort
        For a null cohort whose order is not random, a shuffled one.
    seed : int
    rho : float
        Correlation of the further noise with that of the trial before.
    share : float
        Of each voxel's variance that is further noise, half of it shared by neighbours. It is
        added after the trials were put in order.
    """
    return _reordered(cohort, "blocked", _by_topic, seed, rho, share)


def autocorrelated(
    cohort: PlantedCohort, seed: int = 0, *, rho: float = 0.8, share: float = 0.4
) -> PlantedCohort:
    """Within every session, similar stimuli follow each other; noise is correlated in time.

    Parameters as of `blocked`.
    """
    return _reordered(cohort, "autocorrelated", _by_similarity, seed, rho, share)


def _reordered(
    cohort: PlantedCohort, kind: str, order: Order, seed: int, rho: float, share: float
) -> PlantedCohort:
    people = []
    for number, one in enumerate(cohort.participants):
        rng = np.random.default_rng([seed, number])
        rows = np.concatenate(
            [
                trials[order(cohort, one.image[trials], rng)]
                for session in np.unique(one.session)
                for trials in [np.flatnonzero(one.session == session)]
            ]
        )
        people.append(_with_noise(cohort, one, rows, rng, rho, share))
    return replace(cohort, name=f"{cohort.name}-{kind}", participants=tuple(people))


def _with_noise(
    cohort: PlantedCohort,
    one: PlantedParticipant,
    rows: NDArray[np.intp],
    rng: np.random.Generator,
    rho: float,
    share: float,
) -> PlantedParticipant:
    image = one.image[rows]
    white = rng.standard_normal((2, *one.x.shape), dtype=np.float32)
    white = np.sqrt(0.5) * (white[0] + white[1] @ smoother(one.mni, NEIGHBOUR_MM))
    voxels = one.x.shape[1]
    noise = autoregress(
        white.astype(np.float32), one.session, np.full(voxels, rho, dtype=np.float32)
    )
    x = (np.sqrt(1 - share) * one.x[rows] + np.sqrt(share) * noise).astype(np.float32)
    return replace(
        one,
        x=standardise(x, one.session, cohort.fold[image] == "train"),
        image=image,
        ceiling=one.ceiling * np.float32(1 - share),
    )


def _by_topic(
    cohort: PlantedCohort, image: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Topics in random order, the trials of a topic in random order."""
    topic = cohort.topic[image]
    place = rng.permutation(int(cohort.topic.max()) + 1)
    return np.lexsort((rng.random(len(image)), place[topic]))


def _by_similarity(
    cohort: PlantedCohort, image: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """A chain: after each trial the one of some random others whose stimulus is most similar."""
    vectors = cohort.vectors[image] - cohort.vectors.mean(axis=0)
    left = rng.permutation(len(image)).tolist()
    chain = [left.pop()]
    while left:
        near = rng.permutation(len(left))[:CANDIDATES]
        alike = vectors[[left[n] for n in near]] @ vectors[chain[-1]]
        chain.append(left.pop(int(near[np.argmax(alike)])))
    return np.array(chain, dtype=np.intp)

"""From a brain, a design and what stimuli offer to one participant's record."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.noise import zscore
from tests.support.cohorts.anatomy import (
    Part,
    Places,
    coarse_patterns,
    draw_regions,
    grow_brain,
    grow_patches,
    smoother,
)
from tests.support.cohorts.records import PlantedParticipant
from tests.support.cohorts.responses import (
    ResponseConfig,
    Smoothers,
    autoregress,
    draw_noise,
    draw_signal,
)

NEIGHBOUR_MM, PATCH_MM = 3.5, 9.0
"""Widths (standard deviation) of what neighbours and what patches have in common."""
COARSE_PATTERNS = 150
DRIFT_RHO = 0.9


@dataclass(frozen=True, eq=False)
class Ground:
    """What all participants of a cohort have in common.

    Attributes
    ----------
    evidence, vectors, picture : ndarray
        Of each thing that is shown, as in `draw_signal`.
    concepts : tuple of str
    places : Places
    part : Part
    fold : ndarray
        (I,) of the stimuli.
    voxels : int
        Of each participant.
    """

    evidence: NDArray[np.float64]
    vectors: NDArray[np.floating]
    picture: NDArray[np.float64]
    concepts: tuple[str, ...]
    places: Places
    part: Part
    fold: NDArray[np.str_]
    voxels: int


@dataclass(frozen=True, eq=False)
class Trials:
    """Stimulus, session and thing shown (row of `Ground.evidence`) of N trials, each (N,)."""

    image: NDArray[np.int64]
    session: NDArray[np.int64]
    shown: NDArray[np.int64]


def plant_participant(
    number: int,
    ground: Ground,
    trials: Trials,
    sizes: NDArray[np.int64],
    config: ResponseConfig,
    rng: np.random.Generator,
    *,
    drift: float = 0.0,
) -> PlantedParticipant:
    """Draw one participant.

    Parameters
    ----------
    number : int
        From 0.
    ground : Ground
    trials : Trials
    sizes : ndarray
        (C,) voxels of each patch, 0 for a concept that is not carried.
    config : ResponseConfig
    rng : numpy.random.Generator
    drift : float
        Share of the noise's variance that follows the trial before by 0.9 and that neighbours
        share.
    """
    brain = grow_brain(number, ground.voxels, ground.part, rng)
    strength = grow_patches(brain, ground.places, sizes, rng)
    smooth = Smoothers(
        smoother(brain.mni, NEIGHBOUR_MM),
        coarse_patterns(brain.mni, PATCH_MM, COARSE_PATTERNS, rng),
    )
    signal = draw_signal(
        strength, ground.evidence, ground.vectors, ground.picture, smooth, config, rng
    )
    noise = draw_noise(trials.session, brain.mni[:, 0] > 0, smooth, config, rng)
    if drift:
        white = rng.standard_normal(noise.shape, dtype=np.float32) @ smooth.fine
        rho = np.full(ground.voxels, DRIFT_RHO, dtype=np.float32)
        slow = autoregress(white, trials.session, rho)
        noise = np.float32(np.sqrt(1 - drift)) * noise + np.float32(np.sqrt(drift)) * slow
    x = np.sqrt(signal.ceiling) * signal.answers[trials.shown]
    x += np.sqrt(1 - signal.ceiling) * noise
    regions, region_names = draw_regions(
        brain, strength, ground.concepts, ground.places, ground.part, rng
    )
    return PlantedParticipant(
        label=f"sub-{number + 1:02d}",
        x=standardise(x, trials.session, ground.fold[trials.image] == "train"),
        image=trials.image,
        session=trials.session,
        planted=strength > 0,
        ceiling=signal.ceiling,
        tuning=signal.tuning,
        voxel=brain.voxel,
        affine=brain.affine,
        shape=brain.shape,
        regions=regions,
        region_names=region_names,
    )


def standardise(
    x: NDArray[np.float32], session: NDArray[np.int64], training: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Z-score every session by its training trials; by all, where it has fewer than two."""
    scored = np.empty_like(x)
    for one in np.unique(session):
        rows = session == one
        reference = training[rows]
        if reference.sum() < 2:
            reference = np.ones_like(reference)
        scored[rows] = zscore(x[rows], reference)
    return scored

"""What a planted cohort holds, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.science.noise import noise_ceiling

FOLDS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class PlantedParticipant:
    """Responses of one participant, and what was planted in them.

    Attributes
    ----------
    label : str
    x : ndarray
        (N, V) float32, single trials in acquisition order, z-scored per session by its training
        trials.
    image : ndarray
        (N,) row of the cohort's stimuli that each trial shows.
    session : ndarray
        (N,) counted from 1, ascending.
    planted : ndarray
        (C, V) bool, the voxels that answer to each concept; they overlap. All False for a concept
        that the participant does not carry.
    ceiling : ndarray
        (V,) share of a single trial's variance that is signal, as it was planted.
    tuning : ndarray
        (V,) str: ``"concept"``, ``"picture"``, ``"meaning"`` or ``"none"``.
    voxel : ndarray
        (V, 3) 0-based indices into the grid, in C order.
    affine : ndarray
        (4, 4), indices to MNI mm.
    shape : tuple of int
        Of the grid.
    regions : ndarray
        (R, V) bool.
    region_names : tuple of (str, str)
        Atlas and name of each region; regions of one atlas do not overlap.
    """

    label: str
    x: NDArray[np.float32]
    image: NDArray[np.int64]
    session: NDArray[np.int64]
    planted: NDArray[np.bool_]
    ceiling: NDArray[np.float32]
    tuning: NDArray[np.str_]
    voxel: NDArray[np.int64]
    affine: NDArray[np.float64]
    shape: tuple[int, int, int]
    regions: NDArray[np.bool_]
    region_names: tuple[tuple[str, str], ...]

    @property
    def mni(self) -> NDArray[np.float64]:
        """(V, 3) mm."""
        return np.asarray(self.voxel @ self.affine[:3, :3].T + self.affine[:3, 3])

    @property
    def carries(self) -> NDArray[np.bool_]:
        """(C,) bool, which concepts are planted here."""
        return np.asarray(self.planted.any(axis=1))


@dataclass(frozen=True, eq=False)
class PlantedCohort:
    """Participants, their stimuli, and the truth.

    Attributes
    ----------
    name : str
        Of its kind and seed.
    vectors : ndarray
        (I, D) float32, raw unit target vectors: nothing is taken off.
    stimuli : tuple of str
        (I,) keys.
    captions : tuple of str
        (I,) one text each. They differ, unless stimuli have one vector.
    fold : ndarray
        (I,) str, of `FOLDS`. Test stimuli are seen by all participants.
    topic : ndarray
        (I,) what a stimulus shows first; stimuli of one topic are alike.
    concepts : tuple of str
        (C,) names of the planted concepts.
    shared : ndarray
        (C,) bool, False for a concept of a single participant.
    directions : ndarray
        (C, D) float32, the planted directions: unit vectors in the centred space.
    drive : ndarray
        (I, C) float32, the answer of a typical voxel of each concept, of mean 0 and variance 1
        over the stimuli.
    participants : tuple of PlantedParticipant
    terms : tuple of str
        (T,) words to name components with.
    term_vectors : ndarray
        (T, D) float32, their unit vectors.
    truth : mapping
        Everything else that was drawn, such as the sizes of patches.
    shuffled : bool
        Whether stimuli were shuffled against responses, so that nothing can be found.
    """

    name: str
    vectors: NDArray[np.float32]
    stimuli: tuple[str, ...]
    captions: tuple[str, ...]
    fold: NDArray[np.str_]
    topic: NDArray[np.int64]
    concepts: tuple[str, ...]
    shared: NDArray[np.bool_]
    directions: NDArray[np.float32]
    drive: NDArray[np.float32]
    participants: tuple[PlantedParticipant, ...]
    terms: tuple[str, ...]
    term_vectors: NDArray[np.float32]
    truth: Mapping[str, Any] = field(default_factory=dict)
    shuffled: bool = False

    @property
    def carriers(self) -> NDArray[np.bool_]:
        """(S, C) bool, who carries what."""
        return np.stack([one.carries for one in self.participants])

    def trials(self, participant: int, fold: str) -> NDArray[np.intp]:
        """Trials of one participant whose stimuli are in a fold."""
        return np.flatnonzero(self.fold[self.participants[participant].image] == fold)

    def estimated_ceiling(self, participant: int) -> NDArray[np.float32]:
        """(V,) percent, as an ingestion would estimate it from training trials."""
        one = self.participants[participant]
        return noise_ceiling(one.x, one.image, self.fold[one.image] == "train")

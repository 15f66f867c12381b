"""A cohort with planted concepts, quick to draw, and what the method and its peers make of it.

It shares nothing with the demo's cohort but the manner of its voxels: no setting was chosen on it.
An image is a mixture of topics and of further meaning. Of the topics some are planted: each drives
a patch of voxels in every participant's grid, through a function that saturates. Other voxels
answer to directions of the further meaning, or to what pictures have and meaning has not; every
voxel has also answers of its own to single images, and noise that its neighbours share.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from flows.config import RunConfig
from flows.science.cross_fitting import cross_fit_ridge
from flows.science.folding import cross_fitting_groups
from flows.science.masks import MaskFit, fit_masks
from flows.science.metrics import auc
from flows.science.model import Decoder
from flows.science.noise import noise_ceiling, zscore
from flows.science.reduction import reduce_contrastively
from flows.science.statistics import group_means

RUN = RunConfig()
GOOD_AUC = 0.9
PARTICIPANTS = 0.75
_REPEATS = 3
_HALF_RESPONSE = 1.5
_SMOOTH_SHARE = 0.25


@dataclass(frozen=True)
class CohortSize:
    """How large a cohort is.

    Attributes
    ----------
    participants, concepts : int
    topics : int
        The first of them are the concepts.
    dimension : int
        D of the embedding.
    images, validation : int
        Training images of each participant, all different, and validation images of all.
    grid : tuple of int
        Voxels of a participant.
    patch : int
        Voxels that carry a concept.
    ceiling : float
        Median noise ceiling, in percent, of the voxels that answer to anything.
    """

    participants: int = 4
    concepts: int = 8
    topics: int = 20
    dimension: int = 96
    images: int = 400
    validation: int = 200
    grid: tuple[int, int, int] = (10, 10, 10)
    patch: int = 40
    ceiling: float = 15.0


@dataclass(frozen=True, eq=False)
class Participant:
    """Responses of one participant.

    Attributes
    ----------
    x, x_validation : ndarray
        (N, V) z-scored single trials.
    image, image_validation : ndarray
        (N,) rows of the cohort's vectors.
    planted : ndarray
        (C, V) bool.
    answers : ndarray
        (V,) bool, whether a voxel answers to anything.
    """

    x: np.ndarray
    image: np.ndarray
    x_validation: np.ndarray
    image_validation: np.ndarray
    planted: np.ndarray
    answers: np.ndarray

    @cached_property
    def noise_ceiling(self) -> float:
        """Median, in percent, of the voxels that answer, as ingestion would estimate it."""
        training = np.ones(len(self.x), dtype=bool)
        return float(np.median(noise_ceiling(self.x[:, self.answers], self.image, training)))

    @cached_property
    def trials(self) -> tuple[np.ndarray, np.ndarray]:
        """Responses (N, V) and images (N,) of both folds: what decoders are cross-fitted on."""
        return (
            np.concatenate([self.x_validation, self.x]),
            np.concatenate([self.image_validation, self.image]),
        )


@dataclass(frozen=True, eq=False)
class Cohort:
    """Participants, the images' vectors (I, D) less their mean, and planted directions (C, D)."""

    participants: list[Participant]
    vectors: np.ndarray
    directions: np.ndarray

    def first(self, count: int) -> "Cohort":
        """The same cohort with fewer participants."""
        return replace(self, participants=self.participants[:count])


def draw_cohort(size: CohortSize, seed: int) -> Cohort:
    """Draw stimuli, then each participant."""
    stimuli_rng, *rngs = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(1 + size.participants)
    )
    stimuli = _Stimuli.draw(size, stimuli_rng)
    people = [_participate(size, stimuli, number, rng) for number, rng in enumerate(rngs)]
    return Cohort(people, stimuli.vectors, stimuli.directions)


@dataclass(frozen=True, eq=False)
class _Stimuli:
    """What images offer: vectors (I, D); drives of concepts (I, C), of meaning and of pictures."""

    vectors: np.ndarray
    directions: np.ndarray
    concepts: np.ndarray
    meaning: np.ndarray
    picture: np.ndarray

    @classmethod
    def draw(cls, size: CohortSize, rng: np.random.Generator) -> "_Stimuli":
        count = size.validation + size.participants * size.images
        anchors = _unit(rng.standard_normal((size.topics, size.dimension)))
        present = rng.random((count, size.topics)) < 2.5 / size.topics
        amount = present * rng.uniform(0.5, 1.5, present.shape)
        # Further meaning varies unequally, and vectors have something in common, as CLIP's do.
        further = rng.standard_normal((count, 24)) * np.linspace(0.4, 0.1, 24)
        basis = _unit(rng.standard_normal((24, size.dimension)))
        common = 2 * _unit(rng.standard_normal((1, size.dimension)))
        vectors = _unit(common + amount @ anchors + further @ basis)
        # The space of decoders, components and masks, as a run centres its stimuli.
        vectors = _unit(vectors - vectors.mean(axis=0))
        planted = anchors[: size.concepts]
        cosine = _standard(vectors @ planted.T)
        power = np.maximum(cosine, 0) ** 2
        others = np.column_stack([amount[:, size.concepts :], further])
        return cls(
            vectors.astype(np.float32),
            planted.astype(np.float32),
            _standard(power / (power + _HALF_RESPONSE**2)),
            _standard(others),
            rng.standard_normal((count, 40)),
        )


def _participate(
    size: CohortSize, stimuli: _Stimuli, number: int, rng: np.random.Generator
) -> Participant:
    own = size.validation + number * size.images
    shown = np.concatenate([np.arange(size.validation), np.arange(own, own + size.images)])
    planted = _patches(size, rng)
    signal, answers = _signal(stimuli, shown, planted, rng)
    voxels = signal.shape[1]
    ceiling = np.minimum(size.ceiling / 100 * rng.lognormal(0, 0.4, voxels), 0.95) * answers
    fields = ndimage.gaussian_filter(rng.standard_normal((60, *size.grid)), (0, 1, 1, 1))
    patterns = fields.reshape(60, voxels) / np.linalg.norm(fields.reshape(60, voxels), axis=0)

    def trials(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        row = rng.permutation(np.repeat(rows, _REPEATS))
        noise = np.sqrt(1 - _SMOOTH_SHARE) * rng.standard_normal((len(row), voxels))
        noise += np.sqrt(_SMOOTH_SHARE) * rng.standard_normal((len(row), 60)) @ patterns
        x = np.sqrt(ceiling) * signal[row] + np.sqrt(1 - ceiling) * noise
        return zscore(x, np.ones(len(row), dtype=bool)), shown[row]

    x_validation, image_validation = trials(np.arange(size.validation))
    x, image = trials(np.arange(size.validation, len(shown)))
    return Participant(x, image, x_validation, image_validation, planted, answers)


def _patches(size: CohortSize, rng: np.random.Generator) -> np.ndarray:
    """(C, V) bool, disjoint: the free voxels that lie nearest to a place of each concept's."""
    places = np.argwhere(np.ones(size.grid))
    planted = np.zeros((size.concepts, len(places)), dtype=bool)
    for concept in planted:
        distance = ((places - places[rng.integers(len(places))]) ** 2).sum(axis=1).astype(float)
        distance[planted.any(axis=0)] = np.inf
        concept[np.argsort(distance, kind="stable")[: size.patch]] = True
    return planted


def _signal(
    stimuli: _Stimuli, shown: np.ndarray, planted: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Noiseless answers (I, V) of variance 1, and which voxels (V,) answer at all."""
    signal = np.zeros((len(shown), planted.shape[1]))
    kind = rng.choice(["meaning", "picture", "none"], planted.shape[1], p=[0.4, 0.3, 0.3])
    kind[planted.any(axis=0)] = "planted"

    def answer(voxels: np.ndarray, driven: np.ndarray, explained: float) -> None:
        own = rng.standard_normal(driven.shape)
        mixed = np.sqrt(explained) * _standard(driven) + np.sqrt(1 - explained) * own
        signal[:, voxels] = _standard(mixed)

    voxels = np.flatnonzero(kind == "planted")
    gains = planted[:, voxels].astype(float)
    # One in five answers also weakly to a second concept.
    weak = np.flatnonzero(rng.random(len(voxels)) < 0.2)
    gains[rng.integers(0, len(planted), len(weak)), weak] += 0.25
    answer(voxels, stimuli.concepts[shown] @ gains, 0.6)
    for name, drive, explained in (
        ("meaning", stimuli.meaning, 0.2),
        ("picture", stimuli.picture, 0.5),
    ):
        voxels = np.flatnonzero(kind == name)
        directions = rng.standard_normal((drive.shape[1], len(voxels)))
        answer(voxels, drive[shown] @ directions, explained)
    return signal, kind != "none"


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _standard(columns: np.ndarray) -> np.ndarray:
    return np.asarray((columns - columns.mean(axis=0)) / columns.std(axis=0))


@dataclass(frozen=True, eq=False)
class Decoded:
    """One participant's decoders: of all trials, and without each group of images.

    Attributes
    ----------
    ridge : Decoder
    without : list of Decoder
    told_by : ndarray
        (N,) which of `without` never saw a trial's image.
    predicted : ndarray
        (N, D) unit predictions of these.
    """

    ridge: Decoder
    without: list[Decoder]
    told_by: np.ndarray
    predicted: np.ndarray


def decode(cohort: Cohort, seed: int) -> list[Decoded]:
    """Ridge as a run fits it, which keeps it but where training is surely better."""
    decoded = []
    for one in cohort.participants:
        x, image = one.trials
        validation = np.zeros(len(cohort.vectors), dtype=bool)
        validation[one.image_validation] = True
        # Repeats are spread over one session, so that images are dealt out.
        group = cross_fitting_groups(image, np.zeros_like(image), validation, seed=seed)
        fit = cross_fit_ridge(x, cohort.vectors[image], group)
        told_by = np.searchsorted(fit.groups, group)
        decoded.append(Decoded(fit.decoder, fit.without, told_by, _unit(fit.predicted)))
    return decoded


def find_components(cohort: Cohort, decoded: list[Decoded], seed: int) -> np.ndarray:
    """(K, D) components of all participants, with the default settings.

    Raises
    ------
    ValueError
        None was found again.
    """
    image = np.concatenate([one.trials[1] for one in cohort.participants])
    found = reduce_contrastively(
        cohort.vectors[image],
        np.concatenate([each.predicted for each in decoded]),
        image,
        RUN.reduction,
        seed=seed,
        device="cpu",
    ).components
    if not len(found):
        raise ValueError("no component was found again")
    return found


def find_masks(
    cohort: Cohort, decoded: list[Decoded], components: np.ndarray, seed: int
) -> list[MaskFit]:
    """Each participant's masks of some components, with the default settings."""
    fits = []
    for one, each in zip(cohort.participants, decoded, strict=True):
        x, image = one.trials
        shown, first, label = np.unique(image, return_index=True, return_inverse=True)
        fits.append(
            fit_masks(
                group_means(x, label.ravel()).astype(np.float32),
                cohort.vectors[shown],
                shown,
                each.without,
                components,
                RUN.masks,
                seed=seed,
                device="cpu",
                told_by=each.told_by[first],
            )
        )
    return fits


def nearest(components: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(C,) row of the component whose cosine to each planted direction is largest."""
    return np.asarray((_unit(directions) @ _unit(components).T).argmax(axis=1))


def planted_aucs(cohort: Cohort, maps: list[np.ndarray]) -> np.ndarray:
    """(S, C) AUC of each concept's map, (C, V) for each participant, against its planted voxels."""
    return np.array(
        [
            [auc(row[:, None], member)[0] for row, member in zip(each, one.planted, strict=True)]
            for one, each in zip(cohort.participants, maps, strict=True)
        ]
    )


def found(aucs: np.ndarray) -> int:
    """Planted concepts found: a good AUC in three quarters of the participants."""
    return int(((aucs >= GOOD_AUC).sum(axis=0) >= np.ceil(PARTICIPANTS * len(aucs))).sum())

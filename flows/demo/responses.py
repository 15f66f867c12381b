"""What the demo's voxels answer: drives from meaning and from pictures, gains, noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from app.embedding import Encoder
from flows.demo.anatomy import VISUAL_AREAS, Anatomy
from flows.demo.concepts import CONCEPTS

HALF_RESPONSE = 1.5
MEANING_DIMENSIONS = 24
NOISE_PATTERNS = 120
SMOOTH_SHARE = 0.25
CELLS = 4


@dataclass(frozen=True)
class Population:
    """What one kind of voxels has in common.

    Attributes
    ----------
    ceiling : tuple of float
        Least and greatest noise ceiling, as a share of a single trial's variance.
    shape : tuple of float
        Parameters of the beta distribution over that range.
    explained : float
        Share of the repeatable answer's variance that drives explain. The rest is an answer of the
        voxel's own to every single image. Without it a dozen voxels would tell a concept as
        well as a hundred, and single-trial retrieval would be near perfect, as in no brain.
    """

    ceiling: tuple[float, float]
    shape: tuple[float, float]
    explained: float


PLANTED = Population(ceiling=(0.08, 0.35), shape=(1.5, 3), explained=0.6)
VISUAL = Population(ceiling=(0.05, 0.40), shape=(2, 3), explained=0.5)
DISTRIBUTED = Population(ceiling=(0.05, 0.14), shape=(1.5, 2.5), explained=0.12)
ARBITRARY = PLANTED


@dataclass(frozen=True)
class Drives:
    """What each stimulus offers to voxels, one row a stimulus, columns of mean 0 and variance 1.

    Attributes
    ----------
    concepts : numpy.ndarray
        (I, C) float32, in the order of ``CONCEPTS``.
    meaning : numpy.ndarray
        (I, M) float32, meaning beyond the planted concepts.
    picture : numpy.ndarray
        (I, CELLS, CELLS, F) float32, statistics of the picture's cells, row 0 at the top.
    nameless : numpy.ndarray
        (I, N) float32, what pictures have and neither captions nor `picture` tell; N may be 0.
    """

    concepts: np.ndarray
    meaning: np.ndarray
    picture: np.ndarray
    nameless: np.ndarray

    def of(self, rows: np.ndarray) -> Drives:
        """The drives of some stimuli."""
        return Drives(
            self.concepts[rows], self.meaning[rows], self.picture[rows], self.nameless[rows]
        )


def compute_drives(
    captions: Sequence[Sequence[str]],
    images: np.ndarray,
    encoder: Encoder,
    nameless: np.ndarray | None = None,
) -> Drives:
    """Turn captions and pictures into drives.

    A concept's drive is the cosine between a stimulus' caption vector and the concept's anchor,
    each with its own mean taken off, in standard deviations over stimuli, rectified and passed
    through a saturating power function (Naka & Rushton 1966): a linear decoder does not share it.
    The further meaning is what is left of the leading principal components of the caption vectors
    once the concepts' drives are regressed out, so that no voxel outside a planted patch carries
    a planted concept.

    Parameters
    ----------
    captions : sequence of I sequences of str
    images : numpy.ndarray
        (I, H, W, 3) uint8.
    encoder : Encoder
    nameless : numpy.ndarray, optional
        (I, N) of mean 0 and variance 1; none by default.
    """
    vectors = encoder.encode_stimuli(captions, None).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    anchors = np.stack([encoder.encode_texts(c.anchors).mean(axis=0) for c in CONCEPTS])
    cosine = _unit(vectors) @ _unit(anchors - anchors.mean(axis=0)).T
    concepts = _standard(_saturate(_standard(cosine)))

    left, scale, _ = np.linalg.svd(vectors, full_matrices=False)
    leading = left[:, :MEANING_DIMENSIONS] * scale[:MEANING_DIMENSIONS]
    design = np.column_stack([np.ones(len(concepts)), concepts])
    rest = leading - design @ np.linalg.lstsq(design, leading, rcond=None)[0]
    # The square root keeps the strongest dimensions ahead without letting them drown the others.
    spread = rest.std(axis=0)
    meaning = np.divide(rest, np.sqrt(spread), out=np.zeros_like(rest), where=spread > 1e-9)
    picture = picture_statistics(images)
    if nameless is None:
        nameless = np.empty((len(concepts), 0))
    parts = (concepts, meaning, picture, nameless)
    return Drives(*(part.astype(np.float32) for part in parts))


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit


def _standard(columns: np.ndarray) -> np.ndarray:
    """Columns to mean 0, variance 1; constant columns to 0."""
    centred = columns - columns.mean(axis=0)
    spread = centred.std(axis=0)
    scaled: np.ndarray = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-9)
    return scaled


def _saturate(z: np.ndarray) -> np.ndarray:
    power = np.maximum(z, 0) ** 2
    out: np.ndarray = power / (power + HALF_RESPONSE**2)
    return out


def picture_statistics(images: np.ndarray) -> np.ndarray:
    """Brightness, contrast, two colour opponents, two edge energies of each cell, standardised.

    Parameters
    ----------
    images : numpy.ndarray
        (I, H, W, 3) uint8, H and W multiples of 4.

    Returns
    -------
    numpy.ndarray
        (I, 4, 4, 6).
    """
    n, height, width, _ = images.shape
    pixels = images.astype(np.float32)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    light = pixels.mean(axis=-1)
    down = np.abs(np.diff(light, axis=1, append=light[:, -1:]))
    across = np.abs(np.diff(light, axis=2, append=light[:, :, -1:]))

    def cells(values: np.ndarray) -> np.ndarray:
        parts = values.reshape(n, CELLS, height // CELLS, CELLS, width // CELLS)
        return parts.transpose(0, 1, 3, 2, 4).reshape(n, CELLS, CELLS, -1)

    brightness = cells(light)
    statistics = [brightness.mean(-1), brightness.std(-1)]
    statistics += [cells(v).mean(-1) for v in (red - green, blue - (red + green) / 2, down, across)]
    return _standard(np.stack(statistics, axis=-1))


@dataclass(frozen=True)
class Tuning:
    """How one participant's V brain voxels answer.

    Attributes
    ----------
    signal : numpy.ndarray
        (I, V) float32, noiseless answer to each of the participant's stimuli, variance 1 over
        stimuli, 0 for plain noise voxels.
    ceiling : numpy.ndarray
        (V,) share of a single trial's variance that is signal.
    mean, spread : numpy.ndarray
        (V,) percent signal change: mean answer, and standard deviation of single trials.
    """

    signal: np.ndarray
    ceiling: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


def draw_tuning(anatomy: Anatomy, drives: Drives, rng: np.random.Generator) -> Tuning:
    """Give every brain voxel its signal and noise ceiling.

    Planted voxels answer to their concepts, one in five also weakly to a further one; early visual
    voxels to their part of the visual field; distributed voxels to a direction of their own in the
    further meaning; arbitrary voxels to one in the further meaning and in what has no name, alike
    in neighbours; all four also to every image in a way of their own; all others to nothing.

    Parameters
    ----------
    anatomy : Anatomy
    drives : Drives
        Of the participant's I stimuli.
    rng : numpy.random.Generator
    """
    brain = anatomy.brain
    n_voxels = int(brain.sum())
    n_stimuli = len(drives.concepts)
    signal = np.zeros((n_stimuli, n_voxels), dtype=np.float32)
    ceiling = np.zeros(n_voxels, dtype=np.float32)

    def answer(voxels: np.ndarray, driven: np.ndarray, kind: Population) -> None:
        own = rng.standard_normal(driven.shape, dtype=np.float32)
        mixed = np.sqrt(kind.explained) * _standard(driven) + np.sqrt(1 - kind.explained) * own
        signal[:, voxels] = _standard(mixed)
        low, high = kind.ceiling
        ceiling[voxels] = low + (high - low) * rng.beta(*kind.shape, voxels.size)

    planted = anatomy.planted[:, brain]
    voxels = np.flatnonzero(planted.any(axis=0))
    gains = planted[:, voxels] * anatomy.response.astype(np.float32)[:, None]
    carried = np.flatnonzero(planted.any(axis=1))
    weak = np.flatnonzero(rng.random(voxels.size) < 0.2)
    gains[rng.choice(carried, weak.size), weak] += 0.25
    answer(voxels, drives.concepts @ gains, PLANTED)

    voxels = np.flatnonzero(anatomy.visual[brain] > 0)
    fields = receptive_fields(anatomy.visual[brain][voxels], anatomy.mni[brain][voxels, 0], rng)
    weights = fields.reshape(voxels.size, -1).astype(np.float32)
    answer(voxels, drives.picture.reshape(n_stimuli, -1) @ weights.T, VISUAL)

    voxels = np.flatnonzero(anatomy.distributed[brain])
    directions = rng.standard_normal((drives.meaning.shape[1], voxels.size), dtype=np.float32)
    answer(voxels, drives.meaning @ directions, DISTRIBUTED)

    voxels = np.flatnonzero(anatomy.arbitrary[brain])
    if voxels.size:
        offered = _standard(np.column_stack([drives.meaning, drives.nameless]))
        fields = rng.standard_normal((offered.shape[1], *brain.shape), dtype=np.float32)
        alike = gaussian_filter(fields, (0, 1, 1, 1))[:, brain][:, voxels]
        answer(voxels, offered.astype(np.float32) @ alike, ARBITRARY)

    mean = rng.normal(0.3, 0.3, n_voxels) + 2.5 * np.sqrt(ceiling)
    spread = rng.lognormal(np.log(1.6), 0.25, n_voxels)
    return Tuning(signal, ceiling, mean, spread)


def receptive_fields(area: np.ndarray, x_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights of early visual voxels on the picture's cells.

    Parameters
    ----------
    area : numpy.ndarray
        (V,) 1-based index into ``VISUAL_AREAS``.
    x_mm : numpy.ndarray
        (V,) MNI x: the left hemisphere sees the right half.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        (V, CELLS, CELLS, 6): one cell of the voxel's quarter field, or its half field for areas
        named neither "v" nor "d", times random weights on the statistics.
    """
    n = area.size
    half = CELLS // 2
    names = [list(VISUAL_AREAS)[index - 1] for index in area]
    first_row = np.array([half if name.endswith("d") else 0 for name in names])
    n_rows = np.array([half if name.endswith(("v", "d")) else CELLS for name in names])
    row = first_row + rng.integers(0, n_rows, n)
    column = np.where(x_mm < 0, half, 0) + rng.integers(0, half, n)
    weights = np.zeros((n, CELLS, CELLS, 6))
    weights[np.arange(n), row, column] = rng.standard_normal((n, 6))
    return weights


def simulate_sessions(
    tuning: Tuning,
    patterns: np.ndarray,
    stimulus: np.ndarray,
    trials_per_session: int,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Yield each session's betas, percent signal change, (trials of the session, V) float32.

    A trial's noise is smooth noise that neighbours share, white noise, and a slow drift over the
    session; a session scales all of a voxel's answers by a gain and shifts them by an offset.

    Parameters
    ----------
    tuning : Tuning
    patterns : numpy.ndarray
        (P, V) from `noise_patterns`.
    stimulus : numpy.ndarray
        (N,) row of ``tuning.signal`` that each trial showed, in acquisition order.
    trials_per_session : int
    rng : numpy.random.Generator
    """
    n_voxels = tuning.ceiling.size
    signal_gain = np.sqrt(tuning.ceiling)
    noise_gain = np.sqrt(1 - tuning.ceiling)
    for start in range(0, stimulus.size, trials_per_session):
        shown = stimulus[start : start + trials_per_session]
        n = shown.size
        noise = rng.standard_normal((n, n_voxels), dtype=np.float32)
        noise *= np.float32(np.sqrt(1 - SMOOTH_SHARE))
        courses = rng.standard_normal((n, len(patterns)), dtype=np.float32)
        noise += np.float32(np.sqrt(SMOOTH_SHARE)) * (courses @ patterns)
        time = np.linspace(-1, 1, n, dtype=np.float32)[:, None]
        noise += 0.1 * time * rng.standard_normal(n_voxels, dtype=np.float32)
        z = signal_gain * tuning.signal[shown] + noise_gain * noise
        gain = tuning.spread * rng.lognormal(0, 0.08, n_voxels)
        offset = tuning.mean + rng.normal(0, 0.3, n_voxels)
        yield (offset + gain * z).astype(np.float32)


def noise_patterns(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Smooth patterns over the brain whose random mixtures have variance 1: (P, V) float32."""
    fields = rng.standard_normal((NOISE_PATTERNS, *anatomy.brain.shape), dtype=np.float32)
    smooth = gaussian_filter(fields, (0, 1, 1, 1))[:, anatomy.brain]
    patterns: np.ndarray = smooth / np.sqrt((smooth**2).sum(axis=0))
    return patterns

"""How planted voxels answer: thresholds, gains, suppression, other tunings, and noise in time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tests.support.cohorts.stimuli import standard

PICTURE_FEATURES = 40
MEANING_AXES = 25
SUPPRESSED = 0.12
THRESHOLD = (0.4, 0.45)
"""Mean and standard deviation over voxels, in standard deviations of the evidence."""
SHARPNESS = 3.0


@dataclass(frozen=True)
class ResponseConfig:
    """What voxels have in common.

    Attributes
    ----------
    ceiling : float
        Median share of a single trial's variance that is signal, in planted voxels.
    explained : tuple of float
        Parameters of the beta distribution of the share of a planted voxel's signal that its
        concepts explain. The rest is an answer of its own to each image, a third of it shared by
        neighbours and another by patches of some 20 mm.
    meaning : float
        Share of the other voxels that answer to a direction of their own among the leading
        principal components of the target vectors, wherever they lie.
    picture : float
        Share of the other voxels that answer to what pictures have and target vectors have not.
    suppressed : tuple of int
        Concepts that their voxels respond less to, by number.
    fine, coarse, broad : float
        Shares of the noise's variance that neighbours share, that patches of some 20 mm share, and
        that hemispheres share.
    """

    ceiling: float = 0.12
    explained: tuple[float, float] = (4.0, 5.0)
    meaning: float = 0.3
    picture: float = 0.4
    suppressed: tuple[int, ...] = ()
    fine: float = 0.2
    coarse: float = 0.15
    broad: float = 0.08


@dataclass(frozen=True, eq=False)
class Smoothers:
    """What makes white maps smooth: (V, V) from `smoother`, and (P, V) coarse patterns."""

    fine: sparse.csr_array
    coarse: NDArray[np.float32]

    def mix(
        self, maps: int, shares: tuple[float, float], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Maps (maps, V) of variance 1: shares of fine and of coarse ones, the rest white."""
        voxels = self.fine.shape[0]
        fine, coarse = np.sqrt(np.array(shares, dtype=np.float32))
        mixed = rng.standard_normal((maps, voxels), dtype=np.float32)
        mixed *= np.float32(np.sqrt(1 - sum(shares)))
        mixed += fine * (rng.standard_normal((maps, voxels), dtype=np.float32) @ self.fine)
        courses = rng.standard_normal((maps, len(self.coarse)), dtype=np.float32)
        mixed += coarse * (courses @ self.coarse)
        return mixed


@dataclass(frozen=True, eq=False)
class Signal:
    """Noiseless answers (I, V) of variance 1 or 0, shares (V,) of trials' variance, tuning (V,)."""

    answers: NDArray[np.float32]
    ceiling: NDArray[np.float32]
    tuning: NDArray[np.str_]


def softplus(evidence: NDArray[np.floating], threshold: float) -> NDArray[np.floating]:
    """What a typical voxel answers to evidence: about a line above the threshold, 0 below."""
    return np.asarray(np.logaddexp(0, SHARPNESS * (evidence - threshold)) / SHARPNESS)


def typical_drive(evidence: NDArray[np.floating]) -> NDArray[np.float32]:
    """(I, C) answers of a voxel of mean threshold to each concept alone, standardised."""
    return standard(softplus(evidence, THRESHOLD[0])).astype(np.float32)


def draw_signal(
    strength: NDArray[np.float32],
    evidence: NDArray[np.floating],
    vectors: NDArray[np.floating],
    picture: NDArray[np.floating],
    smooth: Smoothers,
    config: ResponseConfig,
    rng: np.random.Generator,
) -> Signal:
    """Give every voxel its answer to every stimulus.

    A planted voxel adds up what its concepts drive in it: each with a threshold of its own,
    smoothly or sharply, some of them suppressed instead of driven. All others answer to a
    direction of meaning, to pictures, or to nothing, each kind scattered without any order, but
    for pictures, where neighbours answer alike.

    Parameters
    ----------
    strength : ndarray
        (C, V) from `grow_patches`.
    evidence : ndarray
        (I, C).
    vectors : ndarray
        (I, D) target vectors.
    picture : ndarray
        (I, F) what pictures have.
    smooth : Smoothers
    """
    stimuli, voxels = len(evidence), int(strength.shape[1])
    tuning = rng.choice(
        ["meaning", "picture", "none"],
        voxels,
        p=[config.meaning, config.picture, 1 - config.meaning - config.picture],
    )
    planted = np.flatnonzero(strength.any(axis=0))
    tuning[planted] = "concept"

    driven = np.zeros((stimuli, voxels))
    explained = rng.beta(*config.explained, voxels)
    sharp = rng.random(voxels) < 0.4
    sign = np.where(rng.random(voxels) < SUPPRESSED, -1.0, 1.0)
    side = np.ones(len(strength))
    side[list(config.suppressed)] = -1
    threshold = rng.normal(*THRESHOLD, (len(strength), voxels))
    for concept, voxel in zip(*np.nonzero(strength), strict=True):
        above = threshold[concept, voxel]
        answer = (
            np.maximum(evidence[:, concept] - above, 0)
            if sharp[voxel]
            else softplus(evidence[:, concept], above)
        )
        driven[:, voxel] += side[concept] * sign[voxel] * strength[concept, voxel] * answer

    meaning = np.flatnonzero(tuning == "meaning")
    scores = standard(leading_scores(vectors, MEANING_AXES))
    driven[:, meaning] = scores @ rng.standard_normal((scores.shape[1], len(meaning)))
    explained[meaning] = rng.beta(4, 4, len(meaning))

    seen = np.flatnonzero(tuning == "picture")
    weights = rng.standard_normal((picture.shape[1], voxels), dtype=np.float32) @ smooth.fine
    driven[:, seen] = picture @ weights[:, seen]
    explained[seen] = rng.beta(4, 4, len(seen))

    own = smooth.mix(stimuli, (1 / 3, 1 / 3), rng)
    answers = standard(np.sqrt(explained) * standard(driven) + np.sqrt(1 - explained) * own)

    ceiling = config.ceiling * rng.lognormal(0, 0.45, voxels)
    ceiling[planted] *= 0.6 + 0.5 * strength.max(axis=0)[planted]
    ceiling[meaning] *= 0.75
    ceiling[tuning == "none"] = 0
    return Signal(
        (answers * (ceiling > 0)).astype(np.float32),
        np.clip(ceiling, 0, 0.6).astype(np.float32),
        tuning,
    )


def leading_scores(vectors: NDArray[np.floating], axes: int) -> NDArray[np.floating]:
    """(I, axes) scores on the leading principal components; fewer where vectors span fewer."""
    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    values, basis = np.linalg.eigh(centred.T @ centred)
    kept = np.flatnonzero(values > 1e-6 * values[-1])[::-1][:axes]
    return np.asarray(centred @ basis[:, kept])


def draw_noise(
    session: NDArray[np.int64],
    hemisphere: NDArray[np.bool_],
    smooth: Smoothers,
    config: ResponseConfig,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Noise of single trials (N, V), variance about 1.

    White noise, noise that neighbours share, and noise that hemispheres share; each voxel's
    follows the trial before with a correlation of its own (first order, within sessions). Some
    trials are noisier than others, as where somebody moves.

    Parameters
    ----------
    session : ndarray
        (N,) ascending.
    hemisphere : ndarray
        (V,) bool.
    """
    trials, voxels = len(session), len(hemisphere)
    noise = np.float32(np.sqrt(1 - config.broad)) * smooth.mix(
        trials, (config.fine, config.coarse), rng
    )
    left, other = rng.standard_normal((2, trials, 1), dtype=np.float32)
    courses = np.where(hemisphere, np.float32(0.6) * left + np.float32(0.8) * other, left)
    noise += np.float32(np.sqrt(config.broad)) * courses
    noise *= rng.lognormal(0, 0.2, (trials, 1)).astype(np.float32)
    rho = rng.uniform(0.05, 0.4, voxels).astype(np.float32)
    return autoregress(noise, session, rho)


def autoregress(
    white: NDArray[np.float32], session: NDArray[np.int64], rho: NDArray[np.float32]
) -> NDArray[np.float32]:
    """First-order autoregressive noise (N, V) of the variance of what drives it, by session.

    Parameters
    ----------
    white : ndarray
        (N, V) innovations, independent over trials.
    session : ndarray
        (N,) ascending; each session starts anew.
    rho : ndarray
        (V,) correlation with the trial before.
    """
    noise = white.copy()
    fresh = np.sqrt(1 - rho**2)
    for trial in range(1, len(noise)):
        if session[trial] == session[trial - 1]:
            noise[trial] = rho * noise[trial - 1] + fresh * white[trial]
    return noise

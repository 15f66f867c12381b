"""Standardised responses, and how much of a voxel's variance the image can explain."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

# Voxels worked on at once in double precision: a session of 750 trials is 24 MB a block.
_VOXEL_BLOCK = 4096

# The same where sums over all sessions are taken: a block stays near the processor.
_CEILING_BLOCK = 32

_FLOATS = (np.float16, np.float32, np.float64)

# Showings an image needs before it says anything about trial noise here (METHOD.md 0).
_REPEATS = 3


def zscore(betas: NDArray[np.floating], reference: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Standardise each voxel of one session by its reference trials.

    Parameters
    ----------
    betas : ndarray
        (T, V) responses of one session, any unit.
    reference : ndarray
        (T,) bool, the trials that mean and standard deviation (ddof 0) come from: the
        session's training trials, so that nothing of a test trial reaches training.

    Returns
    -------
    ndarray
        (T, V) float32; a column is NaN throughout where the voxel is constant over the
        reference trials, or not finite on any trial.

    Raises
    ------
    ValueError
        Where shapes do not match or fewer than two trials are reference trials.

    References
    ----------
    METHOD.md 0.
    """
    betas = np.asarray(betas)
    reference = np.asarray(reference, dtype=bool)
    if betas.ndim != 2 or reference.shape != betas.shape[:1]:
        raise ValueError(
            f"betas of shape {betas.shape} do not match reference trials of shape {reference.shape}"
        )
    if reference.sum() < 2:
        raise ValueError(
            f"{int(reference.sum())} of {len(reference)} trials are reference trials: "
            "at least 2 are needed to standardise a session"
        )
    scored = np.empty(betas.shape, dtype=np.float32)
    for start in range(0, betas.shape[1], _VOXEL_BLOCK):
        block = slice(start, start + _VOXEL_BLOCK)
        values = betas[:, block].astype(np.float64)
        values[:, ~np.isfinite(values).all(axis=0)] = np.nan
        known = values[reference]
        scale = known.std(axis=0)
        # The standard deviation of equal values can come out as a rounding error above zero.
        scale[np.ptp(known, axis=0) == 0] = np.nan
        scored[:, block] = (values - known.mean(axis=0)) / scale
    return scored


def noise_ceiling(
    betas: NDArray[np.floating],
    image: NDArray[np.integer],
    training: NDArray[np.bool_],
    n: float = 1,
) -> NDArray[np.float32]:
    """Share of each voxel's variance that the image explains, in percent.

    Over the training trials of images with at least three of them: the noise variance is the
    variance around each image's mean (ddof 1, pooled over images), the signal variance is
    what the total variance has beyond it, and
    ``NC = 100 * ncsnr^2 / (ncsnr^2 + 1 / n)`` with ``ncsnr^2 = signal / noise``. Voxels do
    not interact, so a caller may pass any block of columns.

    Parameters
    ----------
    betas : ndarray
        (N, V) z-scored responses.
    image : ndarray
        (N,) integer, the image that each trial shows.
    training : ndarray
        (N,) bool, the training trials.
    n : float
        Trials averaged in the responses to be explained: 1 for single trials,
        `effective_repeats` for a mixture.

    Returns
    -------
    ndarray
        (V,) float32 in [0, 100]; NaN where a response used is NaN or all are equal.

    Raises
    ------
    ValueError
        Where shapes do not match, `n` is not positive, or no image has three training trials.

    References
    ----------
    METHOD.md 0; Allen et al. 2022 (Natural Scenes Dataset), Methods, noise ceiling.
    """
    betas, image = np.asarray(betas), np.asarray(image)
    training = np.asarray(training, dtype=bool)
    if betas.ndim != 2 or image.shape != betas.shape[:1] or training.shape != image.shape:
        raise ValueError(
            f"betas of shape {betas.shape} do not match images of shape {image.shape} "
            f"and training flags of shape {training.shape}"
        )
    if not n > 0:
        raise ValueError(f"n must be positive, not {n}")
    shown, showing, count = np.unique(image[training], return_inverse=True, return_counts=True)
    if count.max(initial=0) < _REPEATS:
        raise ValueError(
            f"none of {len(shown)} training images has {_REPEATS} training trials: "
            "the noise ceiling needs repeated images"
        )
    repeated = count[showing] >= _REPEATS
    rows = np.flatnonzero(training)[repeated]
    showings, repeats = _showings(image[rows])
    order = torch.from_numpy(rows[np.concatenate(showings)])
    if betas.dtype not in _FLOATS:
        betas = betas.astype(np.float64)
    by_voxel = torch.from_numpy(np.require(betas, requirements="W")).T

    ceiling = np.empty(betas.shape[1], dtype=np.float32)
    for start in range(0, betas.shape[1], _CEILING_BLOCK):
        block = slice(start, start + _CEILING_BLOCK)
        values = _take(by_voxel[block], order).to(torch.float64).numpy()
        # Around one of the values, so that sums of squares of what lies far from 0 lose nothing.
        values -= values[:, :1].copy()
        constant = ~values.any(axis=1)
        squares = np.einsum("vn,vn->v", values, values)
        sums = values[:, : len(repeats)]
        done = len(repeats)
        for trials in showings[1:]:
            sums[:, : len(trials)] += values[:, done : done + len(trials)]
            done += len(trials)
        total = (squares - sums.sum(axis=1) ** 2 / done) / (done - 1)
        within = squares - np.einsum("vi,vi,i->v", sums, sums, 1 / repeats)
        noise = np.maximum(0, within) / (done - len(repeats))
        total[constant] = np.nan
        signal = np.maximum(0, total - noise)
        # The formula in ncsnr^2, multiplied out so that a voxel without noise needs no limit.
        ceiling[block] = 100 * signal / (signal + noise / n)
    return ceiling


def _showings(image: NDArray[np.integer]) -> tuple[list[NDArray[np.intp]], NDArray[np.integer]]:
    """Trials of every image's first showing, of its second, and so on; and repeats by image.

    Images with most repeats come first, so that those of any showing are the first of all.
    """
    _, showing, repeats = np.unique(image, return_inverse=True, return_counts=True)
    by_repeats = np.argsort(-repeats, kind="stable")
    trials = np.argsort(showing, kind="stable")
    first = (np.cumsum(repeats) - repeats)[by_repeats]
    repeats = repeats[by_repeats]
    return [trials[first[repeats > n] + n] for n in range(repeats.max())], repeats


def _take(values: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Columns of values; of half precision as single, which takes a quarter of the time."""
    return values.to(torch.promote_types(values.dtype, torch.float32)).index_select(1, columns)


def effective_repeats(repeats: ArrayLike) -> float:
    """The `n` of a noise ceiling for responses averaged over mixed numbers of trials.

    Parameters
    ----------
    repeats : array_like
        Trials averaged per image, each at least 1.

    Returns
    -------
    float
        Their harmonic mean: with A, B, C images of 3, 2, 1 trials,
        ``1 / n = (A / 3 + B / 2 + C) / (A + B + C)``.

    Raises
    ------
    ValueError
        Where there is no image, or one without a trial.

    References
    ----------
    METHOD.md 0; the Natural Scenes Dataset's manual, noise ceiling.
    """
    counts = np.asarray(repeats, dtype=np.float64)
    if counts.size == 0 or counts.min() < 1:
        raise ValueError("effective repeats need at least one image and one trial per image")
    return float(counts.size / (1 / counts).sum())

"""Ridge regression from brain responses to target vectors, the baseline of every decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import check_responses, check_targets, check_varies, on_device
from flows.science.decoder import Decoder
from flows.science.device import resolve_device
from flows.science.metrics import top_k
from flows.science.ridge_solvers import Decomposed, Factorised, RidgeSolver

# Trials or voxels, whichever are fewer, up to which a decomposition is affordable.
DECOMPOSED = 2048

# Penalties in a row that do worse than the best, after which no smaller one is tried where each
# costs a factorisation.
WORSE_IN_A_ROW = 2

ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 6, 13))


@dataclass(frozen=True)
class RidgeFit:
    """A ridge decoder, and how each penalty did on the validation trials.

    Parameters
    ----------
    decoder : Decoder
        Linear, at the chosen penalty.
    alpha : float
        The chosen one; at an end of the grid, a wider grid might do better.
    alphas, validation_top1, validation_cosine : tuple of float
        (A,) each; NaN where a penalty was not tried, or is too small for the precision.
    """

    decoder: Decoder
    alpha: float
    alphas: tuple[float, ...]
    validation_top1: tuple[float, ...]
    validation_cosine: tuple[float, ...]


def fit_ridge(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    x_validation: NDArray[np.floating],
    y_validation: NDArray[np.floating],
    alphas: Sequence[float] = ALPHAS,
    *,
    device: str | torch.device = "cpu",
) -> Decoder:
    """The decoder of `ridge_path`, which see."""
    return ridge_path(x, y, x_validation, y_validation, alphas, device=device).decoder


def ridge_path(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    x_validation: NDArray[np.floating],
    y_validation: NDArray[np.floating],
    alphas: Sequence[float] = ALPHAS,
    *,
    device: str | torch.device = "cpu",
    decomposed: int = DECOMPOSED,
) -> RidgeFit:
    """Fit ridge regression for each penalty, and keep the one that validates best.

    Minimises ``|Y - X W - b|^2 + alpha * V / 1000 * |W|^2`` after X and Y are centred. The
    penalty grows with the number of voxels because the same predicted variance, spread over
    more voxels, needs smaller weights: one grid then serves 3,000 voxels and 18,000. One
    eigendecomposition in double precision serves all penalties; of more than `decomposed`
    trials and voxels each penalty is solved by itself, in single precision, which takes less
    memory and time (`ridge_solvers`), from the largest down until two in a row do worse than the
    best. The choice is by validation top-1 among the distinct validation targets, between equals
    by the mean cosine.

    Parameters
    ----------
    x : ndarray
        (N, V) z-scored training responses.
    y : ndarray
        (N, D) unit target vector of each trial.
    x_validation, y_validation : ndarray
        (P, V) and (P, D), likewise.
    alphas : sequence of float
        (A,) positive penalties.
    device : str or torch.device
        Where the decomposition runs, as `resolve_device` takes it.
    decomposed : int

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, targets are zero or all the same, so
        are all training trials, a fold is empty, a penalty is not positive, or all are too small
        for the precision.

    References
    ----------
    METHOD.md a.
    """
    x = check_responses("x", x)
    x_validation = check_responses("x_validation", x_validation, x.shape[1])
    check_targets("training", np.arange(len(y)), len(x), y)
    check_varies("x", x)
    check_targets("validation", np.arange(len(y_validation)), len(x_validation), y_validation)
    if len(alphas) == 0 or not all(0 < alpha < np.inf for alpha in alphas):
        raise ValueError(f"penalties must be positive and finite, not {list(alphas)}")
    if (y == y[0]).all():
        raise ValueError(f"all {len(y)} training trials have one target: nothing to regress on")
    place = resolve_device(device)
    responses = on_device(x, place)
    vectors = on_device(np.asarray(y), place).double()
    mean_y = vectors.mean(0)
    kind = Decomposed if min(x.shape) <= decomposed else Factorised
    solver: RidgeSolver = kind(responses, vectors - mean_y, on_device(x_validation, place))

    pool, own = np.unique(y_validation, axis=0, return_inverse=True)
    penalties = [alpha * x.shape[1] / 1000 for alpha in alphas]
    top1, cosine = np.full(len(alphas), np.nan), np.full(len(alphas), np.nan)
    best, worse = -1, 0
    for index in sorted(range(len(alphas)), key=lambda index: -alphas[index]):
        told = solver.validate(penalties[index])
        if told is None:
            break
        predicted = (told + mean_y).cpu().numpy()
        top1[index] = top_k(predicted, pool, own, ks=(1,))[1]
        length = np.linalg.norm(predicted, axis=1) * np.linalg.norm(y_validation, axis=1)
        inner = (predicted * y_validation).sum(axis=1)
        cosine[index] = np.mean(inner / np.maximum(length, np.finfo(float).tiny))
        if best < 0 or (top1[index], cosine[index]) > (top1[best], cosine[best]):
            best, worse = index, 0
        else:
            worse += 1
            if worse == WORSE_IN_A_ROW and not solver.thorough:
                break
    if best < 0:
        raise ValueError(f"penalties {list(alphas)} are too small for this many trials and voxels")
    weight = solver.weight(penalties[best])
    bias = mean_y - responses.mean(0, dtype=weight.dtype) @ weight
    parameters = {
        "weight": weight.T.float().contiguous().cpu().numpy(),
        "bias": bias.float().cpu().numpy(),
    }
    return RidgeFit(
        Decoder("linear", parameters),
        alphas[best],
        tuple(alphas),
        tuple(top1.tolist()),
        tuple(cosine.tolist()),
    )


def without_mean(ridge: Decoder, y: NDArray[np.floating]) -> Decoder:
    """A ridge decoder that predicts how a target differs from the mean of all.

    The mean tells no two images apart, and in a cosine it drowns what does. A contrastive
    decoder can start from here.

    Parameters
    ----------
    ridge : Decoder
        Linear.
    y : ndarray
        (N, D) unit targets of the training trials.
    """
    tensors = ridge.tensors()
    mean = np.asarray(y, dtype=np.float64).mean(axis=0)
    return Decoder("linear", tensors | {"bias": (tensors["bias"] - mean).astype(np.float32)})

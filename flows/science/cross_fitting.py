"""Decoders whose predictions of a trial never saw its stimulus: ridge, left out group by group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import check_responses, check_targets, check_varies, on_device
from flows.science.decoder import Decoder
from flows.science.device import resolve_device
from flows.science.metrics import top_k
from flows.science.ridge import ALPHAS, DECOMPOSED, WORSE_IN_A_ROW
from flows.science.ridge_solvers import Decomposed, Factorised, GroupSolver


@dataclass(frozen=True, eq=False)
class CrossFit:
    """A decoder of all trials, one without each group, and what these make of their group.

    Attributes
    ----------
    decoder : Decoder
        Fitted on all trials.
    without : list of Decoder
        (G,) fitted on all trials but those of a group, in the order of `groups`.
    groups : ndarray
        (G,) the groups' numbers.
    predicted : ndarray
        (N, D) float32, each trial decoded by the decoder that was fitted without its group; not
        normalised.
    alpha : float
        The penalty chosen; at an end of the grid, a wider grid might do better.
    alphas, top1, cosine : tuple of float
        (A,) penalties, and how out-of-group predictions did; NaN where one was not tried.
    """

    decoder: Decoder
    without: list[Decoder]
    groups: NDArray[np.int64]
    predicted: NDArray[np.float32]
    alpha: float
    alphas: tuple[float, ...]
    top1: tuple[float, ...]
    cosine: tuple[float, ...]


def cross_fit_ridge(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    group: NDArray[np.integer],
    alphas: Sequence[float] = ALPHAS,
    *,
    device: str | torch.device = "cpu",
    decomposed: int = DECOMPOSED,
) -> CrossFit:
    """Ridge regression whose penalty is chosen by leaving out one group of trials at a time.

    Minimises ``|Y - X W - b|^2 + alpha * V / 1000 * |W|^2``. What a fit without a group predicts of
    it follows from the fit of all N trials: with ``S = (X^T X + penalty)^-1 X_g^T``, X less its
    mean, and ``H = X_g S + 1 / N``, the residual without the group is
    ``e = (I - H)^-1 (Y_g - X_g W - b)``, and its weights are ``W - S e``. One factorisation a
    penalty thus serves all groups. The choice is by the mean cosine of out-of-group predictions
    with their targets, which resolves more finely than a share of hits.

    Each fit without a group is centred by the means of its own trials. By those of all, what a fit
    is centred by would tell of what it left out, and on few trials noise would be told beyond
    chance: the means of the others lie opposite to the group's, in responses and in targets. To
    what a fit tells then the targets' mean over all trials is added, the same for all groups: with
    the others' mean noise would be told below chance.

    Parameters
    ----------
    x : ndarray
        (N, V) z-scored responses.
    y : ndarray
        (N, D) target vector of each trial.
    group : ndarray
        (N,) what is left out together: all trials of a stimulus belong to one group.
    alphas : sequence of float
        (A,) positive penalties.
    device : str or torch.device
        As `resolve_device` takes it.
    decomposed : int
        Trials or voxels, whichever are fewer, up to which one decomposition serves all penalties.

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, all targets are the same, so are all
        trials, there are fewer than two groups, a penalty is not positive, or all are too small
        for the precision.

    References
    ----------
    Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, 7.10 (leaving out
    by the hat matrix).
    """
    x = check_responses("x", x)
    check_targets("training", np.arange(len(y)), len(x), y)
    check_varies("x", x)
    groups = np.unique(group)
    if np.shape(group) != (len(x),) or len(groups) < 2:
        raise ValueError(f"cross-fitting needs a group for each of {len(x)} trials, and two groups")
    if len(alphas) == 0 or not all(0 < alpha < np.inf for alpha in alphas):
        raise ValueError(f"penalties must be positive and finite, not {list(alphas)}")
    if (y == y[0]).all():
        raise ValueError(f"all {len(y)} training trials have one target: nothing to regress on")
    solver, mean_y = _solver(x, y, device, decomposed)
    rows = _rows_of(group, solver.targets.device)
    pool, own = np.unique(y, axis=0, return_inverse=True)

    top1, cosine = np.full(len(alphas), np.nan), np.full(len(alphas), np.nan)
    best: tuple[int, NDArray[np.float32]] | None = None
    worse = 0
    for index in sorted(range(len(alphas)), key=lambda index: -alphas[index]):
        told = _left_out(solver, alphas[index] * x.shape[1] / 1000, rows)
        if told is None:
            break
        predicted = (told + mean_y).float().cpu().numpy()
        length = np.linalg.norm(predicted, axis=1) * np.linalg.norm(y, axis=1)
        inner = (predicted * y).sum(axis=1)
        cosine[index] = np.mean(inner / np.maximum(length, np.finfo(float).tiny))
        top1[index] = top_k(predicted, pool, own.ravel(), ks=(1,))[1]
        if best is None or cosine[index] > cosine[best[0]]:
            best, worse = (index, predicted), 0
        else:
            worse += 1
            if worse == WORSE_IN_A_ROW:
                break
    if best is None:
        raise ValueError(f"penalties {list(alphas)} are too small for this many trials and voxels")
    chosen, predicted = best
    penalty = alphas[chosen] * x.shape[1] / 1000
    weight = solver.weight(penalty)

    def decoder(weight: torch.Tensor, centre: torch.Tensor) -> Decoder:
        bias = mean_y - centre @ weight.double()
        tensors = {"weight": weight.T.float().contiguous(), "bias": bias.float()}
        return Decoder("linear", {name: each.cpu().numpy() for name, each in tensors.items()})

    middle = solver.mean.double()
    return CrossFit(
        decoder(weight, middle),
        [
            decoder(
                weight - _correction(solver, penalty, part),
                middle + _mean_of_others(solver.rows(part).double(), len(x)),
            )
            for part in rows
        ],
        np.asarray(groups, dtype=np.int64),
        predicted,
        float(alphas[chosen]),
        tuple(float(alpha) for alpha in alphas),
        tuple(top1.tolist()),
        tuple(cosine.tolist()),
    )


def left_out_predictions(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    group: NDArray[np.integer],
    alpha: float,
    *,
    device: str | torch.device = "cpu",
) -> NDArray[np.float64]:
    """What `cross_fit_ridge` makes of each trial without its group, at a penalty that is known.

    Parameters
    ----------
    x, y, group
        As `cross_fit_ridge` takes them.
    alpha : float
    device : str or torch.device

    Returns
    -------
    ndarray
        (N, D), not normalised.

    Raises
    ------
    ValueError
        The penalty is too small for the precision.
    """
    solver, mean_y = _solver(x, y, device, DECOMPOSED)
    told = _left_out(solver, alpha * x.shape[1] / 1000, _rows_of(group, solver.targets.device))
    if told is None:
        raise ValueError(f"the penalty {alpha:g} is too small for this many trials and voxels")
    return np.asarray((told + mean_y).cpu().numpy(), dtype=np.float64)


def _solver(
    x: NDArray[np.floating], y: NDArray[np.floating], device: str | torch.device, decomposed: int
) -> tuple[GroupSolver, torch.Tensor]:
    """What solves for any penalty, and the targets' mean (D,)."""
    place = resolve_device(device)
    vectors = on_device(np.asarray(y), place).double()
    mean = vectors.mean(0)
    kind = Decomposed if min(x.shape) <= decomposed else Factorised
    return kind(on_device(x, place), vectors - mean), mean


def _rows_of(group: NDArray[np.integer], place: torch.device) -> list[torch.Tensor]:
    """Rows of each group, in the order of their numbers."""
    return [on_device(np.flatnonzero(group == one), place) for one in np.unique(group)]


def _left_out(
    solver: GroupSolver, penalty: float, rows: Sequence[torch.Tensor]
) -> torch.Tensor | None:
    """(N, D) predictions of each trial without its group, less the targets' mean, if solvable."""
    if not solver.prepare(penalty):
        return None
    told = torch.empty_like(solver.targets)
    for part in rows:
        own = solver.targets[part]
        exact = own - _residual(solver, penalty, part)
        told[part] = exact - _mean_of_others(own, len(told))
    return told


def _mean_of_others(own: torch.Tensor, count: int) -> torch.Tensor:
    """Mean of all but some rows, of `count` rows whose mean is 0."""
    return -own.sum(0) / (count - len(own))


def _residual(solver: GroupSolver, penalty: float, rows: torch.Tensor) -> torch.Tensor:
    """A group's residual (n, D) of the fit without it."""
    maker, remainder = solver.remainder(penalty, rows)
    # Less what the intercept takes.
    residual: torch.Tensor = torch.linalg.solve(maker - 1 / len(solver.targets), remainder)
    return residual.to(solver.targets.dtype)


def _correction(solver: GroupSolver, penalty: float, rows: torch.Tensor) -> torch.Tensor:
    """What leaving a group out takes off the weights (V, D)."""
    influence = solver.influence(penalty, rows)
    return influence @ _residual(solver, penalty, rows).to(influence.dtype)

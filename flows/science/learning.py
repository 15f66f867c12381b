"""What more trials would bring: ridge decoders on shares of the trials, by pairwise accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import check_responses, check_targets, on_device
from flows.science.device import resolve_device
from flows.science.stats.intervals import share_interval

SHARES = (0.25, 0.5, 1.0)
# Queries whose similarities with the whole pool are held at once.
_QUERY_BLOCK = 1024
# Rows of inner products that are made at once.
_ROWS = 256
# Equal vectors need not get bit-equal products from a blocked matrix product.
_TIE = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LearningPoint:
    """How a decoder does that has seen a share of the trials.

    Attributes
    ----------
    share : float
        Of the stimuli, and about that of their trials.
    trials, stimuli : int
    accuracy, low, high : float or None
        Pairwise accuracy (`pairwise_hits`) of trials whose stimulus was left out, 0.5 by chance,
        with its 95 % interval over stimuli; None where there is a reason.
    reason : str or None
        Why nothing was measured.
    """

    share: float
    trials: int
    stimuli: int
    accuracy: float | None
    low: float | None
    high: float | None
    reason: str | None


def pairwise_hits(
    predicted: NDArray[np.floating], pool: NDArray[np.floating], target: NDArray[np.integer]
) -> Floats:
    """Share of the pool's other vectors that each prediction is less near to than to its own.

    Nearness is the cosine; a tie counts one half. The mean is 0.5 by chance whatever the size of
    the pool, unlike top-k, so that designs of few and of many stimuli can be compared; with two
    vectors it is the share of hits.

    Parameters
    ----------
    predicted : ndarray
        (N, D); a zero or not finite row says nothing, and ties with all.
    pool : ndarray
        (M, D) distinct vectors, non-zero, M at least 2.
    target : ndarray
        (N,) row of the pool of each prediction.

    Returns
    -------
    ndarray
        (N,) in [0, 1].

    Raises
    ------
    ValueError
        The pool has fewer than two vectors, or shapes do not match.

    References
    ----------
    Mitchell et al. 2008, Science 320, 1191 (two against two, of which this is the mean over pairs
    for one prediction).
    """
    if len(pool) < 2:
        raise ValueError(f"a pool of {len(pool)} has nothing to tell apart: 2 are needed")
    if np.shape(target) != (len(predicted),) or np.shape(predicted)[1:] != np.shape(pool)[1:]:
        raise ValueError(
            f"predictions {np.shape(predicted)}, a pool {np.shape(pool)} and targets "
            f"{np.shape(target)} do not match"
        )
    candidates = _unit(pool)
    hits = np.empty(len(predicted))
    for start in range(0, len(predicted), _QUERY_BLOCK):
        block = slice(start, start + _QUERY_BLOCK)
        similarity = _unit(predicted[block]) @ candidates.T
        own = similarity[np.arange(len(similarity)), target[block], None]
        less = (similarity < own - _TIE).sum(axis=1)
        more = (similarity > own + _TIE).sum(axis=1)
        ties = len(pool) - 1 - less - more
        hits[block] = (less + ties / 2) / (len(pool) - 1)
    return hits


def draw_share(
    image: NDArray[np.integer], group: NDArray[np.integer], share: float, *, seed: int
) -> NDArray[np.bool_]:
    """Trials of a share of the stimuli, of every group alike; smaller shares lie within larger.

    Parameters
    ----------
    image, group : ndarray
        (N,) what each trial showed, and the group that it is left out with.
    share : float
        In (0, 1]; each group keeps at least one stimulus.

    Returns
    -------
    ndarray
        (N,) bool.
    """
    order = np.random.default_rng(seed).permutation(int(image.max()) + 1)
    kept: list[NDArray[np.integer]] = []
    for one in np.unique(group):
        own = np.unique(image[group == one])
        own = own[np.argsort(order[own], kind="stable")]
        kept.append(own[: max(1, round(share * len(own)))])
    return np.isin(image, np.concatenate(kept))


def learning_curve(
    x: NDArray[np.floating],
    targets: NDArray[np.floating],
    row_of: NDArray[np.integer],
    image: NDArray[np.integer],
    group: NDArray[np.integer],
    alpha: float,
    shares: Sequence[float] = SHARES,
    *,
    seed: int,
    device: str | torch.device = "cpu",
) -> list[LearningPoint]:
    """Pairwise accuracy of ridge decoders that are fitted on shares of the trials.

    Each share is a data set of its own: its trials are told by a decoder of the others' groups
    among them (`left_out_predictions`), at the penalty that was chosen on all trials. As the
    precision of a Gaussian prior over that of the noise a penalty does not depend on how many
    trials there are. What is told is compared with the distinct vectors of the share's own stimuli:
    each is then asked for as often as it is offered, and one answer to everything is at chance.

    Parameters
    ----------
    x : ndarray
        (N, V) z-scored responses.
    targets : ndarray
        (M, D) distinct vectors.
    row_of : ndarray
        (N,) row of `targets` of each trial.
    image, group : ndarray
        (N,) what each trial showed, and the group that it is left out with.
    alpha : float
        Ridge's penalty, as of `flows.science.cross_fitting.cross_fit_ridge`.
    shares : sequence of float
    seed : int
        Of the draws of stimuli.
    device : str or torch.device

    Returns
    -------
    list of LearningPoint
        One for each share, in their order.

    Raises
    ------
    ValueError
        Shapes do not match, values are not finite, the penalty is not positive, or a share lies
        outside (0, 1].
    """
    x = check_responses("x", x)
    check_targets("development", row_of, len(x), targets)
    if np.shape(group) != (len(x),) or np.shape(image) != (len(x),):
        raise ValueError(f"each of {len(x)} trials needs an image and a group")
    if not 0 < alpha < np.inf or not all(0 < share <= 1 for share in shares):
        raise ValueError(
            f"the penalty {alpha:g} must be positive and shares {list(shares)} in (0, 1]"
        )
    products = None
    if x.shape[0] <= x.shape[1]:
        # Those of a share are among those of all.
        products = _products(on_device(x, resolve_device(device)))
    points = []
    for share in shares:
        used = draw_share(image, group, share, seed=seed)
        size = (share, int(used.sum()), len(np.unique(image[used])))
        if reason := _too_few(row_of[used], group[used]):
            points.append(LearningPoint(*size, None, None, None, reason))
            continue
        shown, own = np.unique(row_of[used], return_inverse=True)
        pool, own = targets[shown], own.ravel()
        rows = np.flatnonzero(used)
        told = left_out_predictions(
            x[rows],
            pool[own],
            group[rows],
            alpha,
            products=None if products is None else products[rows][:, rows],
            device=device,
        )
        hits = pairwise_hits(told, pool, own)
        low, high = share_interval(hits, image[used], seed=seed)
        points.append(LearningPoint(*size, float(hits.mean()), low, high, None))
    return points


def left_out_predictions(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    group: NDArray[np.integer],
    alpha: float,
    *,
    products: torch.Tensor | None = None,
    device: str | torch.device = "cpu",
) -> Floats:
    """Ridge predictions of each trial by all trials but those of its group.

    Each fit is centred by the means of its own trials: by those of all, what a fit is centred by
    would tell of what it left out, and on few trials noise would pass for more than chance. To what
    it tells then the targets' mean over all trials is added, the same for all groups: the mean of
    the others lies opposite to what was left out, and noise would pass for less than chance. No
    fit is made again, though: with the residual maker R of the fit of all trials, its intercept
    included, the residual of a group without it is ``R_gg^-1 (R Y)_g``. R is made in the space of
    trials or of voxels, whichever are fewer.

    Parameters
    ----------
    x, y : ndarray
        (N, V) and (N, D).
    group : ndarray
        (N,) at least two groups.
    alpha : float
        Of the penalty ``alpha * V / 1000``.
    products : torch.Tensor, optional
        (N, N) inner products of the trials, where there are no more trials than voxels.

    Returns
    -------
    ndarray
        (N, D).

    References
    ----------
    Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, 7.10.
    """
    place = resolve_device(device)
    vectors = on_device(np.asarray(y), place).double()
    centred = vectors - vectors.mean(0)
    penalty = alpha * x.shape[1] / 1000
    parts = [on_device(np.flatnonzero(group == one), place) for one in np.unique(group)]
    residual = torch.empty_like(centred)
    if x.shape[0] <= x.shape[1]:
        if products is None:
            products = _products(on_device(np.asarray(x), place))
        square = products.double()
        square = square - square.mean(0) - square.mean(0)[:, None] + square.mean()
        root = _inverse_root(square, penalty)
        whole = penalty * (root.T @ (root @ centred))
        for part in parts:
            of_part = root[:, part]
            own = penalty * (of_part.T @ of_part) - 1 / len(centred)
            residual[part] = torch.linalg.solve(own, whole[part])
    else:
        spread = on_device(np.asarray(x), place).double()
        spread = spread - spread.mean(0)
        scaled = _inverse_root(spread.T @ spread, penalty) @ spread.T
        whole = centred - scaled.T @ (scaled @ centred)
        for part in parts:
            of_part = scaled[:, part]
            eye = torch.eye(len(part), dtype=scaled.dtype, device=scaled.device)
            own = eye - of_part.T @ of_part - 1 / len(centred)
            residual[part] = torch.linalg.solve(own, whole[part])
    told = centred - residual
    for part in parts:
        # The mean of what was fitted, which is farther from what was left out than chance has it.
        told[part] += centred[part].sum(0) / (len(centred) - len(part))
    found: Floats = (told + vectors.mean(0)).cpu().numpy()
    return found


def _products(responses: torch.Tensor) -> torch.Tensor:
    """(N, N) inner products of the rows, half of which are those of the other half."""
    count = len(responses)
    square = responses.new_empty(count, count)
    for start in range(0, count, _ROWS):
        block = slice(start, start + _ROWS)
        own = responses[block] @ responses[start:].T
        square[block, start:] = own
        square[start:, block] = own.T
    return square


def _inverse_root(square: torch.Tensor, penalty: float) -> torch.Tensor:
    """R with ``R^T R = (square + penalty I)^-1``; the square takes the penalty.

    No block of the inverse takes more than R's columns, and the inverse itself takes much longer.
    """
    square.diagonal().add_(penalty)
    eye = torch.eye(len(square), dtype=square.dtype, device=square.device)
    root: torch.Tensor = torch.linalg.solve_triangular(
        torch.linalg.cholesky(square), eye, upper=False
    )
    return root


def _too_few(row: NDArray[np.integer], group: NDArray[np.integer]) -> str | None:
    """Why nothing can be measured of such trials."""
    if len(np.unique(row)) < 2:
        return "its stimuli have one and the same vector"
    if len(np.unique(group)) < 2:
        return "one group of stimuli alone: none can be left out"
    return None


def _unit(rows: NDArray[np.floating]) -> Floats:
    """Rows at length 1; a row that has no direction becomes zero."""
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 0)
    return np.where(usable, rows / np.where(usable, length, 1), 0)

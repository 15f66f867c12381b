"""What more trials would bring: ridge decoders on shares of the trials, by pairwise accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import check_responses, check_targets
from flows.science.cross_fitting import left_out_predictions
from flows.science.stats.intervals import share_interval

SHARES = (0.25, 0.5, 1.0)
# Queries whose similarities with the whole pool are held at once.
_QUERY_BLOCK = 1024
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
    among them (`flows.science.cross_fitting.left_out_predictions`), at the penalty that was chosen
    on all trials. As the precision of a Gaussian prior over that of the noise a penalty does not
    depend on how many trials there are. What is told is compared with the distinct vectors of the
    share's own stimuli: each is then asked for as often as it is offered, and one answer to
    everything is at chance.

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
        told = left_out_predictions(x[rows], pool[own], group[rows], alpha, device=device)
        hits = pairwise_hits(told, pool, own)
        low, high = share_interval(hits, image[used], seed=seed)
        points.append(LearningPoint(*size, float(hits.mean()), low, high, None))
    return points


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

"""Scores of decoders and of voxel maps."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Bounds the (queries, pool) similarities held at once: 1,024 queries against 1,000 images
# are 4 MB.
_QUERY_BLOCK = 1024

# Equal vectors need not get bit-equal products from a blocked matrix product.
_TIE = 1e-12


def top_k(
    predicted: NDArray[np.floating],
    pool: NDArray[np.floating],
    target: NDArray[np.integer],
    ks: Iterable[int] = (1, 5, 10, 50),
) -> dict[int, float]:
    """Share of queries whose own image is among the k nearest of the pool by cosine.

    Ties count as the expectation over random orders: a query whose image ties with t others
    behind b better ones hits with probability ``clip((k - b) / (t + 1), 0, 1)``. A constant
    prediction against a pool of equal vectors is therefore at chance, k / M, and a NaN or
    zero prediction, which says nothing, counts as tied with the whole pool.

    Parameters
    ----------
    predicted : ndarray
        (N, D), one query per row.
    pool : ndarray
        (M, D), the distinct images' vectors, non-zero.
    target : ndarray
        (N,) row of the pool that each query should find.
    ks : iterable of int
        Depths; a depth of M or more gives 1.

    Returns
    -------
    dict
        k -> share in [0, 1]; chance is k / M.

    Raises
    ------
    ValueError
        Where there is no query, a target lies outside the pool, a k is below 1, or shapes
        do not match.

    References
    ----------
    METHOD.md a.
    """
    depths = list(ks)
    predicted, pool = np.asarray(predicted), np.asarray(pool)
    target = np.asarray(target)
    if predicted.ndim != 2 or pool.ndim != 2 or predicted.shape[1] != pool.shape[1]:
        raise ValueError(
            f"predictions of shape {predicted.shape} and a pool of shape {pool.shape} "
            "do not share their dimension"
        )
    if len(predicted) == 0 or len(target) != len(predicted):
        raise ValueError(f"{len(predicted)} predictions for {len(target)} targets")
    if target.min() < 0 or target.max() >= len(pool):
        raise ValueError(f"targets reach outside the pool of {len(pool)} images")
    if min(depths, default=0) < 1:
        raise ValueError(f"k must be at least 1, not {depths}")
    candidates = _unit(pool)
    hits = dict.fromkeys(depths, 0.0)
    for start in range(0, len(predicted), _QUERY_BLOCK):
        block = slice(start, start + _QUERY_BLOCK)
        similarity = _unit(predicted[block]) @ candidates.T
        own = similarity[np.arange(len(similarity)), target[block], None]
        better = (similarity > own + _TIE).sum(axis=1)
        tied = len(pool) - better - (similarity < own - _TIE).sum(axis=1)
        for k in depths:
            hits[k] += float(np.clip((k - better) / tied, 0, 1).sum())
    return {k: total / len(predicted) for k, total in hits.items()}


def pearson(a: ArrayLike, b: ArrayLike, axis: int = 0) -> NDArray[np.floating]:
    """Pearson correlation along an axis, the other axes broadcast.

    Returns
    -------
    ndarray
        In [-1, 1]; NaN where either side is constant or holds NaN: no correlation is
        defined there, and 0 would pass for a measured one.
    """
    left, right = _centred(a, axis), _centred(b, axis)
    product = (left * right).sum(axis=axis)
    scale = np.sqrt((left**2).sum(axis=axis)) * np.sqrt((right**2).sum(axis=axis))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip(product / scale, -1, 1))


def auc(scores: NDArray[np.floating], member: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Area under the ROC curve of each score column against one set of members.

    The probability that a random member outscores a random other, ties counting one half,
    by the Mann-Whitney statistic on average ranks.

    Parameters
    ----------
    scores : ndarray
        (V, K), larger means more likely a member.
    member : ndarray
        (V,) bool.

    Returns
    -------
    ndarray
        (K,) in [0, 1]; NaN where all or none are members, or a column holds NaN.
    """
    scores = np.asarray(scores)
    member = np.asarray(member, dtype=bool)
    if scores.ndim != 2 or member.shape != scores.shape[:1]:
        raise ValueError(f"scores of shape {scores.shape} do not match members {member.shape}")
    inside = int(member.sum())
    outside = len(member) - inside
    if inside == 0 or outside == 0:
        return np.full(scores.shape[1], np.nan)
    total = member.astype(np.float64) @ average_ranks(scores)
    area = (total - inside * (inside + 1) / 2) / (inside * outside)
    return np.where(np.isnan(scores).any(axis=0), np.nan, area)


def average_ranks(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rank of each entry within its column, from 1, ties sharing the mean of their ranks.

    Parameters
    ----------
    scores : ndarray
        (V, K) without NaN.

    Returns
    -------
    ndarray
        (V, K). Ranks do not depend on the members, so the AUC of many regions costs one
        ranking and one matrix product.
    """
    order = np.argsort(scores, axis=0, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=0)
    position = np.arange(len(scores))[:, None]
    starts = np.ones(scores.shape, dtype=bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    ends = np.ones(scores.shape, dtype=bool)
    ends[:-1] = starts[1:]
    first = np.maximum.accumulate(np.where(starts, position, 0), axis=0)
    last = np.where(ends, position, len(scores))[::-1]
    last = np.minimum.accumulate(last, axis=0)[::-1]
    ranks = np.empty(scores.shape, dtype=np.float64)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=0)
    return ranks


def dice(a: ArrayLike, b: ArrayLike) -> float:
    """Dice coefficient of two sets given as bool arrays of one shape.

    Returns
    -------
    float
        2 |a and b| / (|a| + |b|); NaN where both are empty.
    """
    left, right = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if left.shape != right.shape:
        raise ValueError(f"sets of shapes {left.shape} and {right.shape} do not compare")
    size = int(left.sum()) + int(right.sum())
    return 2 * int((left & right).sum()) / size if size else float("nan")


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows at length 1; a row that has no direction (NaN, zero) becomes zero."""
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 0)
    return np.where(usable, rows / np.where(usable, length, 1), 0)


def _centred(values: ArrayLike, axis: int) -> NDArray[np.floating]:
    """Values minus their mean, exactly zero where constant, whatever the mean's rounding."""
    array = np.asarray(values, dtype=np.float64)
    constant = np.ptp(array, axis=axis, keepdims=True) == 0
    return np.where(constant, 0, array - array.mean(axis=axis, keepdims=True))

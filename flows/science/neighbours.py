"""Exact neighbour search among unit vectors, in pieces: no table of all pairs is ever held.

Coordinates are rounded to multiples of 2**-26, which moves a cosine of 512-dimensional vectors by
about 1e-8 and by no more than 4e-7. Products of two such coordinates, and all their partial sums,
are whole multiples of 2**-52 below 2, which float64 holds exactly. A cosine is then the same in
whatever order a matrix product adds: which vectors lie within a distance, and which of them is
nearest, depends on neither pieces, threads nor device, and equal vectors tie.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

# Label of what belongs nowhere.
NONE = -1

_GRID = 2.0**26
_BEYOND = int(np.iinfo(np.int64).max)


def unit_rows(name: str, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows at length 1, rounded so that their products are exact.

    Parameters
    ----------
    name : str
        What to call the rows in an error.
    vectors : ndarray
        (M, D), of any length but zero.

    Returns
    -------
    ndarray
        (M, D) float64 multiples of 2**-26.

    Raises
    ------
    ValueError
        Where there is no row, or a row has no direction (zero length or not finite); the
        message starts with `name`.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(f"{name} must be an (M, D) array of M, D >= 1, not {vectors.shape}")
    # One copy, changed in place: the vectors of a cohort are hundreds of megabytes.
    rows = vectors.astype(np.float64)
    length = np.sqrt(np.einsum("md,md->m", rows, rows))
    bad = int((~np.isfinite(length) | (length == 0)).sum())
    if bad:
        raise ValueError(f"{name} hold {bad} of {len(rows)} rows that are zero or not finite")
    rows *= (_GRID / length)[:, None]
    np.rint(rows, out=rows)
    rows /= _GRID
    return rows


def pieces(
    left: torch.Tensor, right: torch.Tensor, block: int
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Cosines of all pairs, a piece of at most block x block at a time.

    Parameters
    ----------
    left, right : torch.Tensor
        (L, D) and (R, D), as `unit_rows` gives them.
    block : int
        Rows of `left` in a piece; where there are fewer, a piece takes more of `right`, since
        narrow products are slow.

    Yields
    ------
    rows, columns : slice
        Of `left` and of `right`.
    cosine : torch.Tensor
        Their cosines.
    """
    for start in range(0, len(left), block):
        some = left[start : start + block]
        width = block * block // len(some)
        for first in range(0, len(right), width):
            others = right[first : first + width]
            rows, columns = slice(start, start + len(some)), slice(first, first + len(others))
            yield rows, columns, some @ others.T


def within(
    left: torch.Tensor, right: torch.Tensor, threshold: float, block: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points have one of the other side near them.

    Parameters
    ----------
    left, right : torch.Tensor
        (L, D) and (R, D), as `unit_rows` gives them.
    threshold : float
        Cosine from which two points are near.
    block : int
        As `pieces` takes it.

    Returns
    -------
    tuple of ndarray
        (L,) whether any of `right` is near, (R,) whether any of `left` is.
    """
    near_left = torch.zeros(len(left), dtype=torch.bool, device=left.device)
    near_right = torch.zeros(len(right), dtype=torch.bool, device=right.device)
    for rows, columns, cosine in pieces(left, right, block):
        near_left[rows] |= cosine.amax(dim=1) >= threshold
        near_right[columns] |= cosine.amax(dim=0) >= threshold
    return near_left.cpu().numpy(), near_right.cpu().numpy()


def nearest(
    left: torch.Tensor, right: torch.Tensor, block: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine of each point with the nearest of the other side: one search for every threshold.

    Parameters
    ----------
    left, right : torch.Tensor
        (L, D) and (R, D), as `unit_rows` gives them.
    block : int
        As `pieces` takes it.

    Returns
    -------
    tuple of ndarray
        (L,) and (R,); -inf where the other side has no point.
    """
    best_left, best_right = (
        torch.full((len(side),), -torch.inf, dtype=left.dtype, device=left.device)
        for side in (left, right)
    )
    for rows, columns, cosine in pieces(left, right, block):
        best_left[rows] = torch.maximum(best_left[rows], cosine.amax(dim=1))
        best_right[columns] = torch.maximum(best_right[columns], cosine.amax(dim=0))
    return best_left.cpu().numpy(), best_right.cpu().numpy()


def labels_within(
    points: torch.Tensor,
    members: torch.Tensor,
    label: NDArray[np.int64],
    threshold: float,
    block: int,
    count: int,
) -> NDArray[np.bool_]:
    """All labels that points have a member of near them.

    Parameters
    ----------
    points, members : torch.Tensor
        (P, D) and (M, D), as `unit_rows` gives them.
    label : ndarray
        (M,) labels of the members, from 0 below `count`.
    threshold : float
        Cosine from which two points are near.
    block : int
        As `pieces` takes it.
    count : int
        Number of labels.

    Returns
    -------
    ndarray
        (count, P).
    """
    found = torch.zeros(count, len(points), dtype=torch.bool, device=points.device)
    # Sorted, a piece holds few labels, and each of them as one run of columns.
    order = np.argsort(label, kind="stable")
    label = label[order]
    members = members[torch.from_numpy(order).to(members.device)]
    for rows, columns, cosine in pieces(points, members, block):
        near = cosine >= threshold
        first = int(label[columns][0])
        starts = np.searchsorted(label[columns], np.arange(first, int(label[columns][-1]) + 2))
        for number, (start, stop) in enumerate(pairwise(starts.tolist()), first):
            if stop > start:
                found[number, rows] |= near[:, start:stop].any(dim=1)
    return np.asarray(found.cpu().numpy())


def label_within(
    points: torch.Tensor,
    members: torch.Tensor,
    label: torch.Tensor,
    threshold: float,
    block: int,
    *,
    nearest: bool,
) -> NDArray[np.int64]:
    """Label that points take from labelled ones near them.

    Parameters
    ----------
    points, members : torch.Tensor
        (P, D) and (M, D), as `unit_rows` gives them.
    label : torch.Tensor
        (M,) int64 labels >= 0 of the members.
    threshold : float
        Cosine from which two points are near.
    block : int
        As `pieces` takes it.
    nearest : bool
        Whether the nearest member tells, equally near ones by the lowest label; else the lowest
        label of all that are near.

    Returns
    -------
    ndarray
        (P,) labels, `NONE` where no member is near.
    """
    found = torch.full((len(points),), _BEYOND, device=points.device)
    best = torch.full((len(points),), threshold, dtype=points.dtype, device=points.device)
    for rows, columns, cosine in pieces(points, members, block):
        top = cosine.amax(dim=1)
        near = torch.nonzero(top >= best[rows]).squeeze(1)
        top, row = top[near], near + rows.start
        limit = top if nearest else best[row]
        lowest = torch.where(cosine[near] >= limit[:, None], label[columns], _BEYOND).amin(dim=1)
        if nearest:
            # What was found farther away no longer counts; a tie is settled by the label.
            found[row] = torch.where(top > best[row], _BEYOND, found[row])
            best[row] = top
        found[row] = torch.minimum(found[row], lowest)
    return np.asarray(torch.where(found == _BEYOND, NONE, found).cpu().numpy())

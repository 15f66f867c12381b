"""How clusters of voxels grow from core points, and are expanded in each participant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import on_device
from flows.science.neighbours import NONE, label_within, labels_within, nearest, within


class Role(IntEnum):
    """How a voxel came to its first cluster."""

    OUTLIER = 0
    CORE = 1
    BORDER = 2
    EXPANDED = 3


@dataclass(frozen=True, eq=False)
class Grown:
    """Clusters before their expansion.

    Attributes
    ----------
    label : ndarray
        (P,) int64 cluster of each point, `NONE` where it is in none.
    role : ndarray
        (P,) int8 `Role`.
    """

    label: NDArray[np.int64]
    role: NDArray[np.int8]

    @property
    def size(self) -> NDArray[np.int64]:
        """(K,) points of each cluster."""
        return np.bincount(self.label[self.label != NONE])


def nothing_grown(points: int) -> Grown:
    """All points outliers."""
    return Grown(np.full(points, NONE), np.full(points, Role.OUTLIER, dtype=np.int8))


def core_strength(
    points: torch.Tensor,
    parts: Sequence[slice],
    min_neighbours: int,
    block: int,
    step: Callable[[], None],
) -> NDArray[np.float64]:
    """Cosine down to which each point is a core point, so that one search serves every radius.

    Parameters
    ----------
    points : torch.Tensor
        (P, D), as `unit_rows` gives them.
    parts : sequence of slice
        Rows of each participant.
    min_neighbours : int
        Other participants of whom a core point has a neighbour.
    block : int
        As `pieces` takes it.
    step : callable
        Called after each pair of participants.

    Returns
    -------
    ndarray
        (P,) the `min_neighbours`-th largest of the cosines with the nearest point of each other
        participant.
    """
    reached = np.full((len(points), len(parts)), -np.inf)
    for a, b in combinations(range(len(parts)), 2):
        reached[parts[a], b], reached[parts[b], a] = nearest(
            points[parts[a]], points[parts[b]], block
        )
        step()
    return np.asarray(np.sort(reached, axis=1)[:, -min_neighbours])


def grow_clusters(
    points: torch.Tensor, strength: NDArray[np.float64], eps: float, block: int
) -> Grown:
    """Connected groups of core points, and the border of each.

    Parameters
    ----------
    points : torch.Tensor
        (P, D), as `unit_rows` gives them.
    strength : ndarray
        (P,) of `core_strength`.
    eps : float
        Distance, 1 - cosine, within which points are neighbours.
    block : int
        As `pieces` takes it.

    Returns
    -------
    Grown
        Clusters numbered by their first core point.
    """
    threshold = 1 - eps
    grown = nothing_grown(len(points))
    label, role = grown.label, grown.role
    core = np.flatnonzero(strength >= threshold)
    cores = points[on_device(core, points.device)]
    label[core], role[core] = _connect(cores, threshold, block), Role.CORE
    left = np.flatnonzero(label == NONE)
    label[left] = label_within(
        points[on_device(left, points.device)],
        cores,
        on_device(label[core], points.device),
        threshold,
        block,
        nearest=True,
    )
    role[left[label[left] != NONE]] = Role.BORDER
    return grown


def expand_labels(
    points: torch.Tensor, label: NDArray[np.int64], reach: float, block: int
) -> NDArray[np.int64]:
    """Expansion in one participant, a cluster a voxel: what is in none joins the nearest's.

    Parameters
    ----------
    points : torch.Tensor
        (V, D) of the participant.
    label : ndarray
        (V,) clusters that they grew to, `NONE` where it is none.
    reach : float
        Distance, 1 - cosine, within which a voxel joins.
    block : int
        As `pieces` takes it.

    Returns
    -------
    ndarray
        (V,) clusters; of equally near ones that of the lowest number.
    """
    inside, left = np.flatnonzero(label != NONE), np.flatnonzero(label == NONE)
    joined = label.copy()
    joined[left] = label_within(
        points[on_device(left, points.device)],
        points[on_device(inside, points.device)],
        on_device(label[inside], points.device),
        1 - reach,
        block,
        nearest=True,
    )
    return joined


def expand_members(
    points: torch.Tensor, label: NDArray[np.int64], reach: float, clusters: int, block: int
) -> NDArray[np.bool_]:
    """Expansion in one participant: each cluster takes all within reach, of other clusters too.

    Parameters
    ----------
    points, label, reach, block
        As `expand_labels` takes them.
    clusters : int
        K.

    Returns
    -------
    ndarray
        (K, V) bool.
    """
    inside = np.flatnonzero(label != NONE)
    grown = points[on_device(inside, points.device)]
    near = labels_within(points, grown, label[inside], 1 - reach, block, clusters)
    return np.asarray(near | (label == np.arange(clusters)[:, None]))


def _connect(cores: torch.Tensor, threshold: float, block: int) -> NDArray[np.int64]:
    """Connected groups of core points (C, D): (C,) labels from 0 by first member.

    Breadth first: each point is compared once with those that no group has yet.
    """
    label = np.full(len(cores), NONE)
    waiting, candidates, without = np.arange(len(cores)), cores, len(cores)
    count = 0
    for seed in range(len(cores)):
        if label[seed] != NONE:
            continue
        frontier = np.array([seed])
        label[seed] = count
        without -= 1
        while len(frontier) and without:
            some, frontier = frontier[:block], frontier[block:]
            _, near = within(cores[on_device(some, cores.device)], candidates, threshold, block)
            joined = waiting[near & (label[waiting] == NONE)]
            label[joined] = count
            frontier = np.concatenate([frontier, joined])
            without -= len(joined)
            # Copying what is left costs about as much as searching it once.
            if 2 * without < len(waiting):
                waiting = waiting[label[waiting] == NONE]
                candidates = cores[on_device(waiting, cores.device)]
        count += 1
    return label

"""Voxels that decode alike in several participants, clustered: the 2025 way to concepts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import on_device
from flows.science.clustering import leaf_order
from flows.science.decoder import Progress
from flows.science.device import resolve_device
from flows.science.neighbours import NONE, label_within, unit_rows, within
from flows.science.participants import participant_names

# Length of a mean of unit vectors below which it points nowhere.
_DIRECTIONLESS = 1e-6


class Role(IntEnum):
    """How a voxel came to its cluster."""

    OUTLIER = 0
    CORE = 1
    BORDER = 2
    EXPANDED = 3


@dataclass(frozen=True)
class ClusterConfig:
    """Settings of the clustering; the defaults are the published ones.

    Attributes
    ----------
    eps : float
        Distance, 1 - cosine, within which voxels are neighbours; the paper tried 0.45 to 0.7.
    min_neighbours : int
        Other participants of whom a core point has a neighbour.
    expansion, expansion_limit : float
        Voxels of a member's own participant join within ``min(eps + expansion,
        expansion_limit)``.
    """

    eps: float = 0.6
    min_neighbours: int = 3
    expansion: float = 0.05
    expansion_limit: float = 0.65

    def __post_init__(self) -> None:
        # At distance 1 vectors have nothing in common, and random ones would be neighbours.
        if not (0 < self.eps < 1 and 0 < self.expansion_limit < 1):
            raise ValueError(f"eps and expansion_limit must lie in (0, 1), not {self}")
        if not self.expansion >= 0:
            raise ValueError(f"expansion must be at least 0, not {self}")
        if self.min_neighbours < 1:
            raise ValueError(f"min_neighbours must be at least 1, not {self}")

    @property
    def reach(self) -> float:
        """Distance within which the expansion takes voxels."""
        return min(self.eps + self.expansion, self.expansion_limit)


@dataclass(frozen=True, eq=False)
class VoxelClusters:
    """K clusters of the voxels of S participants.

    Attributes
    ----------
    label : list of ndarray
        S of (V_s,) int64: each voxel's cluster, similar clusters next to each other
        (`leaf_order` of the centroids); -1 where it belongs to none.
    role : list of ndarray
        S of (V_s,) int8: each voxel's `Role`.
    centroids : ndarray
        (K, D) float32 rows of length 1.
    """

    label: list[NDArray[np.int64]]
    role: list[NDArray[np.int8]]
    centroids: NDArray[np.float32]

    @property
    def size(self) -> NDArray[np.int64]:
        """(K, S) members of each cluster in each participant."""
        count = len(self.centroids)
        return np.stack([np.bincount(own[own >= 0], minlength=count) for own in self.label], axis=1)

    @property
    def participants(self) -> NDArray[np.int64]:
        """(K,) participants who have a member.

        It can be below ``min_neighbours + 1``: of a core point's neighbours those count too
        that an earlier cluster took as its border.
        """
        return np.asarray((self.size > 0).sum(axis=1))

    def members(self, participant: int) -> NDArray[np.bool_]:
        """(K, V_s) which of a participant's voxels belong to each cluster, as hard masks do."""
        return np.asarray(self.label[participant] == np.arange(len(self.centroids))[:, None])


def cluster_voxels(
    vectors: Sequence[NDArray[np.floating]],
    config: ClusterConfig,
    *,
    device: str | torch.device,
    block: int = 2048,
    on_progress: Progress | None = None,
    labels: Sequence[str] | None = None,
) -> VoxelClusters:
    """Find groups of voxels that decode alike in several participants.

    Density clustering of all participants' voxels, where density is counted in participants:
    a core point has neighbours, voxels within eps, in at least `min_neighbours` participants
    other than its own. Its own participant's voxels never count, however many they are, but
    clusters grow through them.

    Clusters grow breadth first from core points, in order of participants and voxels, so they
    are the connected groups of core points. Any other point with a core point within eps is
    the border of the first cluster that reaches it; it does not pass growth on, and it is no
    outlier even where it comes before the cluster's first core point. Then each cluster is
    expanded, once: a voxel left over joins the cluster of the nearest core or border voxel of
    its own participant, if that is within ``min(eps + expansion, expansion_limit)``; equally
    near ones tell by the cluster that grew first. A centroid is the mean of all members' unit
    vectors, at length 1.

    Time grows with the square of the number of voxels, memory with that number.

    Parameters
    ----------
    vectors : sequence of ndarray
        S of (V_s, D): what each voxel adds to the decoded vector, such as a linear decoder's
        weights (`Decoder.voxel_vectors`), of any length but zero.
    config : ClusterConfig
    device : str or torch.device
        As `resolve_device` takes it. The result is the same on any.
    block : int
        block x block distances are held at once; the result does not depend on it.
    on_progress : callable, optional
        Called with steps done and steps in all: pairs of participants searched, clusters
        grown, participants' borders and expansions.
    labels : sequence of str, optional
        Names of the participants, for errors.

    Returns
    -------
    VoxelClusters
        Of no cluster, where there is no core point.

    Raises
    ------
    ValueError
        Where there are too few participants for any core point, dimensions differ, vectors are
        zero or not finite, or a cluster's vectors cancel out.

    References
    ----------
    METHOD.md d; Efird et al. 2025 (arXiv 2405.17663), clustering of decoder weights; Ester et
    al. 1996 (KDD-96, 226), DBSCAN.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, not {block}")
    names = participant_names(labels, len(vectors))
    parts = _parts(vectors, config, names)
    place = resolve_device(device)
    points = on_device(_stacked(vectors, parts, names), place)
    pairs = len(parts) * (len(parts) - 1) // 2

    def told(done: int) -> None:
        if on_progress is not None:
            on_progress(done, pairs + 1 + len(parts), {})

    threshold = 1 - config.eps
    label = np.full(len(points), NONE)
    role = np.full(len(points), Role.OUTLIER, dtype=np.int8)

    reached = np.zeros((len(points), len(parts)), dtype=bool)
    for done, (a, b) in enumerate(combinations(range(len(parts)), 2)):
        reached[parts[a], b], reached[parts[b], a] = within(
            points[parts[a]], points[parts[b]], threshold, block
        )
        told(done + 1)
    core = np.flatnonzero(reached.sum(axis=1) >= config.min_neighbours)
    cores = points[on_device(core, place)]
    label[core], role[core] = _grow(cores, threshold, block), Role.CORE
    told(pairs + 1)

    core_label = on_device(label[core], place)
    for done, part in enumerate(parts):
        left = np.flatnonzero(label[part] == NONE) + part.start
        rows = points[on_device(left, place)]
        label[left] = label_within(rows, cores, core_label, threshold, block, nearest=False)
        role[left[label[left] != NONE]] = Role.BORDER

        inside = np.flatnonzero(label[part] != NONE) + part.start
        left = np.flatnonzero(label[part] == NONE) + part.start
        label[left] = label_within(
            points[on_device(left, place)],
            points[on_device(inside, place)],
            on_device(label[inside], place),
            1 - config.reach,
            block,
            nearest=True,
        )
        role[left[label[left] != NONE]] = Role.EXPANDED
        told(pairs + 2 + done)

    label, centroids = _ordered(label, _centroids(points, label, parts, config))
    return VoxelClusters(
        label=[label[part] for part in parts],
        role=[role[part] for part in parts],
        centroids=centroids.astype(np.float32),
    )


def _grow(cores: torch.Tensor, threshold: float, block: int) -> NDArray[np.int64]:
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


def _centroids(
    points: torch.Tensor, label: NDArray[np.int64], parts: Sequence[slice], config: ClusterConfig
) -> NDArray[np.float64]:
    """Mean directions (K, D) of the clusters."""
    count = int(label.max()) + 1
    total = torch.zeros(count, points.shape[1], dtype=points.dtype, device=points.device)
    for part in parts:
        inside = np.flatnonzero(label[part] != NONE) + part.start
        # Sums of rounded coordinates are exact, so no order of adding changes a centroid.
        total.index_add_(
            0, on_device(label[inside], points.device), points[on_device(inside, points.device)]
        )
    mean = total.cpu().numpy() / np.bincount(label[label != NONE], minlength=count)[:, None]
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    if (length < _DIRECTIONLESS).any():
        raise ValueError(
            f"the vectors of {int((length < _DIRECTIONLESS).sum())} clusters cancel out, so that "
            f"they have no centroid: use an eps below {config.eps}"
        )
    return np.asarray(mean / length)


def _ordered(
    label: NDArray[np.int64], centroids: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and centroids with similar clusters next to each other."""
    if len(centroids) == 0:
        return label, centroids
    order = leaf_order(centroids)
    return np.where(label == NONE, NONE, np.argsort(order)[label]), centroids[order]


def _stacked(
    vectors: Sequence[NDArray[np.floating]], parts: Sequence[slice], names: Sequence[str]
) -> NDArray[np.float64]:
    """All participants' unit vectors, one below the other."""
    stacked = np.empty((parts[-1].stop, vectors[0].shape[1]))
    for name, part, own in zip(names, parts, vectors, strict=True):
        stacked[part] = unit_rows(f"vectors of {name}", own)
    return stacked


def _parts(
    vectors: Sequence[NDArray[np.floating]], config: ClusterConfig, names: Sequence[str]
) -> list[slice]:
    """Rows of each participant among all, where everything fits."""
    if len(vectors) <= config.min_neighbours:
        raise ValueError(
            f"{len(vectors)} participants are too few for any cluster: min_neighbours "
            f"{config.min_neighbours} asks for neighbours in as many others, so for at least "
            f"{config.min_neighbours + 1} participants"
        )
    for name, own in zip(names, vectors, strict=True):
        if own.ndim != 2 or own.shape[1:] != vectors[0].shape[1:]:
            raise ValueError(
                f"vectors of {name} have shape {own.shape}: (voxels, D) is needed, with the D of "
                f"{names[0]}, whose shape is {vectors[0].shape}"
            )
    stops = np.cumsum([len(own) for own in vectors]).tolist()
    return [slice(stop - len(own), stop) for own, stop in zip(vectors, stops, strict=True)]

"""Voxels that decode alike in several participants, clustered: the 2025 way to concepts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import on_device
from flows.science.cluster_growth import (
    Grown,
    Role,
    core_strength,
    expand_labels,
    expand_members,
    grow_clusters,
    nothing_grown,
)
from flows.science.cluster_radius import (
    DRAWS,
    GRID,
    SEED,
    RadiusScore,
    best_radius,
    score_radius,
    unrelate,
)
from flows.science.clustering import leaf_order
from flows.science.decoder import Progress
from flows.science.device import resolve_device
from flows.science.neighbours import NONE, unit_rows
from flows.science.participants import participant_names

Vectors = Literal["weights", "patterns"]

# Length of a mean of unit vectors below which it points nowhere.
_DIRECTIONLESS = 1e-6


@dataclass(frozen=True)
class ClusterConfig:
    """Settings of the clustering; `PUBLISHED_CLUSTERS` holds the paper's.

    The defaults are those of the released code but for `eps` and `vectors`.

    Attributes
    ----------
    eps : float, optional
        Distance, 1 - cosine, within which voxels are neighbours; the paper tried 0.45 to 0.7.
        None chooses it from 0.1 to 0.7, by `flows.science.cluster_radius.score_radius`.
    min_neighbours : int
        Other participants of whom a core point has a neighbour.
    expansion, expansion_limit : float
        Voxels of a member's own participant join within ``min(eps + expansion,
        expansion_limit)``.
    overlapping : bool
        Whether the expansion takes voxels of other clusters too; else it takes those that are
        in no cluster, each for the nearest member's cluster.
    noise_ceiling : float
        Percent that a voxel's noise ceiling must exceed for it to be clustered; one whose noise
        ceiling is not known is.
    vectors : {"patterns", "weights"}
        What of a voxel is compared: the pattern that the decoder's weights read out, which says
        what the voxel answers to (`flows.science.patterns.voxel_patterns`), or its weights
        themselves, as published.
    """

    eps: float | None = None
    min_neighbours: int = 3
    expansion: float = 0.05
    expansion_limit: float = 0.65
    overlapping: bool = True
    noise_ceiling: float = 8.0
    vectors: Vectors = "patterns"

    def __post_init__(self) -> None:
        # At distance 1 vectors have nothing in common, and random ones would be neighbours.
        if not (self.eps is None or 0 < self.eps < 1) or not 0 < self.expansion_limit < 1:
            raise ValueError(f"eps and expansion_limit must lie in (0, 1), not {self}")
        if not self.expansion >= 0:
            raise ValueError(f"expansion must be at least 0, not {self}")
        if self.min_neighbours < 1:
            raise ValueError(f"min_neighbours must be at least 1, not {self}")
        if not 0 <= self.noise_ceiling < 100:
            raise ValueError(f"noise_ceiling must be a percentage in [0, 100), not {self}")
        if self.vectors not in get_args(Vectors):
            raise ValueError(f"vectors must be one of {get_args(Vectors)}, not {self.vectors!r}")

    def reach(self, eps: float) -> float:
        """Distance within which the expansion takes voxels."""
        return min(eps + self.expansion, self.expansion_limit)


# The 2025 paper's and its released code's (METHOD.md d): decoder weights, one radius for all data.
PUBLISHED_CLUSTERS = ClusterConfig(
    eps=0.6,
    min_neighbours=3,
    expansion=0.05,
    expansion_limit=0.65,
    overlapping=True,
    noise_ceiling=8.0,
    vectors="weights",
)


@dataclass(frozen=True, eq=False)
class VoxelClusters:
    """K clusters of the voxels of S participants.

    Attributes
    ----------
    members : list of ndarray
        S of (K, V_s) bool: which voxels belong to each cluster, as hard masks do; a voxel may
        belong to several. Similar clusters stand next to each other (`leaf_order` of the
        centroids).
    role : list of ndarray
        S of (V_s,) int8: how each voxel came to its first cluster, its `Role`.
    centroids : ndarray
        (K, D) float32 rows of length 1.
    eps : float or None
        The radius that was given or chosen; None where none of `curve` is above chance.
    curve : tuple of RadiusScore
        What eps was chosen from; empty where it was given.
    """

    members: list[NDArray[np.bool_]]
    role: list[NDArray[np.int8]]
    centroids: NDArray[np.float32]
    eps: float | None
    curve: tuple[RadiusScore, ...]

    @property
    def size(self) -> NDArray[np.int64]:
        """(K, S) members of each cluster in each participant."""
        return np.stack([own.sum(axis=1) for own in self.members], axis=1)

    @property
    def participants(self) -> NDArray[np.int64]:
        """(K,) participants who have a member.

        It can be below ``min_neighbours + 1``: of a core point's neighbours those count too
        that are nearer to another cluster's core point, and are that one's border.
        """
        return np.asarray((self.size > 0).sum(axis=1))


def mean_weights(weights: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Mean of one participant's decoders of several seeds.

    Decoded vectors have length 1, so that a decoder's weights have no scale of their own: each
    counts at an overall (Frobenius) norm of 1.

    Parameters
    ----------
    weights : sequence of ndarray
        (V, D) of each seed; those of one seed are given back as they are.

    Raises
    ------
    ValueError
        There are none, or shapes differ.
    """
    if len({own.shape for own in weights}) != 1:
        raise ValueError(
            f"weights of several seeds must have one shape, not {[own.shape for own in weights]}"
        )
    if len(weights) == 1:
        return weights[0]
    mean = np.zeros(weights[0].shape)
    for own in weights:
        norm = float(np.linalg.norm(own.astype(np.float64)))
        if norm > 0:
            mean += own / (norm * len(weights))
    return mean


def cluster_voxels(
    vectors: Sequence[NDArray[np.floating]],
    config: ClusterConfig,
    *,
    device: str | torch.device,
    usable: Sequence[NDArray[np.bool_]] | None = None,
    block: int = 2048,
    on_progress: Progress | None = None,
    labels: Sequence[str] | None = None,
) -> VoxelClusters:
    """Find groups of voxels that decode alike in several participants.

    Density clustering of all participants' voxels, where density is counted in participants:
    a core point has neighbours, voxels within eps, in at least `min_neighbours` participants
    other than its own. Its own participant's voxels never count, however many they are, but
    clusters grow through them.

    Clusters grow from core points, so they are the connected groups of core points. Any other
    point with a core point within eps is border of the nearest one's cluster, and does not pass
    growth on. Then each cluster is expanded, once: it takes every voxel within ``min(eps +
    expansion, expansion_limit)`` of a core or border voxel of the same participant, those of
    other clusters too, so that a voxel may be in several; or, not `overlapping`, those alone
    that are in no cluster, each for the nearest such voxel's. Equally near ones tell by the
    cluster that grew first. A centroid is the mean of all members' unit vectors, at length 1.

    Where `eps` is None, the clusters of every radius of `GRID` are scored (`score_radius`)
    against references in which each participant's voxels are turned (`unrelate`), and those of
    the best are taken; where no score is above 0 there is no cluster.

    Time grows with the square of the number of voxels, memory with that number. Participants
    are searched once for all radii, and once for each reference; growth and border take up to
    as long again for each radius.

    Parameters
    ----------
    vectors : sequence of ndarray
        S of (V_s, D): where each voxel points in the decoded space, of any length but zero, such
        as the patterns of a linear decoder or its weights (`Decoder.voxel_vectors`).
    config : ClusterConfig
        `noise_ceiling` and `vectors` are not read: `usable` says which voxels are clustered.
    device : str or torch.device
        As `resolve_device` takes it. The result is the same on any.
    usable : sequence of ndarray, optional
        S of (V_s,) bool: which voxels are points; all others are outliers, and their vectors
        may be anything.
    block : int
        block x block distances are held at once; the result does not depend on it.
    on_progress : callable, optional
        Called with steps done and steps in all: pairs of participants searched, in the data and
        in each reference, radii tried, participants expanded.
    labels : sequence of str, optional
        Names of the participants, for errors.

    Returns
    -------
    VoxelClusters
        Of no cluster, where there is no core point.

    Raises
    ------
    ValueError
        Where there are too few participants for any core point, dimensions differ, a participant
        has no usable voxel, vectors of usable ones are zero or not finite, or a cluster's
        vectors cancel out.

    References
    ----------
    METHOD.md d; Efird et al. 2025 (arXiv 2405.17663), clustering of decoder weights; Ester et
    al. 1996 (KDD-96, 226), DBSCAN; Tibshirani, Walther & Hastie 2001 (J. R. Stat. Soc. B 63,
    411), clusters held against a reference.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, not {block}")
    names = participant_names(labels, len(vectors))
    kept = _kept(vectors, usable, config, names)
    stops = np.cumsum([len(own) for own in kept]).tolist()
    parts = [slice(stop - len(own), stop) for own, stop in zip(kept, stops, strict=True)]
    each = list(zip(vectors, kept, parts, strict=True))
    points = on_device(_stacked(vectors, kept, parts, names), resolve_device(device))
    pairs = len(parts) * (len(parts) - 1) // 2
    choosing = DRAWS * pairs + len(GRID) if config.eps is None else 1
    steps = count(1)

    def step() -> None:
        if on_progress is not None:
            on_progress(next(steps), pairs + choosing + len(parts), {})

    strength = core_strength(points, parts, config.min_neighbours, block, step)
    curve: tuple[RadiusScore, ...] = ()
    if config.eps is None:
        eps, grown, curve = _choose(points, parts, strength, config, block, step)
    else:
        eps, grown = config.eps, grow_clusters(points, strength, config.eps, block)
        step()
    numbers = np.arange(len(grown.size))
    members = np.zeros((len(numbers), len(points)), dtype=bool)
    for part in parts:
        if eps is not None:
            near, own, reach = points[part], grown.label[part], config.reach(eps)
            members[:, part] = (
                expand_members(near, own, reach, len(numbers), block)
                if config.overlapping
                else expand_labels(near, own, reach, block) == numbers[:, None]
            )
        step()
    role = np.where(members.any(axis=0) & (grown.label == NONE), Role.EXPANDED, grown.role)

    centroids = _centroids(points, members, eps)
    if len(centroids):
        order = leaf_order(centroids)
        members, centroids = members[order], centroids[order]
    return VoxelClusters(
        members=[_among(len(own), rows, members[:, part]) for own, rows, part in each],
        role=[_among(len(own), rows, role[part]) for own, rows, part in each],
        centroids=centroids.astype(np.float32),
        eps=eps,
        curve=curve,
    )


def _choose(
    points: torch.Tensor,
    parts: Sequence[slice],
    strength: NDArray[np.float64],
    config: ClusterConfig,
    block: int,
    step: Callable[[], None],
) -> tuple[float | None, Grown, tuple[RadiusScore, ...]]:
    """The radius whose clusters tell most beyond chance, these clusters, and all scores."""
    rng = np.random.default_rng(SEED)
    references = []
    for _ in range(DRAWS):
        turned = on_device(unrelate(points.cpu().numpy(), parts, rng), points.device)
        references.append(core_strength(turned, parts, config.min_neighbours, block, step))
    best, curve = nothing_grown(len(points)), list[RadiusScore]()
    for eps in GRID:
        grown = grow_clusters(points, strength, eps, block)
        expanded = np.concatenate(
            [
                expand_labels(points[part], grown.label[part], config.reach(eps), block)
                for part in parts
            ]
        )
        cores, reference = (
            float(np.mean([(own >= 1 - eps).sum() for own in each]))
            for each in ([strength], references)
        )
        size, centroids = _label_means(points, expanded)
        curve.append(score_radius(eps, size, centroids, len(points), int(cores), reference))
        if best_radius(curve) is curve[-1]:
            best = grown
        step()
    chosen = best_radius(curve)
    return chosen.eps if chosen else None, best, tuple(curve)


def _label_means(
    points: torch.Tensor, label: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sizes (K,) and mean directions (K, D) of clusters that do not overlap; 0 where there is none.

    Points are told by their label, all in one go: there are as many clusterings as radii.
    """
    inside = np.flatnonzero(label != NONE)
    size = np.bincount(label[inside])
    total = torch.zeros(len(size), points.shape[1], dtype=points.dtype, device=points.device)
    total.index_add_(
        0, on_device(label[inside], points.device), points[on_device(inside, points.device)]
    )
    mean = total.cpu().numpy() / size[:, None]
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return size, np.where(length < _DIRECTIONLESS, 0, mean / np.maximum(length, _DIRECTIONLESS))


def _centroids(
    points: torch.Tensor, members: NDArray[np.bool_], eps: float | None
) -> NDArray[np.float64]:
    """Mean directions (K, D) of the clusters, from (K, P) members."""
    total = torch.zeros(len(members), points.shape[1], dtype=points.dtype, device=points.device)
    for row, own in enumerate(members):
        # Sums of rounded coordinates are exact, so no order of adding changes a centroid.
        total[row] = points[on_device(np.flatnonzero(own), points.device)].sum(dim=0)
    mean = total.cpu().numpy() / members.sum(axis=1, keepdims=True)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    if (length < _DIRECTIONLESS).any():
        raise ValueError(
            f"the vectors of {int((length < _DIRECTIONLESS).sum())} clusters cancel out, so that "
            f"they have no centroid: use an eps below {eps}"
        )
    return np.asarray(mean / length)


def _stacked(
    vectors: Sequence[NDArray[np.floating]],
    kept: Sequence[NDArray[np.intp]],
    parts: Sequence[slice],
    names: Sequence[str],
) -> NDArray[np.float64]:
    """All participants' unit vectors, one below the other."""
    stacked = np.empty((parts[-1].stop, vectors[0].shape[1]))
    for name, part, rows, own in zip(names, parts, kept, vectors, strict=True):
        stacked[part] = unit_rows(f"vectors of {name}", own[rows])
    return stacked


def _among(voxels: int, rows: NDArray[np.intp], values: NDArray[np.generic]) -> NDArray[Any]:
    """Values (..., P) of a participant's points among all voxels (..., V), 0 for all others."""
    spread = np.zeros((*values.shape[:-1], voxels), dtype=values.dtype)
    spread[..., rows] = values
    return spread


def _kept(
    vectors: Sequence[NDArray[np.floating]],
    usable: Sequence[NDArray[np.bool_]] | None,
    config: ClusterConfig,
    names: Sequence[str],
) -> list[NDArray[np.intp]]:
    """Which voxels of each participant are points, where everything fits."""
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
    if usable is None:
        return [np.arange(len(own)) for own in vectors]
    if [own.shape for own in usable] != [(len(own),) for own in vectors]:
        raise ValueError(
            f"usable voxels of shapes {[own.shape for own in usable]} do not fit vectors of "
            f"shapes {[own.shape for own in vectors]}"
        )
    for name, own_usable in zip(names, usable, strict=True):
        if not own_usable.any():
            raise ValueError(f"{name} has no usable voxel")
    return [np.flatnonzero(own) for own in usable]

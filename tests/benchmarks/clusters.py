"""Clusters of voxels: the radius that is chosen, and what of planted cohorts they find at it.

Decoders are those of a default run. Of each planted concept the cluster that matches it best is
told, by F1 over the clustered voxels of all participants: what clusters could say, not what the
catalog's words would find. Beside the chosen radius stands the best of the grid by that measure,
which nobody could choose without the truth, and the published one. Each cohort comes once more with
its stimuli shuffled, its clusters held against what was planted before.

The cohorts are those of development: patterns were made the default on them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flows.config import IngestConfig, RunConfig
from flows.science.folding import cross_fitting_groups
from flows.science.patterns import voxel_patterns
from flows.science.voxel_clusters import (
    PUBLISHED_CLUSTERS,
    ClusterConfig,
    VoxelClusters,
    cluster_voxels,
)
from flows.train import TrainingTrials, distinct_rows, fit_decoder
from tests.support.cohorts.objects import find_clip_names
from tests.support.cohorts.orders import shuffled
from tests.support.cohorts.planting import caption_cohort, clip_cohort
from tests.support.cohorts.records import PlantedCohort

RUN = RunConfig()
GOOD_F1 = 0.5
# Above it a radius has one cluster of nearly everything, and takes long.
_LARGEST = 0.9


@dataclass(frozen=True, eq=False)
class Points:
    """What is clustered of a participant.

    Attributes
    ----------
    weights, patterns : ndarray
        (V, D)
    usable : ndarray
        (V,) bool, whose noise ceiling is high enough for clusters.
    kept : ndarray
        (V,) their indices among the participant's voxels: those that an ingestion keeps.
    """

    weights: NDArray[np.float32]
    patterns: NDArray[np.float32]
    usable: NDArray[np.bool_]
    kept: NDArray[np.intp]


def measure() -> Iterator[str]:
    """Figures of each cohort, and of its stimuli shuffled."""
    cohorts = [caption_cohort(1)]
    if find_clip_names() is not None:
        cohorts.append(clip_cohort(2))
    for cohort in cohorts:
        for told in (cohort, shuffled(cohort, 1)):
            points = [_points(told, who) for who in range(len(told.participants))]
            clustered = [int(each.usable.sum()) for each in points]
            yield f"{told.name}: voxels {clustered}, mean F1 (concepts of F1 >= {GOOD_F1:g})"
            truth = _truth(cohort, points)
            for kind in ("weights", "patterns"):
                vectors = [getattr(each, kind) for each in points]
                yield f"  {kind}: {', '.join(_row(vectors, points, truth, cohort.shared))}"


def _row(
    vectors: Sequence[NDArray[np.float32]],
    points: Sequence[Points],
    truth: NDArray[np.bool_],
    shared: NDArray[np.bool_],
) -> Iterator[str]:
    def clustered(config: ClusterConfig) -> VoxelClusters:
        usable = [each.usable for each in points]
        return cluster_voxels(vectors, config, device="cpu", usable=usable)

    chosen = clustered(RUN.clusters)
    at = next((each for each in chosen.curve if each.eps == chosen.eps), None)
    if at is None:
        yield "none is above chance"
    else:
        f1 = _f1(chosen, truth)
        yield (
            f"chosen eps {at.eps:g}: {at.clusters} clusters of {at.members:.2f} of the voxels, "
            f"chance {at.chance:.3f}, F1 {_told(f1[shared])}, of the concept of one participant "
            f"{_told(f1[~shared])}"
        )
    tried = {
        each.eps: _f1(clustered(replace(RUN.clusters, eps=each.eps)), truth)[shared]
        for each in chosen.curve
        if each.clusters and each.largest < _LARGEST
    }
    if tried:
        best = max(tried, key=lambda eps: float(tried[eps].mean()))
        yield f"best eps {best:g}: F1 {_told(tried[best])}"
    given = clustered(replace(RUN.clusters, eps=PUBLISHED_CLUSTERS.eps))
    yield (
        f"eps {PUBLISHED_CLUSTERS.eps:g}: {len(given.centroids)} clusters, F1 "
        f"{_told(_f1(given, truth)[shared])}"
    )


def _told(f1: NDArray[np.float64]) -> str:
    return f"{f1.mean():.2f} ({(f1 >= GOOD_F1).sum()} of {len(f1)})"


def _f1(clusters: VoxelClusters, truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(C,) of each concept's best cluster."""
    members = np.concatenate(clusters.members, axis=1).astype(np.float64)
    planted = truth.astype(np.float64)
    total = planted.sum(axis=1)[:, None] + members.sum(axis=1)
    return np.asarray((2 * planted @ members.T / total).max(axis=1, initial=0))


def _truth(cohort: PlantedCohort, points: Sequence[Points]) -> NDArray[np.bool_]:
    """(C, P) which voxels of all participants carry each concept, of those that are clustered."""
    return np.concatenate(
        [
            one.planted[:, each.kept] & each.usable
            for one, each in zip(cohort.participants, points, strict=True)
        ],
        axis=1,
    )


def _points(cohort: PlantedCohort, who: int) -> Points:
    """Decode as a run does: on all trials that are not test, in the centred space."""
    one = cohort.participants[who]
    ceiling = cohort.estimated_ceiling(who)
    kept = np.flatnonzero(ceiling > IngestConfig().noise_ceiling)
    development = cohort.fold != "test"
    targets = cohort.vectors - cohort.vectors[development].mean(axis=0)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    trials = np.flatnonzero(development[one.image])
    x, image = one.x[trials][:, kept], one.image[trials]
    held = cohort.fold == "validation"
    group = cross_fitting_groups(image, one.session[trials], held, seed=RUN.seed)
    fitted = fit_decoder(
        one.label,
        TrainingTrials(*distinct_rows(targets.astype(np.float32)), x, image, group),
        RUN.decoder,
        RUN.start,
        seed=RUN.seed + who,
        device="cpu",
        precision=RUN.precision,
    )
    weights = fitted.decoder.voxel_vectors()
    return Points(
        weights=weights,
        patterns=voxel_patterns(x, weights),
        usable=ceiling[kept] > RUN.clusters.noise_ceiling,
        kept=kept,
    )

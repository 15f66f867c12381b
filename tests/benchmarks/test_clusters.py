"""How well clusters match planted voxels, on clusters that are written down."""

import numpy as np
import pytest

from flows.science.voxel_clusters import VoxelClusters
from tests.benchmarks.clusters import _f1


def found(members: list[list[list[int]]]) -> VoxelClusters:
    """Clusters of these members, by participant."""
    own = [np.array(each, dtype=bool) for each in members]
    role = [np.zeros(each.shape[1], dtype=np.int8) for each in own]
    centroids = np.zeros((len(own[0]), 2), dtype=np.float32)
    return VoxelClusters(members=own, role=role, centroids=centroids, eps=0.5, curve=())


def test_a_concept_has_the_f1_of_its_best_cluster_over_all_participants() -> None:
    clusters = found([[[1, 1, 0], [0, 0, 1]], [[1, 0], [0, 1]]])
    truth = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], dtype=bool)
    # Precision 1/2 and recall 1/2 of the second: one of two voxels each.
    assert _f1(clusters, truth).tolist() == pytest.approx([1, 0.5, 0])


def test_without_clusters_nothing_is_matched() -> None:
    none = VoxelClusters(
        members=[np.zeros((0, 3), dtype=bool)],
        role=[np.zeros(3, dtype=np.int8)],
        centroids=np.zeros((0, 2), dtype=np.float32),
        eps=None,
        curve=(),
    )
    assert _f1(none, np.ones((2, 3), dtype=bool)).tolist() == [0, 0]

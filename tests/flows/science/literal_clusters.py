"""The published clustering, word for word, on a matrix of all distances: a slow yardstick."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from flows.science.voxel_clusters import ClusterConfig


def distances(vectors: list[NDArray[np.floating]]) -> NDArray[np.float64]:
    """1 - cosine of all pairs of all participants' voxels, (V, V)."""
    rows = np.concatenate(vectors).astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return 1 - unit @ unit.T


def literal_clusters(
    vectors: list[NDArray[np.floating]], config: ClusterConfig
) -> tuple[list[int], list[str]]:
    """Label (V,), in the order in which clusters begin, -1 for outliers, and role (V,)."""
    owner = [who for who, own in enumerate(vectors) for _ in own]
    distance = distances(vectors)
    everyone = range(len(owner))

    def neighbours(voxel: int) -> list[int]:
        return [other for other in everyone if distance[voxel, other] <= config.eps]

    def is_core(voxel: int) -> bool:
        others = {owner[other] for other in neighbours(voxel)} - {owner[voxel]}
        return len(others) >= config.min_neighbours

    label, role = [-1] * len(owner), ["outlier"] * len(owner)
    clusters = 0
    for seed in everyone:
        if label[seed] != -1 or not is_core(seed):
            continue
        label[seed], role[seed] = clusters, "core"
        queue = deque([seed])
        while queue:
            for other in neighbours(queue.popleft()):
                if label[other] == -1:
                    label[other], role[other] = clusters, "border"
                    if is_core(other):
                        role[other] = "core"
                        queue.append(other)
        clusters += 1

    grown = list(label)
    for voxel in everyone:
        own = [
            (round(distance[voxel, other], 7), grown[other])
            for other in everyone
            if owner[other] == owner[voxel]
            and grown[other] != -1
            and distance[voxel, other] <= min(config.eps + config.expansion, config.expansion_limit)
        ]
        if grown[voxel] == -1 and own:
            label[voxel], role[voxel] = min(own)[1], "expanded"
    return label, role

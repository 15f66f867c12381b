"""The clustering, word for word, on a matrix of all distances: a slow yardstick."""

from collections import Counter, deque
from math import log2

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
) -> tuple[list[list[bool]], list[str]]:
    """Members (K, V), clusters in the order in which they begin, and role (V,)."""
    assert config.eps is not None
    owner = [who for who, own in enumerate(vectors) for _ in own]
    distance = distances(vectors)
    everyone = range(len(owner))

    def neighbours(voxel: int) -> list[int]:
        return [other for other in everyone if distance[voxel, other] <= config.eps]

    def is_core(voxel: int) -> bool:
        others = {owner[other] for other in neighbours(voxel)} - {owner[voxel]}
        return len(others) >= config.min_neighbours

    cores = [voxel for voxel in everyone if is_core(voxel)]
    label, role = [-1] * len(owner), ["outlier"] * len(owner)
    clusters = 0
    for seed in cores:
        if label[seed] != -1:
            continue
        label[seed], role[seed] = clusters, "core"
        queue = deque([seed])
        while queue:
            for other in neighbours(queue.popleft()):
                if label[other] == -1 and other in cores:
                    label[other], role[other] = clusters, "core"
                    queue.append(other)
        clusters += 1
    for voxel in everyone:
        near = [
            (round(distance[voxel, other], 7), label[other])
            for other in neighbours(voxel)
            if other in cores
        ]
        if voxel not in cores and near:
            label[voxel], role[voxel] = min(near)[1], "border"

    grown = list(label)
    members = [[other == number for other in grown] for number in range(clusters)]
    for voxel in everyone:
        near = [
            (round(distance[voxel, other], 7), grown[other])
            for other in everyone
            if owner[other] == owner[voxel]
            and grown[other] != -1
            and distance[voxel, other] <= min(config.eps + config.expansion, config.expansion_limit)
        ]
        if near and grown[voxel] == -1:
            role[voxel] = "expanded"
        if config.overlapping:
            for _, number in near:
                members[number][voxel] = True
        elif near and grown[voxel] == -1:
            members[min(near)[1]][voxel] = True
    return members, role


def literal_bits(members: list[list[bool]], vectors: NDArray[np.floating]) -> float:
    """Bits that clusters tell of a voxel, none of which is in two: over voxels, how unlike all."""
    label = [
        next((number for number, row in enumerate(members) if row[voxel]), -1)
        for voxel in range(len(vectors))
    ]
    mean = {}
    for number in set(label) - {-1}:
        own = [v / np.linalg.norm(v) for v, at in zip(vectors, label, strict=True) if at == number]
        mean[number] = np.mean(own, axis=0) / np.linalg.norm(np.mean(own, axis=0))

    def alike(one: int, other: int) -> float:
        if -1 in (one, other) or one == other:
            return float(one == other)
        return max(0.0, float(mean[one] @ mean[other]))

    count = Counter(label)
    return -sum(
        size
        / len(label)
        * log2(sum(alike(one, other) * n for other, n in count.items()) / len(label))
        for one, size in count.items()
    )

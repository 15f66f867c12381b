import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flows.science.clustering import leaf_order
from flows.science.neighbours import unit_rows
from flows.science.voxel_clusters import ClusterConfig, Role, VoxelClusters, cluster_voxels
from tests.flows.science.literal_clusters import distances, literal_clusters

PUBLISHED = ClusterConfig()


def cluster(
    vectors: list[np.ndarray], config: ClusterConfig = PUBLISHED, **options: Any
) -> VoxelClusters:
    return cluster_voxels(vectors, config, device="cpu", **options)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def around(direction: np.ndarray, count: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Voxels along a direction, with orthogonal noise of a length relative to it."""
    offsets = rng.normal(size=(count, len(direction)))
    return direction + noise * unit(offsets - np.outer(offsets @ direction, direction))


def planted(seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Six participants, the first four and the last four of whom share a direction each.

    Returns the vectors, the directions (2, D), and which direction each voxel has (S, V), -1
    where it has none.
    """
    rng = np.random.default_rng(seed)
    directions = unit(rng.normal(size=(2, 256)))
    truth = np.full((6, 40), -1)
    truth[:4, 5:15] = 0
    truth[2:, 20:26] = 1
    vectors = []
    for own in truth:
        voxels = unit(rng.normal(size=(40, 256)))
        for index, direction in enumerate(directions):
            voxels[own == index] = around(direction, int((own == index).sum()), 0.5, rng)
        vectors.append((voxels * rng.uniform(0.1, 10, (40, 1))).astype(np.float32))
    return vectors, directions, truth


def line(*degrees: float) -> np.ndarray:
    """Vectors in the plane, at these angles."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def angles(eps: float, reach: float, neighbours: int = 3) -> ClusterConfig:
    """Settings whose radii are angles, degrees."""
    near, far = (float(1 - np.cos(np.deg2rad(angle))) for angle in (eps, reach))
    return ClusterConfig(near, neighbours, expansion=1, expansion_limit=far)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 14), min_size=2, max_size=6),
    dimension=st.integers(2, 7),
    eps=st.floats(0.02, 0.7),
    expansion=st.sampled_from([0.0, 0.05, 0.3]),
    data=st.data(),
)
def test_is_the_literal_clustering(
    seed: int, sizes: list[int], dimension: int, eps: float, expansion: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    neighbours = data.draw(st.integers(1, len(sizes) - 1))
    config = ClusterConfig(eps, neighbours, expansion)
    everything = rng.normal(size=(sum(sizes), dimension))
    # Some voxels are others' copies, so that distances tie.
    copies = rng.random(len(everything)) < data.draw(st.sampled_from([0.0, 0.3]))
    everything[copies] = everything[rng.integers(0, len(everything), int(copies.sum()))]
    vectors = np.split(everything, np.cumsum(sizes)[:-1])
    distance = distances(vectors)
    for radius in (config.eps, config.reach):
        # Rounding decides of a pair at the very radius.
        assume((np.abs(distance - radius) > 1e-6).all())

    found = cluster(vectors, config, block=data.draw(st.integers(1, 50)))
    label, role = literal_clusters(vectors, config)

    assert [Role(r).name.lower() for own in found.role for r in own] == role
    flat = np.concatenate(found.label)
    pairs = sorted(set(zip(label, flat.tolist(), strict=True)) - {(-1, -1)})
    # One to one, and all of them.
    assert [old for old, _ in pairs] == list(range(max(label) + 1))
    assert sorted(new for _, new in pairs) == list(range(len(found.centroids)))
    for new, centroid in enumerate(found.centroids):
        mean = unit(everything)[flat == new].mean(axis=0)
        assert centroid == pytest.approx(unit(mean), abs=1e-5)


def test_shared_directions_are_found_with_their_voxels_and_participants() -> None:
    vectors, directions, truth = planted(seed=0)
    found = cluster(vectors)
    assert len(found.centroids) == 2
    cosine = found.centroids @ directions.T
    which = cosine.argmax(axis=1)
    assert sorted(which) == [0, 1]
    assert (cosine.max(axis=1) > 0.97).all()
    named = np.append(which, -1)[np.stack(found.label)]
    assert np.array_equal(named, truth)
    assert (np.stack(found.role)[truth >= 0] == Role.CORE).all()
    assert (np.stack(found.role)[truth < 0] == Role.OUTLIER).all()
    assert found.participants.tolist() == [4, 4]
    for row, index in enumerate(which):
        assert found.size[row].tolist() == (truth == index).sum(axis=1).tolist()
        for who in range(6):
            assert np.array_equal(found.members(who)[row], truth[who] == index)


def test_results_do_not_depend_on_lengths_or_type() -> None:
    vectors, _, _ = planted(seed=1)
    found = cluster(vectors)
    again = cluster([(8 * own).astype(np.float64) for own in vectors])
    assert all(np.array_equal(a, b) for a, b in zip(found.label, again.label, strict=True))
    assert np.array_equal(found.centroids, again.centroids)
    assert found.centroids.dtype == np.float32
    assert np.linalg.norm(found.centroids, axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_random_vectors_have_no_cluster(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = cluster([rng.normal(size=(200, 256)).astype(np.float32) for _ in range(8)])
    assert found.centroids.shape == (0, 256)
    assert all((own == -1).all() for own in found.label)
    assert all((own == Role.OUTLIER).all() for own in found.role)
    assert found.size.shape == (0, 8)
    assert found.participants.shape == (0,)
    assert found.members(0).shape == (0, 200)


def test_one_participants_dense_blob_is_all_outliers() -> None:
    rng = np.random.default_rng(0)
    vectors = [unit(rng.normal(size=(50, 256))) for _ in range(6)]
    vectors[2] = around(unit(rng.normal(size=256)), 300, 0.3, rng)
    found = cluster(vectors)
    assert all((own == Role.OUTLIER).all() for own in found.role)
    assert len(found.centroids) == 0


@pytest.mark.parametrize("sharing", range(1, 7))
@pytest.mark.parametrize("neighbours", range(1, 6))
def test_k_participants_make_core_points_only_if_others_are_enough(
    sharing: int, neighbours: int
) -> None:
    rng = np.random.default_rng(0)
    direction = unit(rng.normal(size=256))
    # Many voxels each: it is participants that are counted.
    vectors = [
        around(direction, 20, 0.4, rng) if who < sharing else unit(rng.normal(size=(20, 256)))
        for who in range(6)
    ]
    found = cluster(vectors, ClusterConfig(min_neighbours=neighbours))
    enough = sharing - 1 >= neighbours
    assert len(found.centroids) == enough
    for who, role in enumerate(found.role):
        expected = Role.CORE if enough and who < sharing else Role.OUTLIER
        assert (role == expected).all()


def test_clusters_grow_through_their_own_participants_core_points() -> None:
    # Two places where all four meet, which only participant 0's voxels between them join.
    ends = [line(0, 30) for _ in range(4)]
    config = angles(eps=11, reach=11)
    assert len(cluster(ends, config).centroids) == 2
    bridged = [np.concatenate([ends[0], line(10, 20)]), *ends[1:]]
    found = cluster(bridged, config)
    assert len(found.centroids) == 1
    assert found.role[0].tolist() == [Role.CORE] * 4
    # A voxel between that no others are near does not pass growth on.
    wider = [line(0, 42) for _ in range(4)]
    wider[0] = np.concatenate([wider[0], line(10, 21, 32)])
    found = cluster(wider, config)
    assert len(found.centroids) == 2
    assert found.role[0].tolist() == [Role.CORE, Role.CORE, Role.CORE, Role.BORDER, Role.CORE]


def test_a_border_voxel_takes_the_first_cluster_and_does_not_grow_it() -> None:
    # Participant 0's voxel, seen first, is near one other participant's in either cluster.
    others = [line(-5, 23) for _ in range(3)]
    config = angles(eps=9, reach=9)
    for first, second in [(0.5, 17.5), (17.5, 0.5)]:
        found = cluster([line(9), line(first, second), *others], config)
        assert found.role[0].tolist() == [Role.BORDER]
        assert all((own == Role.CORE).all() for own in found.role[1:])
        assert len(found.centroids) == 2
        assert found.label[0][0] == found.label[1][0] != found.label[1][1]


def test_expansion_takes_the_nearest_members_cluster_once() -> None:
    # Participant 0 has members at 0 and 40 degrees, and voxels ever farther from the first.
    vectors = [line(0, 40, 14, 24, 27, 60), *[line(0, 40) for _ in range(3)]]
    found = cluster(vectors, angles(eps=10, reach=15))
    label, role = found.label[0], found.role[0]
    assert label[2] == label[0]
    assert role[2] == Role.EXPANDED
    # 24 is within reach of the voxel at 14, which has just joined, but of no member.
    assert (label[3], role[3]) == (-1, Role.OUTLIER)
    assert label[4] == label[1] != label[0]
    assert (label[5], role[5]) == (-1, Role.OUTLIER)
    # Only own participants' members take voxels in.
    other = cluster([*vectors, line(14)], angles(eps=10, reach=15))
    assert other.role[4].tolist() == [Role.OUTLIER]


def test_of_two_members_in_reach_the_nearer_one_tells() -> None:
    near_second = [line(0, 40, 21), *[line(0, 40) for _ in range(3)]]
    found = cluster(near_second, angles(eps=10, reach=25))
    assert found.label[0][2] == found.label[0][1]


def test_the_expansion_has_a_limit() -> None:
    assert ClusterConfig().reach == pytest.approx(0.65)
    assert ClusterConfig(eps=0.45).reach == pytest.approx(0.5)
    assert ClusterConfig(eps=0.64).reach == 0.65
    assert ClusterConfig(eps=0.7).reach == 0.65


def test_clusters_stand_in_the_order_of_their_centroids_leaves() -> None:
    rng = np.random.default_rng(0)
    families = unit(rng.normal(size=(3, 256)))
    # Members of families alternate, so that the order of growth is not the order of leaves.
    directions = unit(families[np.tile(np.arange(3), 4)] + 0.9 * unit(rng.normal(size=(12, 256))))
    vectors = [np.concatenate([around(d, 3, 0.2, rng) for d in directions]) for _ in range(4)]
    found = cluster(vectors, ClusterConfig(eps=0.3))
    assert len(found.centroids) == 12
    assert leaf_order(found.centroids).tolist() == list(range(12))
    own = found.label[0].reshape(12, 3)
    assert (own == own[:, :1]).all()
    ordered = np.argsort(own[:, 0]) % 3
    assert (np.diff(ordered) != 0).sum() == 2
    assert (found.centroids[own[:, 0]] * directions).sum(axis=1).min() > 0.97


def mixed(seed: int) -> list[np.ndarray]:
    """Vectors of low dimension: many clusters, borders and expansions."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(60, 5)) for _ in range(5)]


def same(a: VoxelClusters, b: VoxelClusters) -> bool:
    return (
        all(np.array_equal(x, y) for x, y in zip(a.label, b.label, strict=True))
        and all(np.array_equal(x, y) for x, y in zip(a.role, b.role, strict=True))
        and np.array_equal(a.centroids, b.centroids)
    )


def test_blocks_do_not_change_the_result() -> None:
    config = ClusterConfig(eps=0.1)
    whole = cluster(mixed(0), config)
    roles = set(np.concatenate(whole.role).tolist())
    assert roles == set(Role)
    assert len(whole.centroids) > 3
    # An earlier cluster can take as its border the neighbours that made a point core.
    assert whole.participants.min() < 1 + config.min_neighbours
    for block in (1, 7, 64):
        assert same(cluster(mixed(0), config, block=block), whole)


@pytest.mark.parametrize("block", [1, 7, 2048])
def test_pairs_at_the_very_radius_are_neighbours_whatever_the_block(block: int) -> None:
    # Each direction has one voxel in either participant: every pair near enough is a cluster.
    rng = np.random.default_rng(0)
    directions = unit(rng.normal(size=(24, 512)))
    vectors = [directions + 0.5 * unit(rng.normal(size=(24, 512))) for _ in range(2)]
    first, second = (unit_rows("vectors", own) for own in vectors)
    for cosine in np.sort((first * second).sum(axis=1))[::8]:
        near = int(((first * second).sum(axis=1) >= cosine).sum())
        for eps, expected in [(1 - cosine, near), (1 - cosine - 2.0**-52, near - 1)]:
            found = cluster(vectors, ClusterConfig(eps, 1, expansion=0), block=block)
            assert len(found.centroids) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_result() -> None:
    config = ClusterConfig(eps=0.1)
    assert same(cluster_voxels(mixed(0), config, device="cuda"), cluster(mixed(0), config))


def test_progress_is_told_to_the_end() -> None:
    steps: list[tuple[int, int]] = []
    cluster(mixed(0), on_progress=lambda done, total, _: steps.append((done, total)))
    assert steps == [(done, 10 + 1 + 5) for done in range(1, 17)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, r"eps and expansion_limit must lie in \(0, 1\)"),
        ({"eps": 1.0}, r"eps and expansion_limit must lie in \(0, 1\)"),
        ({"eps": float("nan")}, r"eps and expansion_limit must lie in \(0, 1\)"),
        ({"expansion_limit": 1.5}, r"eps and expansion_limit must lie in \(0, 1\)"),
        ({"expansion": -0.1}, "expansion must be at least 0"),
        ({"expansion": float("nan")}, "expansion must be at least 0"),
        ({"min_neighbours": 0}, "min_neighbours must be at least 1"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterConfig(**options)


@pytest.mark.parametrize("count", range(4))
def test_too_few_participants_are_refused_with_the_reason(count: int) -> None:
    with pytest.raises(
        ValueError, match=f"{count} participants are too few .* min_neighbours 3 .* at least 4"
    ):
        cluster([np.ones((5, 3))] * count)


def test_bad_vectors_are_refused_by_participant() -> None:
    good = [np.ones((5, 3))] * 4
    with pytest.raises(ValueError, match=r"vectors of participant 3 of 4 have shape \(5, 4\)"):
        cluster([*good[:2], np.ones((5, 4)), good[0]])
    with pytest.raises(ValueError, match=r"vectors of participant 1 of 5 have shape \(5,\)"):
        cluster([np.ones(5), *good])
    with pytest.raises(ValueError, match=r"vectors of participant 2 of 6 must be .* not \(0, 3\)"):
        cluster([good[0], np.ones((0, 3)), *good])
    bad = np.ones((5, 3))
    bad[1], bad[4, 0] = 0, np.inf
    with pytest.raises(ValueError, match="participant 5 of 5 hold 2 of 5 rows that are zero"):
        cluster([*good, bad])
    with pytest.raises(ValueError, match="vectors of sub-05 hold 2 of 5 rows"):
        cluster([*good, bad], labels=[f"sub-{number:02d}" for number in range(1, 6)])
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        cluster(good, block=0)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        cluster_voxels(good, PUBLISHED, device="gpu")


def test_a_cluster_whose_vectors_cancel_out_is_refused() -> None:
    ring = line(*range(0, 360, 36))
    with pytest.raises(ValueError, match=r"1 clusters cancel out.* use an eps below 0\.5"):
        cluster([ring] * 4, ClusterConfig(eps=0.5))


def test_the_order_of_participants_changes_numbers_alone() -> None:
    vectors, _, _ = planted(seed=2)
    partitions = set()
    for order in itertools.islice(itertools.permutations(range(6)), 0, 720, 97):
        found = cluster([vectors[who] for who in order])
        labels = [found.label[order.index(who)] for who in range(6)]
        flat = np.concatenate(labels)
        partitions.add((flat[:, None] == flat[None, :]).tobytes())
    assert len(partitions) == 1

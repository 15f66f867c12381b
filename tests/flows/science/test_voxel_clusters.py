import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flows.science.cluster_growth import Role
from flows.science.cluster_radius import GRID
from flows.science.clustering import leaf_order
from flows.science.neighbours import unit_rows
from flows.science.voxel_clusters import (
    ClusterConfig,
    VoxelClusters,
    cluster_voxels,
    mean_weights,
)
from tests.flows.science.literal_clusters import distances, literal_bits, literal_clusters

PUBLISHED = ClusterConfig(eps=0.6)
CHOSEN = ClusterConfig()


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


def angles(
    eps: float, reach: float, neighbours: int = 3, *, overlapping: bool = True
) -> ClusterConfig:
    """Settings whose radii are angles, degrees."""
    near, far = (float(1 - np.cos(np.deg2rad(angle))) for angle in (eps, reach))
    return ClusterConfig(
        near, neighbours, expansion=1, expansion_limit=far, overlapping=overlapping
    )


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
    overlapping = data.draw(st.booleans())
    config = ClusterConfig(eps, neighbours, expansion, overlapping=overlapping)
    everything = rng.normal(size=(sum(sizes), dimension))
    # Some voxels are others' copies, so that distances tie.
    copies = rng.random(len(everything)) < data.draw(st.sampled_from([0.0, 0.3]))
    everything[copies] = everything[rng.integers(0, len(everything), int(copies.sum()))]
    vectors = np.split(everything, np.cumsum(sizes)[:-1])
    distance = distances(vectors)
    for radius in (eps, config.reach(eps)):
        # Rounding decides of a pair at the very radius.
        assume((np.abs(distance - radius) > 1e-6).all())

    found = cluster(vectors, config, block=data.draw(st.integers(1, 50)))
    members, role = literal_clusters(vectors, config)

    assert [Role(r).name.lower() for own in found.role for r in own] == role
    flat = np.concatenate(found.members, axis=1)
    assert sorted(flat.tolist()) == sorted(members)
    assert found.centroids.shape == (len(members), dimension)
    for own, centroid in zip(flat, found.centroids, strict=True):
        assert centroid == pytest.approx(unit(unit(everything)[own].mean(axis=0)), abs=1e-5)
    assert (found.eps, found.curve) == (eps, ())


def test_shared_directions_are_found_with_their_voxels_and_participants() -> None:
    vectors, directions, truth = planted(seed=0)
    found = cluster(vectors)
    assert len(found.centroids) == 2
    cosine = found.centroids @ directions.T
    which = cosine.argmax(axis=1)
    assert sorted(which) == [0, 1]
    assert (cosine.max(axis=1) > 0.97).all()
    assert (np.stack(found.role)[truth >= 0] == Role.CORE).all()
    assert (np.stack(found.role)[truth < 0] == Role.OUTLIER).all()
    assert found.participants.tolist() == [4, 4]
    for row, index in enumerate(which):
        assert found.size[row].tolist() == (truth == index).sum(axis=1).tolist()
        for who in range(6):
            assert np.array_equal(found.members[who][row], truth[who] == index)


def test_results_do_not_depend_on_lengths_or_type() -> None:
    vectors, _, _ = planted(seed=1)
    found = cluster(vectors)
    again = cluster([(8 * own).astype(np.float64) for own in vectors])
    assert all(np.array_equal(a, b) for a, b in zip(found.members, again.members, strict=True))
    assert np.array_equal(found.centroids, again.centroids)
    assert found.centroids.dtype == np.float32
    assert np.linalg.norm(found.centroids, axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_random_vectors_have_no_cluster(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = cluster([rng.normal(size=(200, 256)).astype(np.float32) for _ in range(8)])
    assert found.centroids.shape == (0, 256)
    assert all((own == Role.OUTLIER).all() for own in found.role)
    assert found.size.shape == (0, 8)
    assert found.participants.shape == (0,)
    assert [own.shape for own in found.members] == [(0, 200)] * 8


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
    found = cluster(vectors, ClusterConfig(0.6, neighbours))
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


def test_a_border_voxel_takes_the_nearest_core_points_cluster_and_does_not_grow_it() -> None:
    # Participant 0's voxel is within eps of one other participant's core point in either cluster.
    others = [line(-5, 23) for _ in range(3)]
    config = angles(eps=9, reach=9)
    for own, nearer in [(line(1, 17.5), 0), (line(0.5, 17), 1)]:
        # Whoever comes first, whose core points and which of them.
        for vectors in ([line(9), own, *others], [*others, own[::-1], line(9)]):
            found = cluster(vectors, config)
            who = [len(each) for each in vectors].index(1)
            assert found.role[who].tolist() == [Role.BORDER]
            assert all((each == Role.CORE).all() for each in found.role if len(each) > 1)
            assert len(found.centroids) == 2
            at = found.centroids @ line(-5, 23).T
            assert found.members[who][at[:, nearer].argmax()].tolist() == [True]
            assert found.members[who].sum() == 1


def test_expansion_takes_what_is_near_members_once() -> None:
    # Participant 0 has members at 0 and 40 degrees, and voxels ever farther from the first.
    vectors = [line(0, 40, 14, 24, 27, 60), *[line(0, 40) for _ in range(3)]]
    for overlapping in (True, False):
        found = cluster(vectors, angles(eps=10, reach=15, overlapping=overlapping))
        at = (found.centroids @ line(0, 40).T).argmax(axis=0)
        # 24 is within reach of the voxel at 14, which has just joined, but of no member.
        first, second = [True, False, True, False, False, False], [0, 1, 0, 0, 1, 0]
        assert found.members[0][at[0]].tolist() == first
        assert found.members[0][at[1]].astype(int).tolist() == second
        assert found.role[0].tolist() == [1, 1, Role.EXPANDED, 0, Role.EXPANDED, 0]
        # Only own participants' members take voxels in.
        other = cluster([*vectors, line(14)], angles(eps=10, reach=15, overlapping=overlapping))
        assert other.role[4].tolist() == [Role.OUTLIER]
        assert not other.members[4].any()


def test_overlapping_clusters_share_voxels_and_exclusive_ones_do_not() -> None:
    vectors = [line(0, 40, 21), *[line(0, 40) for _ in range(3)]]
    both = cluster(vectors, angles(eps=10, reach=25))
    assert both.members[0][:, 2].tolist() == [True, True]
    assert both.members[0].sum() == 4
    assert both.size.tolist() == [[2, 1, 1, 1], [2, 1, 1, 1]]
    nearest = cluster(vectors, angles(eps=10, reach=25, overlapping=False))
    at = (nearest.centroids @ line(0, 40).T).argmax(axis=0)
    assert nearest.members[0][at].astype(int).tolist() == [[1, 0, 0], [0, 1, 1]]
    # The shared voxel is part of either centroid.
    for angle, centroid in zip((7, 30.5), both.centroids[at], strict=True):
        assert line(angle)[0] @ centroid > 0.99


def test_a_cluster_takes_other_clusters_core_points_too() -> None:
    vectors = [line(0, 20) for _ in range(4)]
    both = cluster(vectors, angles(eps=10, reach=25))
    assert all(own.all() and own.shape == (2, 2) for own in both.members)
    assert all((own == Role.CORE).all() for own in both.role)
    apart = cluster(vectors, angles(eps=10, reach=25, overlapping=False))
    assert all(own.sum() == 2 for own in apart.members)


def test_voxels_that_are_not_usable_are_in_no_cluster() -> None:
    vectors, _, _ = planted(seed=0)
    whole = cluster(vectors)
    rng = np.random.default_rng(1)
    usable = [rng.random(40) < 0.8 for _ in range(6)]
    found = cluster(vectors, usable=usable)
    assert len(found.centroids) == 2
    for who, own in enumerate(usable):
        assert np.array_equal(found.members[who], whole.members[who] & own)
        assert (found.role[who][~own] == Role.OUTLIER).all()
    # As if they were not there, and whatever they are.
    without = cluster([own[kept] for own, kept in zip(vectors, usable, strict=True)])
    assert np.array_equal(without.centroids, found.centroids)
    for own, kept in zip(vectors, usable, strict=True):
        own[~kept] = rng.choice([0, np.nan, np.inf], size=((~kept).sum(), 1))
    assert same(cluster(vectors, usable=usable), found)
    # Two participants of the four who share the first direction lose its voxels.
    vectors, _, truth = planted(seed=0)
    usable = [~((who < 2) & (own == 0)) for who, own in enumerate(truth)]
    assert len(cluster(vectors, usable=usable).centroids) == 1


def test_the_expansion_has_a_limit() -> None:
    assert ClusterConfig().reach(0.6) == pytest.approx(0.65)
    assert ClusterConfig().reach(0.45) == pytest.approx(0.5)
    assert ClusterConfig().reach(0.64) == 0.65
    assert ClusterConfig().reach(0.7) == 0.65


def test_clusters_stand_in_the_order_of_their_centroids_leaves() -> None:
    rng = np.random.default_rng(0)
    families = unit(rng.normal(size=(3, 256)))
    # Members of families alternate, so that the order of growth is not the order of leaves.
    directions = unit(families[np.tile(np.arange(3), 4)] + 0.9 * unit(rng.normal(size=(12, 256))))
    vectors = [np.concatenate([around(d, 3, 0.2, rng) for d in directions]) for _ in range(4)]
    found = cluster(vectors, ClusterConfig(eps=0.3))
    assert len(found.centroids) == 12
    assert leaf_order(found.centroids).tolist() == list(range(12))
    assert (found.members[0].sum(axis=1) == 3).all()
    own = found.members[0].argmax(axis=0).reshape(12, 3)
    assert (own == own[:, :1]).all()
    ordered = np.argsort(own[:, 0]) % 3
    assert (np.diff(ordered) != 0).sum() == 2
    assert (found.centroids[own[:, 0]] * directions).sum(axis=1).min() > 0.97


def families(seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Five participants who share ten directions that have something in common.

    Returns the vectors, and which direction each voxel has (S, V), -1 where it has none.
    """
    rng = np.random.default_rng(seed)
    common, own = unit(rng.normal(size=256)), unit(rng.normal(size=(10, 256)))
    directions = np.sqrt(0.4) * common + np.sqrt(0.6) * own
    truth = np.repeat(np.arange(-1, 10), [40, *[8] * 10])
    vectors = []
    for _ in range(5):
        voxels = unit(rng.normal(size=(len(truth), 256)))
        for index, direction in enumerate(directions):
            voxels[truth == index] = around(direction, 8, 0.7, rng)
        vectors.append(voxels)
    return vectors, truth


def test_eps_is_chosen_where_clusters_tell_most() -> None:
    vectors, truth = families(seed=0)
    found = cluster(vectors, CHOSEN)
    assert tuple(each.eps for each in found.curve) == GRID
    assert found.eps == max(found.curve, key=lambda each: each.score).eps
    # Small radii have no clusters, and large ones join them.
    assert GRID[0] < found.eps < GRID[-1]
    assert found.curve[0].score == found.curve[-1].score == 0
    assert found.curve[-1].clusters == 1
    assert len(found.centroids) == 10
    for own in found.members:
        partner = (own @ (truth == np.arange(10)[:, None]).T.astype(int)).argmax(axis=1)
        assert sorted(partner) == list(range(10))
        assert (own == (truth == partner[:, None])).mean() > 0.98
    given = cluster(vectors, ClusterConfig(eps=found.eps))
    assert np.array_equal(given.centroids, found.centroids)
    assert all(np.array_equal(a, b) for a, b in zip(given.members, found.members, strict=True))


def test_the_curve_is_of_the_literal_clusters() -> None:
    vectors, _ = families(seed=1)
    for each in cluster(vectors, CHOSEN).curve[::4]:
        config = ClusterConfig(eps=each.eps, overlapping=False)
        members, role = literal_clusters(vectors, config)
        assert each.clusters == len(members)
        share = np.array(members).sum(axis=1) / len(role) if members else np.zeros(1)
        assert each.members == pytest.approx(share.sum())
        assert each.largest == pytest.approx(share.max())
        if each.chance is None:
            assert "core" not in role
        elif each.largest <= 0.5:
            weight = max(0, 1 - 2 * each.chance)
            bits = literal_bits(members, np.concatenate(vectors))
            assert each.score == pytest.approx(weight * bits, abs=1e-6)
        assert (each.chance is None) == (not members)


@pytest.mark.parametrize("seed", range(3))
def test_no_eps_is_chosen_where_participants_have_nothing_in_common(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Few directions have any variance, so that a given radius finds clusters in chance.
    variances = np.exp(-np.arange(64) / 15)
    vectors = [rng.normal(size=(300, 64)) * np.sqrt(variances) for _ in range(4)]
    assert len(cluster(vectors, ClusterConfig(eps=0.5)).centroids) > 5
    found = cluster(vectors, CHOSEN)
    assert (found.eps, found.centroids.shape) == (None, (0, 64))
    assert [each.score for each in found.curve] == [0] * len(GRID)
    assert all(own.shape == (0, 300) for own in found.members)
    assert all((own == Role.OUTLIER).all() for own in found.role)
    # One participant's dense blob does not change that.
    vectors[2] = np.concatenate([vectors[2], around(unit(rng.normal(size=64)), 200, 0.3, rng)])
    assert cluster(vectors, CHOSEN).eps is None


def test_the_mean_of_noisy_decoders_has_clusters_that_each_alone_lacks() -> None:
    rng = np.random.default_rng(0)
    directions = unit(rng.normal(size=(2, 256)))
    signal = np.repeat(directions, 15, axis=0)
    seeds = [
        [
            10.0**draw * np.concatenate([signal, np.zeros((30, 256))])
            + 10.0**draw * 1.5 * unit(rng.normal(size=(60, 256)))
            for draw in range(2)
        ]
        for _ in range(4)
    ]
    config = ClusterConfig(eps=0.5)
    for draw in range(2):
        assert len(cluster([own[draw] for own in seeds], config).centroids) == 0
    found = cluster([mean_weights(own) for own in seeds], config)
    assert len(found.centroids) == 2
    assert ((found.centroids @ directions.T).max(axis=1) > 0.95).all()
    which = (found.centroids @ directions.T).argmax(axis=1)
    for own in found.members:
        for row, group in zip(own[:, :30], which, strict=True):
            assert row[np.arange(30) // 15 == group].mean() > 0.6
            assert not row[np.arange(30) // 15 != group].any()
        assert not own[:, 30:].any()


def test_decoders_count_alike_whatever_their_scale() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 7, 5)).astype(np.float32)
    mean = mean_weights([one, other])
    norm = np.linalg.norm
    np.testing.assert_allclose(mean, (one / norm(one) + other / norm(other)) / 2, rtol=1e-6)
    np.testing.assert_allclose(mean_weights([one, 1024 * other]), mean, rtol=1e-12)
    # Within a decoder, voxels keep their lengths.
    assert mean_weights([one, one])[3] / mean_weights([one, one])[0, 0] == pytest.approx(
        one[3] / one[0, 0]
    )
    assert mean_weights([one]) is one
    np.testing.assert_allclose(mean_weights([one, 0 * one]), one / norm(one) / 2, rtol=1e-6)
    with pytest.raises(ValueError, match=r"must have one shape, not \[\(7, 5\), \(6, 5\)\]"):
        mean_weights([one, other[:6]])
    with pytest.raises(ValueError, match=r"must have one shape, not \[\]"):
        mean_weights([])


def mixed(seed: int) -> list[np.ndarray]:
    """Vectors of low dimension: many clusters, borders and expansions."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(60, 5)) for _ in range(5)]


def same(a: VoxelClusters, b: VoxelClusters) -> bool:
    return (
        all(np.array_equal(x, y) for x, y in zip(a.members, b.members, strict=True))
        and all(np.array_equal(x, y) for x, y in zip(a.role, b.role, strict=True))
        and np.array_equal(a.centroids, b.centroids)
        and (a.eps, a.curve) == (b.eps, b.curve)
    )


def test_blocks_do_not_change_the_result() -> None:
    config = ClusterConfig(eps=0.1)
    whole = cluster(mixed(0), config)
    roles = set(np.concatenate(whole.role).tolist())
    assert roles == set(Role)
    assert len(whole.centroids) > 3
    # Another cluster can take as its border the neighbours that made a point core.
    assert cluster(mixed(1), config).participants.min() < 1 + config.min_neighbours
    vectors = planted(seed=3)[0]
    chosen = cluster(vectors, CHOSEN)
    assert chosen.eps is not None
    for block in (1, 7, 64):
        assert same(cluster(mixed(0), config, block=block), whole)
    for block in (7, 64):
        assert same(cluster(vectors, CHOSEN, block=block), chosen)


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
    for each in (config, CHOSEN):
        assert same(cluster_voxels(mixed(0), each, device="cuda"), cluster(mixed(0), each))


def test_progress_is_told_to_the_end() -> None:
    steps: list[tuple[int, int]] = []
    cluster(mixed(0), on_progress=lambda done, total, _: steps.append((done, total)))
    assert steps == [(done, 10 + 1 + 5) for done in range(1, 17)]
    steps.clear()
    cluster(mixed(0), CHOSEN, on_progress=lambda done, total, _: steps.append((done, total)))
    total = 10 + 3 * 10 + len(GRID) + 5
    assert steps == [(done, total) for done in range(1, total + 1)]


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
        ({"noise_ceiling": -1.0}, r"noise_ceiling must be a percentage in \[0, 100\)"),
        ({"noise_ceiling": 100.0}, r"noise_ceiling must be a percentage in \[0, 100\)"),
        ({"noise_ceiling": float("nan")}, "noise_ceiling must be a percentage"),
        (
            {"vectors": "filters"},
            r"vectors must be one of \('weights', 'patterns'\), not 'filters'",
        ),
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
    with pytest.raises(ValueError, match="participant 2 of 4 has no usable voxel"):
        cluster(good, usable=[np.arange(5) >= 5 * (who == 1) for who in range(4)])
    with pytest.raises(ValueError, match=r"usable voxels of shapes \[.*\] do not fit vectors of"):
        cluster(good, usable=[np.ones(5, dtype=bool)] * 3)
    with pytest.raises(ValueError, match=r"usable voxels of shapes \[.*\(4,\)\] do not fit"):
        cluster(good, usable=[np.ones(5 - (who == 3), dtype=bool) for who in range(4)])
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        cluster(good, block=0)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        cluster_voxels(good, PUBLISHED, device="gpu")


def test_a_cluster_whose_vectors_cancel_out_is_refused() -> None:
    ring = line(*range(0, 360, 36))
    with pytest.raises(ValueError, match=r"1 clusters cancel out.* use an eps below 0\.5"):
        cluster([ring] * 4, ClusterConfig(eps=0.5))


@pytest.mark.parametrize("overlapping", [True, False])
def test_the_order_of_participants_and_voxels_changes_nothing(overlapping: bool) -> None:
    vectors, rng = mixed(0), np.random.default_rng(0)
    config = ClusterConfig(eps=0.1, overlapping=overlapping)
    whole = cluster(vectors, config)
    for order in itertools.islice(itertools.permutations(range(5)), 0, 120, 17):
        shuffled = [rng.permutation(60) for _ in order]
        found = cluster([vectors[who][s] for who, s in zip(order, shuffled, strict=True)], config)
        assert len(found.centroids) == len(whole.centroids)
        # The leaves may be listed from the other side.
        partner = (whole.centroids @ found.centroids.T).argmax(axis=1)
        for place, (who, voxels) in enumerate(zip(order, shuffled, strict=True)):
            assert np.array_equal(found.members[place][partner], whole.members[who][:, voxels])
            assert np.array_equal(found.role[place], whole.role[who][voxels])

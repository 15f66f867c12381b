from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from flows.science.network import NetworkConfig, compare_pairs, overlap_test


def literal_tail(both: int, a: int, b: int, voxels: int) -> float:
    """P(X >= both), counted out in whole numbers."""
    ways = sum(comb(a, k) * comb(voxels - a, b - k) for k in range(both, min(a, b) + 1))
    return float(Fraction(ways, comb(voxels, b)))


def random_masks(count: int, voxels: int, seed: int) -> np.ndarray:
    """Masks of all sizes from none to all voxels, each at random."""
    rng = np.random.default_rng(seed)
    return rng.random((count, voxels)) < np.linspace(0, 1, count)[:, None]


@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_those_of_a_literal_comparison(seed: int) -> None:
    rng = np.random.default_rng(seed)
    members = random_masks(9, 40, seed)
    components = rng.normal(size=(9, 5)) * rng.uniform(0.1, 10, (9, 1))
    pairs = compare_pairs(components.astype(np.float32), members)
    found = zip(pairs.first, pairs.second, pairs.dice, pairs.p, pairs.cosine, strict=True)
    expected = [(a, b) for a in range(9) for b in range(a + 1, 9)]
    for (a, b), (first, second, dice, p, cosine) in zip(expected, found, strict=True):
        assert (first, second) == (a, b)
        one, other = set(np.flatnonzero(members[a])), set(np.flatnonzero(members[b]))
        both = len(one & other)
        assert dice == pytest.approx(2 * both / (len(one) + len(other)))
        if one and other:
            assert p == pytest.approx(literal_tail(both, len(one), len(other), 40))
        else:
            assert np.isnan(p)
        length = np.linalg.norm(components[a]) * np.linalg.norm(components[b])
        assert cosine == pytest.approx(components[a] @ components[b] / length, abs=1e-6)


def test_q_are_over_the_pairs_that_could_be_tested() -> None:
    members = random_masks(6, 50, 1)
    pairs = compare_pairs(np.eye(6), members)
    tested = ~np.isnan(pairs.p)
    assert tested.sum() == 10
    assert np.isnan(pairs.q[~tested]).all()
    p = np.sort(pairs.p[tested])
    literal = [min(p[j] * 10 / (j + 1) for j in range(i, 10)) for i in range(10)]
    assert np.sort(pairs.q[tested]) == pytest.approx(literal)


@given(st.integers(1, 2000), st.data())
def test_the_tail_is_that_of_the_hypergeometric_distribution(
    voxels: int, data: st.DataObject
) -> None:
    a, b = (data.draw(st.integers(1, voxels)) for _ in range(2))
    both = data.draw(st.integers(max(0, a + b - voxels), min(a, b)))
    (p,) = overlap_test(np.array([both]), np.array([a]), np.array([b]), voxels)
    assert p <= 1
    assert p == pytest.approx(max(hypergeom.sf(both - 1, voxels, a, b), 2.3e-308), rel=1e-6)


def test_an_overlap_beyond_what_floats_hold_keeps_a_p() -> None:
    (p,) = overlap_test(np.array([900]), np.array([900]), np.array([900]), 20_000)
    assert 0 < p < 1e-300


def test_groups_of_overlapping_masks_are_linked_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    members = np.zeros((10, 2000), dtype=bool)
    for index in range(10):
        # Two groups, each with a stretch of its own that every mask has most of.
        start = 300 if index < 5 else 1200
        members[index, start : start + 100] = rng.random(100) < 0.7
        members[index] |= rng.random(2000) < 0.01
    pairs = compare_pairs(rng.normal(size=(10, 512)), members)
    same = (pairs.first < 5) == (pairs.second < 5)
    assert (pairs.linked(0.05, 0.5) == same).all()
    assert pairs.weight[same].min() > 2 * pairs.weight[~same].max()


def test_near_directions_are_linked_wherever_their_masks_lie() -> None:
    members = np.zeros((3, 90), dtype=bool)
    for index in range(3):
        members[index, 30 * index : 30 * (index + 1)] = True
    pairs = compare_pairs(np.array([[1.0, 0], [0.6, 0.8], [-1, 0]]), members)
    assert pairs.cosine == pytest.approx([0.6, -1, -0.6])
    assert pairs.linked(0.05, 0.6 - 1e-9).tolist() == [True, False, False]
    assert pairs.linked(0.05, 0.61).tolist() == [False, False, False]
    # An opposite direction is no negative weight.
    assert pairs.weight == pytest.approx([0.3, 0, 0])


def test_masks_of_random_voxels_are_rarely_linked() -> None:
    rng = np.random.default_rng(2)
    below, linked, families = [], 0, 40
    for _ in range(families):
        members = rng.random((16, 3000)) < rng.uniform(0.02, 0.3, (16, 1))
        pairs = compare_pairs(rng.normal(size=(16, 512)), members)
        below.append((pairs.p < 0.05).mean())
        linked += pairs.linked(0.05, 0.5).any()
    # Counts are whole, so that p keep a little below their level.
    assert 0.02 < np.mean(below) < 0.055
    assert linked <= 0.05 * families + 3 * np.sqrt(0.05 * families)


def test_an_empty_mask_overlaps_with_nothing() -> None:
    members = np.zeros((3, 20), dtype=bool)
    members[0, :5] = True
    pairs = compare_pairs(np.eye(3), members)
    assert pairs.dice.tolist() == [0, 0, 0]
    assert np.isnan(pairs.p).all()
    assert not pairs.linked(0.05, 0.5).any()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_components_make_no_pair(count: int) -> None:
    pairs = compare_pairs(np.ones((count, 4)), np.ones((count, 20), dtype=bool))
    assert len(pairs.first) == len(pairs.q) == len(pairs.weight) == 0
    assert pairs.linked(0.05, 0.5).shape == (0,)


def test_bad_input_is_refused() -> None:
    members = np.ones((2, 20), dtype=bool)
    with pytest.raises(ValueError, match="must be"):
        compare_pairs(np.ones((3, 4)), members)
    with pytest.raises(ValueError, match="must be"):
        compare_pairs(np.ones((2, 4)), members[0])
    with pytest.raises(ValueError, match="not finite"):
        compare_pairs(np.array([[1, np.nan], [1, 1]]), members)
    with pytest.raises(ValueError, match="length 0"):
        compare_pairs(np.array([[0.0, 0], [1, 1]]), members)
    for cosine in (0, -0.5, 1.1, np.nan):
        with pytest.raises(ValueError, match="cosine must lie in"):
            NetworkConfig(cosine=cosine)

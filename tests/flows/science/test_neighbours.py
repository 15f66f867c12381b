from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.science.neighbours import (
    NONE,
    label_within,
    labels_within,
    nearest,
    pieces,
    unit_rows,
    within,
)


def points(count: int, dimension: int, seed: int) -> torch.Tensor:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return torch.from_numpy(unit_rows("vectors", vectors))


def test_products_of_unit_rows_are_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    rows = unit_rows("vectors", rng.normal(size=(8, 512)) * 10.0 ** rng.integers(-9, 9, (8, 1)))
    product = rows @ rows.T
    for a in range(8):
        for b in range(8):
            pairs = zip(rows[a].tolist(), rows[b].tolist(), strict=True)
            assert Fraction(product[a, b]) == sum(Fraction(x) * Fraction(y) for x, y in pairs)
    for order in (rng.permutation(512) for _ in range(5)):
        assert np.array_equal(rows[:, order] @ rows[:, order].T, product)


def test_unit_rows_keep_their_cosines() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 512))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = unit_rows("vectors", vectors)
    assert np.abs(rows @ rows.T - unit @ unit.T).max() < 1e-7
    assert np.array_equal(unit_rows("vectors", 4 * vectors), rows)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones(3), r"voxels must be an \(M, D\) array of M, D >= 1, not \(3,\)"),
        (np.ones((0, 3)), r"not \(0, 3\)"),
        (np.ones((3, 0)), r"not \(3, 0\)"),
        (np.array([[1, 2], [0, 0], [np.nan, 1], [1, -np.inf]]), "voxels hold 3 of 4 rows"),
    ],
)
def test_rows_without_direction_are_refused(vectors: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unit_rows("voxels", vectors)


def test_the_caller_keeps_its_vectors() -> None:
    vectors = np.full((2, 2), 3.0)
    unit_rows("vectors", vectors)
    assert (vectors == 3).all()


@pytest.mark.parametrize(("left", "right", "block"), [(7, 11, 3), (1, 40, 5), (3, 2, 8), (4, 0, 2)])
def test_pieces_cover_every_pair_once_and_stay_small(left: int, right: int, block: int) -> None:
    a, b = points(left, 6, seed=0), points(right, 6, seed=1) if right else torch.empty(0, 6)
    whole = torch.full((left, right), torch.nan, dtype=torch.float64)
    for rows, columns, cosine in pieces(a, b, block):
        assert cosine.numel() <= block * block
        assert whole[rows, columns].isnan().all()
        whole[rows, columns] = cosine
    assert torch.equal(whole, a @ b.T.to(a))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), block=st.integers(1, 20), threshold=st.floats(-0.5, 0.9))
def test_searches_match_the_whole_table(seed: int, block: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    left, right = points(12, 3, seed), points(15, 3, seed + 1)
    # The same point several times, so that several are nearest.
    right[10:] = right[rng.integers(0, 10, 5)]
    label = rng.integers(0, 4, 15)
    near = (left @ right.T >= threshold).numpy()
    cosine = (left @ right.T).numpy()

    of_left, of_right = within(left, right, threshold, block)
    assert np.array_equal(of_left, near.any(axis=1))
    assert np.array_equal(of_right, near.any(axis=0))

    best_left, best_right = nearest(left, right, block)
    assert np.array_equal(best_left, cosine.max(axis=1))
    assert np.array_equal(best_right, cosine.max(axis=0))

    every = labels_within(left, right, label, threshold, block, 5)
    assert every.tolist() == [
        [bool(near[point, label == number].any()) for point in range(12)] for number in range(5)
    ]

    for only_nearest in (False, True):
        found = label_within(
            left, right, torch.from_numpy(label), threshold, block, nearest=only_nearest
        )
        for point in range(12):
            can = near[point]
            if only_nearest:
                can = can & (cosine[point] == cosine[point].max())
            assert found[point] == (label[can].min() if can.any() else NONE)


def test_nothing_is_near_no_one() -> None:
    some, none = points(3, 4, seed=0), torch.empty(0, 4, dtype=torch.float64)
    assert not within(some, none, 0.0, 8)[0].any()
    labels = torch.empty(0, dtype=torch.int64)
    assert label_within(some, none, labels, 0.0, 8, nearest=True).tolist() == [NONE] * 3
    assert label_within(none, some, labels, 0.0, 8, nearest=False).shape == (0,)
    assert nearest(some, none, 8)[0].tolist() == [-np.inf] * 3
    assert nearest(some, none, 8)[1].shape == (0,)
    assert not labels_within(some, none, np.empty(0, dtype=np.int64), 0.0, 8, 2).any()
    assert labels_within(none, some, np.zeros(3, dtype=np.int64), 0.0, 8, 2).shape == (2, 0)

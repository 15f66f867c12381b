import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.science.metrics import dice
from flows.science.stability import (
    NO_PARTNER,
    cosines,
    mean_known,
    of_others,
    of_partners,
    overlaps,
)

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(0, 5), st.integers(1, 5), st.integers(1, 20))
def test_overlaps_are_the_dice_of_each_pair(seed: int, k: int, other: int, voxels: int) -> None:
    rng = np.random.default_rng(seed)
    own, others = rng.random((k, voxels)) < 0.3, rng.random((other, voxels)) < 0.3
    found = overlaps(own, others)
    assert found.shape == (k, other)
    for a in range(k):
        for b in range(other):
            measured = own[a].any() and others[b].any()
            expected = dice(own[a], others[b]) if measured else np.nan
            assert found[a, b] == pytest.approx(expected, nan_ok=True)


@given(SEEDS, st.integers(0, 5), st.integers(1, 5))
def test_cosines_are_correlations_of_scores(seed: int, k: int, other: int) -> None:
    rng = np.random.default_rng(seed)
    own, others = 9 * rng.normal(size=(k, 7)), rng.normal(size=(other, 7)).astype(np.float32)
    vectors = 0.3 + rng.normal(size=(12, 7)) * np.linspace(0.1, 2, 7)
    # The same stimulus shown twice changes nothing.
    found = cosines(own, others, np.concatenate([vectors, vectors[:5]]))
    assert found.shape == (k, other)
    for a in range(k):
        for b in range(other):
            expected = np.corrcoef(vectors @ own[a], vectors @ others[b])[0, 1]
            assert found[a, b] == pytest.approx(expected, abs=1e-6)


def test_dimensions_in_which_stimuli_do_not_differ_are_no_part_of_a_cosine() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(40, 3)), np.full((40, 3), 0.7)], axis=1)
    rows = np.concatenate([np.eye(3), 5 * rng.normal(size=(3, 3))], axis=1)
    again = np.concatenate([np.eye(3), 5 * rng.normal(size=(3, 3))], axis=1)
    assert np.diag(cosines(rows, again, vectors)) == pytest.approx(np.ones(3))
    # A direction of these dimensions alone says the same of all stimuli.
    assert not cosines(np.eye(6)[3:], rows, vectors).any()


def test_no_cosine_passes_one() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    assert np.abs(cosines(rows, rows, rows)).max() == 1


def test_what_cannot_be_compared_is_refused() -> None:
    rows = np.eye(3)
    with pytest.raises(ValueError, match="do not share their dimension"):
        cosines(rows, np.eye(4), rows)
    with pytest.raises(ValueError, match="do not share their dimension"):
        cosines(rows, rows, np.eye(4))
    with pytest.raises(ValueError, match="not finite"):
        cosines(rows * np.nan, rows, rows)
    with pytest.raises(ValueError, match="not finite"):
        cosines(rows, rows, np.where(rows > 0, np.inf, 0))
    with pytest.raises(ValueError, match="do not share their voxels"):
        overlaps(np.ones((1, 3), dtype=bool), np.ones((1, 4), dtype=bool))


def test_values_at_partners_and_at_all_others() -> None:
    table = np.array([[1.0, 2, 3], [4, np.nan, 6], [7, 8, np.nan], [0, 2, 4]])
    partner = np.array([2, 0, 1, NO_PARTNER])
    np.testing.assert_array_equal(of_partners(table, partner), [3, 4, 8, np.nan])
    np.testing.assert_array_equal(of_others(table, partner), [1.5, 6, 7, 2])
    np.testing.assert_array_equal(of_others(table[:, :1], np.array([0, 0, 0, 0])), [np.nan] * 4)
    assert np.isnan(of_partners(np.empty((2, 0)), np.array([NO_PARTNER] * 2))).all()


def test_a_mean_of_nothing_is_not_known() -> None:
    values = np.array([[[1.0, np.nan], [3, np.nan]], [[np.nan, np.nan], [5, np.nan]]])
    np.testing.assert_array_equal(mean_known(values, (0, 1)), [3, np.nan])
    assert mean_known(values) == 3
    assert np.isnan(mean_known(np.array([])))

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flows.science.metrics import auc, average_ranks, dice, pearson, top_k

RNG = np.random.default_rng(0)


def test_top_k_equals_the_literal_count() -> None:
    predicted, pool = RNG.standard_normal((40, 5)), RNG.standard_normal((12, 5))
    target = RNG.integers(0, 12, 40)
    hits = dict.fromkeys((1, 3, 12), 0)
    for query, own in zip(predicted, target, strict=True):
        cosines = [query @ p / np.linalg.norm(query) / np.linalg.norm(p) for p in pool]
        rank = sum(c > cosines[own] for c in cosines)
        for k in hits:
            hits[k] += rank < k
    assert top_k(predicted, pool, target, ks=(1, 3, 12)) == {
        k: pytest.approx(count / 40) for k, count in hits.items()
    }
    assert hits[12] == 40


def test_top_k_over_more_queries_than_a_block() -> None:
    pool = RNG.standard_normal((30, 8))
    target = RNG.integers(0, 30, 2500)
    assert top_k(3 * pool[target], pool, target, ks=(1,)) == {1: 1.0}
    assert top_k(-pool[target], pool, target, ks=(29, 30)) == {29: 0.0, 30: 1.0}


@pytest.mark.parametrize("value", [1.0, 0.0, np.nan, np.inf])
def test_a_constant_prediction_is_at_chance(value: float) -> None:
    pool = RNG.standard_normal((50, 6)).astype(np.float32)
    target = np.arange(50)
    scores = top_k(np.full((50, 6), value, dtype=np.float32), pool, target, ks=(1, 5, 50, 100))
    assert scores == {1: pytest.approx(0.02), 5: pytest.approx(0.1), 50: 1.0, 100: 1.0}


def test_equal_images_share_a_hit() -> None:
    pool = RNG.standard_normal((9, 7))
    pool[4] = 2.5 * pool[3]
    scores = top_k(pool[[3, 4]], pool, np.array([3, 4]), ks=(1, 2))
    assert scores == {1: pytest.approx(0.5), 2: 1.0}


@pytest.mark.parametrize(
    ("predicted", "pool", "target", "ks", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 2)), [0, 1], (1,), "do not share their dimension"),
        (np.ones((2, 3)), np.ones((4, 3)), [0], (1,), "2 predictions for 1 targets"),
        (np.ones((0, 3)), np.ones((4, 3)), [], (1,), "0 predictions for 0 targets"),
        (np.ones((2, 3)), np.ones((4, 3)), [0, 4], (1,), "outside the pool of 4"),
        (np.ones((2, 3)), np.ones((4, 3)), [0, -1], (1,), "outside the pool of 4"),
        (np.ones((2, 3)), np.ones((4, 3)), [0, 1], (0,), "k must be at least 1"),
        (np.ones((2, 3)), np.ones((4, 3)), [0, 1], (), "k must be at least 1"),
    ],
)
def test_top_k_refuses(predicted, pool, target, ks, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        top_k(predicted, pool, np.array(target, dtype=int), ks=ks)


def test_pearson_equals_scipy_and_broadcasts() -> None:
    a, b = RNG.standard_normal((30, 4)), RNG.standard_normal((30, 4)) + 1e4
    expected = [scipy.stats.pearsonr(a[:, i], b[:, i]).statistic for i in range(4)]
    np.testing.assert_allclose(pearson(a, b), expected, atol=1e-9)
    np.testing.assert_allclose(pearson(a.T, b.T, axis=1), expected, atol=1e-9)
    np.testing.assert_allclose(pearson(a[:, :1], b)[0], expected[0], atol=1e-9)
    assert pearson(a[:, 0], -a[:, 0]) == pytest.approx(-1)


def test_pearson_of_a_constant_is_undefined() -> None:
    a = RNG.standard_normal((15, 3))
    b = a.copy()
    b[:, 1] = 0.3
    b[0, 2] = np.nan
    result = pearson(a, b)
    assert result[0] == pytest.approx(1)
    assert np.isnan(result[1:]).all()


def literal_auc(scores: np.ndarray, member: np.ndarray) -> float:
    pairs = [
        1.0 if inside > outside else 0.5 if inside == outside else 0.0
        for inside in scores[member]
        for outside in scores[~member]
    ]
    return float(np.mean(pairs)) if pairs else float("nan")


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(-2, 2)
    ),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_auc_equals_the_count_of_pairs(scores: np.ndarray, data: st.DataObject) -> None:
    member = data.draw(hnp.arrays(bool, len(scores)))
    expected = [literal_auc(column, member) for column in scores.T]
    np.testing.assert_allclose(auc(scores, member), expected, atol=1e-12)


def test_average_ranks_equal_scipy() -> None:
    scores = RNG.integers(0, 9, (40, 3)).astype(float)
    np.testing.assert_array_equal(average_ranks(scores), scipy.stats.rankdata(scores, axis=0))


def test_auc_of_nan_and_of_wrong_shapes() -> None:
    scores = np.array([[1.0, np.nan], [0.0, 2.0]])
    np.testing.assert_array_equal(auc(scores, np.array([True, False])), [1.0, np.nan])
    with pytest.raises(ValueError, match=r"\(2, 2\) do not match members \(3,\)"):
        auc(scores, np.ones(3, dtype=bool))


def test_dice() -> None:
    a, b = np.array([1, 1, 0, 0], dtype=bool), np.array([1, 0, 1, 0], dtype=bool)
    assert dice(a, a) == 1
    assert dice(a, ~a) == 0
    assert dice(a, b) == 0.5
    assert dice(a, [True, False, False, False]) == pytest.approx(2 / 3)
    assert np.isnan(dice(np.zeros(4), np.zeros(4)))
    with pytest.raises(ValueError, match=r"\(4,\) and \(3,\) do not compare"):
        dice(a, a[:3])

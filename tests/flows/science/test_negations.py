import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.science.negations import least_similar


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 20))
def test_matches_a_full_sort_of_cosines(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, components = rng.normal(size=(20, 6)), rng.normal(size=(4, 6))
    index, cosine = least_similar(vectors, components, count)
    for component in range(4):
        expected = [
            float(v @ components[component] / np.linalg.norm(v)) for v in vectors
        ] / np.linalg.norm(components[component])
        order = np.argsort(expected)[:count]
        assert index[component].tolist() == order.tolist()
        assert cosine[component] == pytest.approx(expected[order], abs=1e-7)


def test_the_planted_opposite_comes_first() -> None:
    rng = np.random.default_rng(0)
    components = rng.normal(size=(3, 64)).astype(np.float32)
    words = rng.normal(size=(500, 64)).astype(np.float32)
    words[[70, 7, 300]] = -components * [[2.0], [0.1], [9.0]]
    index, cosine = least_similar(words, components, 2)
    assert index[:, 0].tolist() == [70, 7, 300]
    assert cosine[:, 0] == pytest.approx(-1, abs=1e-6)
    assert (cosine[:, 1] > -0.7).all()


def test_of_equal_vectors_the_first_comes_first() -> None:
    rng = np.random.default_rng(0)
    distinct = rng.normal(size=(40, 512)).astype(np.float32)
    which = rng.integers(0, 40, 1000)
    index, _ = least_similar(distinct[which], rng.normal(size=(5, 512)), 1000)
    for row in index:
        for vector in range(40):
            assert (np.diff(row[which[row] == vector]) > 0).all()
        assert (np.diff(which[row]) != 0).sum() == len(set(which.tolist())) - 1


def test_no_component_has_no_negations() -> None:
    index, cosine = least_similar(np.ones((3, 2)), np.empty((0, 2)), 2)
    assert index.shape == cosine.shape == (0, 2)


@pytest.mark.parametrize(
    ("vectors", "components", "count", "message"),
    [
        (np.ones((3, 2)), np.ones((1, 3)), 1, "do not share their dimension"),
        (np.ones((3, 2)), np.ones(2), 1, "do not share their dimension"),
        (np.ones((3, 2)), np.ones((1, 2)), 0, "between 1 and the 3 vectors, not 0"),
        (np.ones((3, 2)), np.ones((1, 2)), 4, "between 1 and the 3 vectors, not 4"),
        (np.zeros((3, 2)), np.ones((1, 2)), 1, "vectors hold 3 of 3 rows that are zero"),
        (np.ones((3, 2)), np.full((1, 2), np.nan), 1, "components hold 1 of 1 rows"),
    ],
)
def test_bad_input_is_refused(
    vectors: np.ndarray, components: np.ndarray, count: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        least_similar(vectors, components, count)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import leaves_list, linkage

from flows.science.clustering import average_linkage, leaf_order


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 40), dimension=st.integers(2, 12))
def test_is_the_dendrogram_order_of_scipy(seed: int, count: int, dimension: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension + 2))
    expected = leaves_list(linkage(vectors, "average", "cosine"))
    assert leaf_order(vectors).tolist() == expected.tolist()


def test_groups_stand_together_whatever_their_length() -> None:
    rng = np.random.default_rng(0)
    group = np.tile(np.arange(4), 5)
    vectors = np.eye(4)[group] + 0.1 * rng.normal(size=(20, 4))
    ordered = group[leaf_order(vectors * rng.uniform(0.1, 10, size=(20, 1)))]
    assert (np.diff(ordered) != 0).sum() == 3


def test_one_row_and_equal_rows_are_ordered() -> None:
    assert leaf_order(np.ones((1, 3))).tolist() == [0]
    assert sorted(leaf_order(np.ones((5, 3)))) == list(range(5))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((0, 3)), "K >= 1"),
        (np.array([[1.0, 0], [0, 0]]), "finite and of non-zero length"),
        (np.array([[1.0, 0], [np.nan, 1]]), "finite and of non-zero length"),
    ],
)
def test_rows_without_direction_are_refused(vectors: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        leaf_order(vectors)


def test_average_linkage_is_scipys() -> None:
    from scipy.cluster.hierarchy import fcluster, linkage

    rng = np.random.default_rng(3)
    centres = rng.normal(size=(5, 12))
    vectors = np.repeat(centres, 6, axis=0) + 0.4 * rng.normal(size=(30, 12))
    literal = fcluster(linkage(vectors, "average", metric="cosine"), 7, "maxclust")
    found = average_linkage(vectors, 7)
    same = literal[:, None] == literal[None, :]
    np.testing.assert_array_equal(found[:, None] == found[None, :], same)

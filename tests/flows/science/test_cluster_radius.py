import numpy as np
import pytest

from flows.science.cluster_radius import GRID, RadiusScore, best_radius, score_radius, unrelate
from flows.science.neighbours import unit_rows


def test_the_grid_has_the_papers_range() -> None:
    assert (GRID[0], GRID[-1]) == (0.1, 0.7)
    assert set(np.diff(GRID).round(6)) == {0.025}
    assert {0.45, 0.5, 0.55, 0.6, 0.65, 0.7} <= set(GRID)


def scored(
    *size: int,
    centroids: np.ndarray | None = None,
    points: int = 64,
    cores: int = 100,
    reference: float = -1.0,
) -> RadiusScore:
    """A score where nothing is chance and clusters are unlike, unless something is said."""
    centroids = np.eye(5)[: len(size)] if centroids is None else centroids
    return score_radius(0.5, np.array(size, dtype=np.int64), centroids, points, cores, reference)


def test_the_score_is_the_bits_that_clusters_tell() -> None:
    # Four labels of a quarter each, one of which is none.
    assert scored(16, 16, 16).score == pytest.approx(2)
    assert scored(16, 16, 16) == RadiusScore(0.5, 3, 0.75, 0.25, 0.0, 2.0)
    assert scored(32, 32).score == pytest.approx(1)
    assert scored(32).score == pytest.approx(1)
    # Nothing is told where there is no cluster, or one of all.
    assert scored().score == 0
    assert scored(64).score == 0
    # A merger tells less, a further cluster more, and a larger one.
    assert scored(16, 16, 16).score > scored(32, 16).score > scored(16, 15).score
    assert scored(2, 16, 16).score > scored(16, 16).score
    assert scored(17, 16, 10).score > scored(16, 16, 10).score


def test_a_cluster_that_is_split_tells_no_more() -> None:
    halves = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert scored(8, 8, 16, centroids=halves).score == pytest.approx(scored(16, 16).score)
    assert scored(8, 8, 16).score > scored(16, 16).score
    # The likelier two centroids are, the less both tell; those opposed are as good as unlike.
    at = [np.array([[1, 0], [np.cos(angle), np.sin(angle)]]) for angle in (0.3, 1.0, 1.5, 2.5)]
    scores = [scored(16, 16, centroids=each).score for each in at]
    assert scores[0] < scores[1] < scores[2] < scores[3] == scored(16, 16).score
    # Shares 1/4, 1/4, and 1/2 in none: each of the first is like 1/4 + cos(1)/4 of the points.
    expected = 0.5 - 0.5 * np.log2(0.25 * (1 + np.cos(1.0)))
    assert scores[1] == pytest.approx(expected)
    # One whose points cancel out is like itself alone.
    assert scored(16, 16, centroids=np.array([[1.0, 0], [0, 0]])).score == scores[3]


def test_more_than_half_in_one_cluster_is_no_choice() -> None:
    assert scored(32, 8).score > 0
    assert scored(33, 8).score == 0
    assert scored(33, 8).largest == 33 / 64


def test_what_is_chance_counts_against_the_score() -> None:
    whole = scored(16, 16, 16).score
    for reference, chance in [(0, 0.01), (9, 0.1), (24, 0.25), (48, 0.49)]:
        found = scored(16, 16, 16, reference=reference)
        assert found.chance == pytest.approx(chance)
        assert found.score == pytest.approx(whole * (1 - 2 * chance))
    assert scored(16, 16, 16, reference=49).score == 0
    assert scored(16, 16, 16, reference=400).chance == 1
    # Two core points are not above chance, though the reference had none.
    assert scored(4, cores=2, reference=0).score == 0
    assert scored(4, cores=3, reference=0).score > 0
    assert scored(cores=0, reference=0).chance is None
    assert scored(cores=0, reference=3).score == 0


def test_the_best_radius_is_the_smallest_of_the_highest_score() -> None:
    curve = [RadiusScore(eps, 2, 0.2, 0.1, 0.0, score) for eps, score in enumerate([0, 1, 2, 2, 1])]
    assert best_radius(curve) is curve[2]
    assert best_radius(curve[:1]) is None
    assert best_radius([]) is None


def cohort(seed: int, participants: int, voxels: int) -> tuple[np.ndarray, list[slice]]:
    """Participants who have nothing in common but that few directions have any variance."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(participants * voxels, 96)) * np.exp(-np.arange(96) / 30)
    parts = [slice(who * voxels, (who + 1) * voxels) for who in range(participants)]
    return unit_rows("vectors", vectors), parts


def nearest(points: np.ndarray, parts: list[slice]) -> np.ndarray:
    """Each point's cosine with the nearest point of any other participant."""
    cosine = points @ points.T
    for part in parts:
        cosine[part, part] = -1
    return cosine.max(axis=1)


def test_turning_keeps_what_is_within_participants() -> None:
    points, parts = cohort(0, 3, 50)
    turned = unrelate(points, parts, np.random.default_rng(0))
    assert np.array_equal(turned, unit_rows("turned", turned))
    for part in parts:
        assert np.abs(turned[part] @ turned[part].T - points[part] @ points[part].T).max() < 1e-6
    again = unrelate(points, parts, np.random.default_rng(0))
    assert np.array_equal(turned, again)
    assert not np.array_equal(turned, unrelate(points, parts, np.random.default_rng(1)))


def test_turning_keeps_the_variance_of_axes() -> None:
    points, parts = cohort(1, 3, 400)
    turned = unrelate(points, parts, np.random.default_rng(0))
    axes = np.linalg.svd(points)[2]
    before = ((points @ axes.T) ** 2).mean(axis=0).reshape(-1, 8).sum(axis=1)
    after = (turned**2).mean(axis=0).reshape(-1, 8).sum(axis=1)
    np.testing.assert_allclose(after, before, rtol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_unrelated_participants_are_as_near_after_turning(seed: int) -> None:
    points, parts = cohort(seed, 4, 250)
    near = nearest(points, parts)
    turned = np.concatenate(
        [nearest(unrelate(points, parts, np.random.default_rng(draw)), parts) for draw in range(3)]
    )
    for threshold in (0.5, 0.55, 0.6):
        share = (near >= threshold).mean()
        assert 0.05 < share < 0.95
        assert (turned >= threshold).mean() == pytest.approx(share, rel=0.25)
    # Random vectors of as many dimensions would never be near.
    free = np.random.default_rng(seed).normal(size=points.shape)
    assert nearest(unit_rows("free", free), parts).max() < 0.5


def test_participants_who_share_directions_lose_them() -> None:
    rng = np.random.default_rng(0)
    points, parts = cohort(0, 4, 250)
    directions = unit_rows("directions", rng.normal(size=(12, 96)))
    for part in parts:
        points[part][:60] = directions[np.arange(60) % 12] + 0.05 * rng.normal(size=(60, 96))
    points = unit_rows("points", points)
    turned = unrelate(points, parts, np.random.default_rng(0))
    assert (nearest(points, parts) >= 0.7).mean() > 0.2
    assert (nearest(turned, parts) >= 0.7).mean() < 0.03

import numpy as np
import pytest

from flows.science.similarity import Similarity, bin_masks, compare_masks
from tests.flows.science.fields import smooth_maps, voxel_cloud


def compared(first: np.ndarray, second: np.ndarray, *places: np.ndarray) -> Similarity:
    found = compare_masks(bin_masks(first, places[0], 6.0), bin_masks(second, places[-1], 6.0))
    assert found is not None
    return found


def literal_deviation(weights: tuple[np.ndarray, ...], bins: np.ndarray) -> float:
    """By the definition, pair by pair; the maps cover the same bins."""
    lag = {
        (i, j): round(float(np.linalg.norm(bins[i] - bins[j])))
        for i in range(len(bins))
        for j in range(len(bins))
    }
    rho = []
    for values in weights:
        unit = (values - values.mean()) / values.std()
        products: dict[int, list[float]] = {each: [] for each in range(11)}
        for (i, j), each in lag.items():
            if each in products:
                products[each].append(float(unit[i] * unit[j]))
        rho.append({each: np.mean(found) if found else 0 for each, found in products.items()})
    total = sum(rho[0].get(each, 0) * rho[1].get(each, 0) for each in lag.values())
    return float(np.sqrt(max(total / len(bins) ** 2, 1 / len(bins))))


def test_deviation_matches_the_literal_one() -> None:
    rng = np.random.default_rng(0)
    cloud = voxel_cloud(150, rng)
    first, second = smooth_maps(cloud, 3, 12.0, rng), smooth_maps(cloud, 3, 6.0, rng)
    found = compared(first, second, cloud)
    one, other = bin_masks(first, cloud, 6.0), bin_masks(second, cloud, 6.0)
    for i in range(3):
        for j in range(3):
            weights = one.weights[:, i], other.weights[:, j]
            assert found.correlation[i, j] == pytest.approx(np.corrcoef(*weights)[0, 1])
            expected = literal_deviation(weights, one.bins)
            assert found.deviation[i, j] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scales", [(2.0, 2.0), (5.0, 12.0), (12.0, 12.0)])
def test_deviation_is_that_of_unrelated_maps(scales: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    cloud, other = voxel_cloud(800, rng), voxel_cloud(800, rng)
    maps = [smooth_maps(c, 40, s, rng) for c, s in zip((cloud, other), scales, strict=True)]
    found = compared(*maps, cloud, other)
    assert np.sqrt(np.mean(found.deviation**2)) == pytest.approx(found.correlation.std(), rel=0.15)


def test_more_bins_than_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    cloud = voxel_cloud(300, rng)
    maps = smooth_maps(cloud, 2, 8.0, rng)
    whole = compared(maps, maps, cloud)
    monkeypatch.setattr("flows.science.similarity._ROWS", 7)
    parts = compared(maps, maps, cloud)
    assert parts.deviation == pytest.approx(whole.deviation, rel=1e-5)


def test_constant_masks_agree_with_nothing_and_vary_as_white_ones() -> None:
    rng = np.random.default_rng(3)
    cloud = voxel_cloud(300, rng)
    maps = smooth_maps(cloud, 2, 8.0, rng)
    found = compared(np.ones_like(maps), maps, cloud)
    assert (found.correlation == 0).all()
    assert found.deviation == pytest.approx(len(bin_masks(maps, cloud, 6.0).bins) ** -0.5)


def test_brains_with_few_bins_in_common_are_not_compared() -> None:
    cloud = voxel_cloud(300, np.random.default_rng(4))
    maps = np.ones((300, 1))
    first = bin_masks(maps, cloud, 6.0)
    assert compare_masks(first, bin_masks(maps, cloud + 500, 6.0)) is None


def test_far_pairs_of_bins_count_for_nothing() -> None:
    """Two clumps far apart: no distance within a clump reaches the other."""
    rng = np.random.default_rng(5)
    clump = np.stack(np.meshgrid(*[np.arange(3) * 6.0] * 3), axis=-1).reshape(-1, 3)
    values = rng.normal(size=(54, 1))
    near, far = (np.concatenate([clump, clump + np.array([gap, 0, 0])]) for gap in (300.0, 900.0))
    assert compared(values, values, near).deviation == pytest.approx(
        compared(values, values, far).deviation
    )


def test_a_brain_without_common_places_is_not_compared() -> None:
    nowhere = bin_masks(np.ones((30, 2)), np.full((30, 3), np.nan), 6.0)
    assert len(nowhere.bins) == 0
    assert compare_masks(nowhere, nowhere) is None

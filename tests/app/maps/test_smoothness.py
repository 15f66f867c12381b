"""Tests of how smooth a map is said to be."""

import numpy as np
import pytest
from scipy import ndimage

from app.maps.smoothness import Marginal, _variogram, estimate_spectrum, normal_scores

MM = 3.0
PLACES = np.argwhere(np.ones((12, 12, 12))) * MM


def smooth(sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(12, 12, 12))
    return (ndimage.gaussian_filter(noise, sigma, mode="wrap") if sigma else noise).ravel()


def test_variogram_against_a_literal_version() -> None:
    """All pairs of voxels, one by one; distances are those of the cells that they lie in."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 20, (60, 3))
    scores = rng.normal(size=60)
    distance, pairs, variogram = _variogram(scores, places, 2.5)
    cell = np.rint((places - places.min(axis=0)) / 2.5)
    by_ring: dict[int, list[tuple[float, float, float]]] = {}
    for i in range(60):
        for j in range(60):
            lag = float(np.linalg.norm(cell[i] - cell[j]))
            half = (scores[i] - scores[j]) ** 2 / 2
            square = (scores[i] ** 2 + scores[j] ** 2) / 2
            by_ring.setdefault(round(lag), []).append((lag, half, square))
    rings = sorted(by_ring)[1:]
    assert pairs == pytest.approx([len(by_ring[ring]) for ring in rings])
    sums = np.array([np.sum(by_ring[ring], axis=0) for ring in rings])
    assert distance == pytest.approx(sums[:, 0] / pairs)
    assert variogram == pytest.approx(sums[:, 1] / sums[:, 2])


@pytest.mark.parametrize("sigma", [0.0, 1.0, 1.5])
def test_the_correlogram_is_that_of_the_noise(sigma: float) -> None:
    """A Gaussian kernel of s correlates what is d apart by exp(-d^2 / 4 s^2)."""
    steps = np.arange(1, 4)
    told = []
    for seed in range(10):
        spectrum = estimate_spectrum(smooth(sigma, seed), PLACES, MM / 2)
        kernels = np.exp(-0.5 * (2 * steps[:, None] / spectrum.scales) ** 2)
        told.append(kernels @ spectrum.shares)
        assert spectrum.white + spectrum.shares.sum() == pytest.approx(1)
        assert spectrum.shares.min() >= 0
    expected = np.exp(-(steps**2) / (4 * sigma**2)) if sigma else np.zeros(3)
    assert np.mean(told, axis=0) == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize("quantile", [0.5, 0.97])
def test_a_cut_field_s_correlation_is_that_of_a_literal_one(quantile: float) -> None:
    rng = np.random.default_rng(0)
    first, rest = rng.normal(size=(2, 400_000))
    level = np.quantile(first, quantile)
    marginal = Marginal(normal_scores((first[:4000] > level).astype(float)))
    for parent in (0.2, 0.5, 0.9):
        second = parent * first + np.sqrt(1 - parent**2) * rest
        cut = np.corrcoef(
            first > np.quantile(first, quantile), second > np.quantile(second, quantile)
        )
        assert marginal.cut(np.array(parent)) == pytest.approx(cut[0, 1], abs=0.02)
        back = marginal.parent(marginal.cut(np.array(parent)))
        assert back == pytest.approx(parent, abs=0.01)


def test_a_marginal_that_is_gaussian_changes_nothing() -> None:
    marginal = Marginal(normal_scores(np.random.default_rng(0).normal(size=3000)))
    parent = np.linspace(-1, 1, 21)
    assert marginal.cut(np.abs(parent)) == pytest.approx(np.abs(parent), abs=0.01)
    assert marginal.parent(parent) == pytest.approx(parent, abs=0.02)


def test_voxels_that_all_lie_in_one_place_tell_nothing() -> None:
    spectrum = estimate_spectrum(np.arange(12.0), np.zeros((12, 3)), 1.0)
    assert (spectrum.white, spectrum.shares.sum()) == (1, 0)

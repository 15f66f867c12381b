import numpy as np
import pytest

from flows.sources.timeseries import drift_basis, percent_change, window_means

RNG = np.random.default_rng(0)


def literal_percent_change(series: np.ndarray) -> np.ndarray:
    """Line by least squares, voxel by voxel."""
    out = np.empty(series.shape)
    time = np.arange(len(series))
    for voxel in range(series.shape[1]):
        slope, intercept = np.polyfit(time, series[:, voxel], 1)
        mean = series[:, voxel].mean()
        out[:, voxel] = 100 * (series[:, voxel] - slope * time - intercept) / mean
    return out


def test_percent_change_is_the_literal_one() -> None:
    volumes = RNG.normal(1000, 20, (40, 5)) + np.arange(40)[:, None] * RNG.normal(0, 3, 5)
    np.testing.assert_allclose(percent_change(volumes), literal_percent_change(volumes), atol=1e-9)


def test_a_planted_response_survives_drift() -> None:
    """2 % on a baseline of 500 with a drift of 300: the line goes, the response stays."""
    response = np.tile([0.0] * 10 + [2.0] * 10, 6)
    volumes = (500 * (1 + response / 100) + np.linspace(-150, 150, 120))[:, None]
    change = percent_change(volumes)[:, 0]
    step = change[response > 0].mean() - change[response == 0].mean()
    assert step == pytest.approx(2, rel=0.05)


def test_high_pass_removes_slow_waves_and_keeps_fast_ones() -> None:
    time = np.arange(120) + 0.5
    slow, fast = (np.cos(np.pi * order * time / 120) for order in (5, 40))
    volumes = (1000 + 10 * slow + 10 * fast)[:, None]
    change = percent_change(volumes, tr=2.5, high_pass=0.01)[:, 0]
    assert abs(change @ slow) < 1e-9 * abs(percent_change(volumes)[:, 0] @ slow)
    np.testing.assert_allclose(change, fast, atol=0.02)


def test_basis_is_orthonormal_even_where_it_fills_the_run() -> None:
    basis = drift_basis(12, tr=2.0, high_pass=10.0)
    assert basis.shape[0] == 12
    assert basis.shape[1] <= 13
    volumes = RNG.normal(100, 1, (12, 3))
    np.testing.assert_allclose(percent_change(volumes, tr=2.0, high_pass=10.0), 0, atol=1e-9)


def test_nan_and_empty_voxels_are_passed_on_and_stay_alone() -> None:
    volumes = RNG.normal(100, 1, (20, 4))
    volumes[3, 1] = np.nan
    volumes[:, 2] = 0
    change = percent_change(volumes)
    assert np.isnan(change[:, 1]).all()
    assert np.isnan(change[:, 2]).all()
    np.testing.assert_allclose(
        change[:, [0, 3]], literal_percent_change(volumes[:, [0, 3]]), atol=1e-9
    )


def test_windows_are_half_open() -> None:
    values = np.arange(10.0)[:, None]
    means = window_means(values, np.array([0, 4, 9]), np.array([3, 5, 10]))
    assert means.dtype == np.float32
    assert means[:, 0].tolist() == [1, 4, 9]

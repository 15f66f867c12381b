import numpy as np
import pytest

from flows.science.patterns import voxel_patterns


def test_patterns_are_the_literal_covariances() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(40, 5000)) + 3).astype(np.float32)
    weights = rng.normal(size=(5000, 6)).astype(np.float32) / 50
    told = x.astype(np.float64) @ weights
    expected = np.array(
        [
            [np.cov(x[:, voxel], told[:, dim])[0, 1] for dim in range(6)]
            for voxel in range(0, 5000, 97)
        ]
    )
    found = voxel_patterns(x, weights)
    assert found.dtype == np.float32
    assert found.shape == (5000, 6)
    np.testing.assert_allclose(found[::97], expected, atol=1e-4 * np.abs(expected).max())


def test_a_pattern_tells_what_voxels_respond_to_where_weights_do_not() -> None:
    rng = np.random.default_rng(1)
    signal, noise = rng.normal(size=(2, 4000))
    # One voxel answers, but noisily; the other holds that noise alone, and is to be taken off.
    x = np.stack([signal + noise, noise], axis=1)
    weights = np.array([[1.0, 0.0], [-1.0, 0.0]])
    found = voxel_patterns(x, weights)
    assert found[0, 0] == pytest.approx(1, abs=0.1)
    assert abs(found[1, 0]) < 0.1
    assert not found[:, 1].any()


def test_bad_responses_are_refused() -> None:
    weights = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"x of shape \(4, 2\) is not \(trials, 3 voxels\)"):
        voxel_patterns(np.ones((4, 2)), weights)
    with pytest.raises(ValueError, match="at least 2 trials, not 1"):
        voxel_patterns(np.ones((1, 3)), weights)
    with pytest.raises(ValueError, match="x holds 1 NaN or infinite values"):
        voxel_patterns(np.array([[1, 2, 3], [1, np.nan, 3]]), weights)

import numpy as np
import pytest

from flows.science.noise import effective_repeats, noise_ceiling, zscore


def simulate(
    signal: float, *, images: int, repeats: int, voxels: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit-variance responses of which the image explains a share `signal`."""
    rng = np.random.default_rng(seed)
    image = rng.permutation(np.repeat(np.arange(images), repeats))
    tuning = rng.standard_normal((images, voxels)) * np.sqrt(signal)
    noise = rng.standard_normal((len(image), voxels)) * np.sqrt(1 - signal)
    return (tuning[image] + noise).astype(np.float32), image


def literal_ceiling(
    betas: np.ndarray, image: np.ndarray, training: np.ndarray, n: float
) -> np.ndarray:
    result = []
    for voxel in betas.T.astype(float):
        used, within, freedom = [], 0.0, 0
        for key in sorted(set(image.tolist())):
            values = [v for v, i, t in zip(voxel, image, training, strict=True) if i == key and t]
            if len(values) >= 3:
                used += values
                within += sum((v - sum(values) / len(values)) ** 2 for v in values)
                freedom += len(values) - 1
        mean = sum(used) / len(used)
        total = sum((v - mean) ** 2 for v in used) / (len(used) - 1)
        noise = within / freedom
        ncsnr = np.sqrt(max(0, total - noise)) / np.sqrt(noise)
        result.append(100 * ncsnr**2 / (ncsnr**2 + 1 / n))
    return np.array(result)


def test_zscore_equals_the_literal_loops() -> None:
    rng = np.random.default_rng(0)
    betas = (rng.standard_normal((40, 7)) * 3 + 100).astype(np.float32)
    reference = rng.random(40) < 0.7
    scored = zscore(betas, reference)
    for v in range(7):
        known = [float(b) for b, r in zip(betas[:, v], reference, strict=True) if r]
        mean = sum(known) / len(known)
        deviation = (sum((b - mean) ** 2 for b in known) / len(known)) ** 0.5
        np.testing.assert_allclose(scored[:, v], (betas[:, v] - mean) / deviation, atol=1e-5)
    assert scored.dtype == np.float32


def test_zscore_takes_nothing_from_other_trials() -> None:
    rng = np.random.default_rng(1)
    betas = rng.standard_normal((30, 4))
    reference = np.arange(30) < 20
    scored = zscore(betas, reference)
    changed = betas.copy()
    changed[~reference] += 1000
    np.testing.assert_array_equal(zscore(changed, reference)[reference], scored[reference])


def test_zscore_marks_voxels_that_say_nothing() -> None:
    betas = np.random.default_rng(2).standard_normal((20, 6))
    reference = np.arange(20) < 15
    betas[:, 0] = 0.1
    betas[reference, 1] = 123.456
    betas[3, 2] = np.nan
    betas[19, 3] = np.inf
    before = betas.copy()
    scored = zscore(betas, reference)
    assert np.isnan(scored[:, :4]).all()
    assert np.isfinite(scored[:, 4:]).all()
    np.testing.assert_array_equal(betas, before)


def test_zscore_over_more_voxels_than_a_block() -> None:
    betas = np.random.default_rng(3).standard_normal((6, 9000))
    expected = (betas - betas.mean(axis=0)) / betas.std(axis=0)
    np.testing.assert_allclose(zscore(betas, np.ones(6, dtype=bool)), expected, atol=1e-5)


def test_zscore_refuses() -> None:
    with pytest.raises(ValueError, match="1 of 5 trials are reference trials: at least 2"):
        zscore(np.ones((5, 2)), np.arange(5) == 0)
    with pytest.raises(ValueError, match=r"\(5, 2\) do not match .*\(4,\)"):
        zscore(np.ones((5, 2)), np.ones(4, dtype=bool))


@pytest.mark.parametrize("n", [1, 3, 1.5])
def test_ceiling_equals_the_literal_loops(n: float) -> None:
    betas, image = simulate(0.5, images=12, repeats=4, voxels=6)
    training = np.random.default_rng(2).random(len(image)) < 0.8
    counts = np.bincount(image[training])
    assert {2, 3, 4} <= set(counts.tolist()), "some images fall short, others have more"
    ceiling = noise_ceiling(betas, image * 10, training, n)
    np.testing.assert_allclose(ceiling, literal_ceiling(betas, image, training, n), rtol=1e-5)


@pytest.mark.parametrize("planted", [0.05, 0.2, 0.6])
def test_a_planted_ceiling_is_found(planted: float) -> None:
    betas, image = simulate(planted, images=2000, repeats=3, voxels=60)
    training = np.ones(len(image), dtype=bool)
    ceiling = noise_ceiling(betas, image, training)
    assert np.median(ceiling) == pytest.approx(100 * planted, abs=1)
    averaged = noise_ceiling(betas, image, training, n=3)
    expected = 100 * planted / (planted + (1 - planted) / 3)
    assert np.median(averaged) == pytest.approx(expected, abs=2)


def test_pure_noise_has_no_ceiling() -> None:
    betas, image = simulate(0, images=400, repeats=3, voxels=300)
    ceiling = noise_ceiling(betas, image, np.ones(len(image), dtype=bool))
    assert np.median(ceiling) < 3
    assert ceiling.min() == 0, "a signal variance below zero counts as none"


def test_test_trials_do_not_count() -> None:
    betas, image = simulate(0.4, images=40, repeats=3, voxels=5)
    training = image < 30
    expected = noise_ceiling(betas[training], image[training], np.ones(90, dtype=bool))
    betas[~training] = np.nan
    np.testing.assert_array_equal(noise_ceiling(betas, image, training), expected)


def test_voxels_do_not_interact() -> None:
    betas, image = simulate(0.3, images=20, repeats=3, voxels=4100)
    training = np.ones(len(image), dtype=bool)
    betas[0, 7] = np.nan
    betas[:, 8] = 0.1
    whole = noise_ceiling(betas, image, training)
    assert np.flatnonzero(np.isnan(whole)).tolist() == [7, 8]
    halves = [noise_ceiling(half, image, training) for half in np.split(betas, [1000], axis=1)]
    np.testing.assert_array_equal(whole, np.concatenate(halves))


def test_responses_without_noise_reach_a_hundred() -> None:
    image = np.repeat(np.arange(4), 3)
    betas = np.array([1.0, 2, 4, 8])[image][:, None]
    assert noise_ceiling(betas, image, np.ones(12, dtype=bool)) == pytest.approx(100)


def test_ceiling_refuses() -> None:
    betas, image = simulate(0.4, images=5, repeats=3, voxels=2)
    training = np.ones(15, dtype=bool)
    training[[np.flatnonzero(image == i)[0] for i in range(5)]] = False
    with pytest.raises(ValueError, match="none of 5 training images has 3 training trials"):
        noise_ceiling(betas, image, training)
    with pytest.raises(ValueError, match="none of 0 training images"):
        noise_ceiling(betas, image, np.zeros(15, dtype=bool))
    with pytest.raises(ValueError, match="n must be positive, not 0"):
        noise_ceiling(betas, image, np.ones(15, dtype=bool), n=0)
    with pytest.raises(ValueError, match=r"\(15, 2\) do not match images of shape \(14,\)"):
        noise_ceiling(betas, image[1:], training)


def test_effective_repeats_of_a_mixture() -> None:
    a, b, c = 5, 3, 2
    n = effective_repeats([3] * a + [2] * b + [1] * c)
    assert 1 / n == pytest.approx((a / 3 + b / 2 + c) / (a + b + c))
    assert effective_repeats([1, 1]) == 1
    for bad in ([], [3, 0]):
        with pytest.raises(ValueError, match="at least one image and one trial"):
            effective_repeats(bad)

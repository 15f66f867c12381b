import numpy as np
import pytest
from scipy import stats

from flows.science.metrics import pearson
from flows.science.stats.intervals import (
    correlation_interval,
    normalised_correlation,
    paired_test,
    share_interval,
)


def related(
    images: int, columns: int, rho: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses whose image means correlate at rho; images are seen one to three times."""
    first = rng.normal(size=(images, columns))
    second = rho * first + np.sqrt(1 - rho**2) * rng.normal(size=first.shape)
    image = np.repeat(np.arange(images), rng.integers(1, 4, images))
    # Trials spread around their mean, which is as drawn.
    spread = rng.normal(size=(len(image), columns))
    for each in range(images):
        spread[image == each] -= spread[image == each].mean(axis=0)
    return first[image], second[image] + spread, image


def test_interval_of_a_correlation_matches_scipys() -> None:
    z, zhat, image = related(40, 3, 0.6, np.random.default_rng(0))
    low, high = correlation_interval(z, zhat, image, draws=20_000, seed=0)
    means = [np.array([v[image == i].mean(axis=0) for i in range(40)]) for v in (z, zhat)]
    for column in range(3):
        expected = stats.bootstrap(
            [values[:, column] for values in means],
            lambda a, b, axis: stats.pearsonr(a, b, axis=axis).statistic,
            paired=True,
            n_resamples=20_000,
            method="BCa",
            rng=np.random.default_rng(1),
        ).confidence_interval
        found = (low[column], high[column])
        assert found == pytest.approx((expected.low, expected.high), abs=0.03)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_intervals_of_correlations_hold_the_true_one(rho: float) -> None:
    z, zhat, image = related(80, 1000, rho, np.random.default_rng(2))
    low, high = correlation_interval(z, zhat, image, draws=999, seed=0)
    assert 0.92 < ((low <= rho) & (rho <= high)).mean() < 0.97
    # It misses on both sides.
    assert 0.01 < (low > rho).mean() < 0.05
    assert 0.01 < (high < rho).mean() < 0.05


def test_trials_as_if_independent_would_be_too_sure() -> None:
    """What drawing images is for: trials of an image have their error in common."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(60), 4)
    z = rng.normal(size=(60, 400))[image]
    zhat = rng.normal(size=(60, 400))[image] + 0.2 * rng.normal(size=z.shape)
    covered = {}
    for name, unit in {"images": image, "trials": np.arange(240)}.items():
        low, high = correlation_interval(z, zhat, unit, draws=499, seed=0)
        covered[name] = ((low <= 0) & (high >= 0)).mean()
    assert covered["images"] > 0.9
    assert covered["trials"] < 0.75


def test_constant_responses_have_no_interval() -> None:
    z, zhat, image = related(30, 4, 0.5, np.random.default_rng(0))
    z[:, 1] = 3.3
    # Of one image that answers, a third of the draws has none.
    z[:, 2] = image == 5
    low, high = correlation_interval(z, zhat, image, draws=200, seed=0)
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [False, True, True, False]


def test_large_offsets_do_not_matter() -> None:
    z, zhat, image = related(30, 4, 0.5, np.random.default_rng(0))
    expected = correlation_interval(z, zhat, image, draws=200, seed=0)
    shifted = correlation_interval(z + 1e5, zhat - 1e5, image, draws=200, seed=0)
    assert np.allclose(expected, shifted, atol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_intervals_of_shares_hold_the_true_one(share: float) -> None:
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        image = np.repeat(np.arange(100), 3)
        # Images are found unequally easily.
        hits = rng.random(300) < rng.beta(4 * share, 4 * (1 - share), 100)[image]
        low, high = share_interval(hits, image, draws=499, seed=seed)
        held.append(low <= share <= high)
    assert 0.9 < np.mean(held) < 0.985


def test_interval_of_a_share_matches_scipys() -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(50), rng.integers(1, 4, 50))
    hits = rng.random(len(image)) * (rng.random(len(image)) < 0.4)
    summed = np.array([hits[image == i].sum() for i in range(50)])
    trials = np.bincount(image)
    expected = stats.bootstrap(
        (summed, trials),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = share_interval(hits, image, draws=9999, seed=0)
    assert found == pytest.approx((expected.low, expected.high), abs=0.01)


def test_all_or_no_hits_have_the_interval_of_as_many_images() -> None:
    image = np.repeat(np.arange(20), 3)
    low, high = share_interval(np.zeros(60, bool), image, seed=0)
    assert (low, high) == pytest.approx((0, 1 - 0.025 ** (1 / 20)))
    low, high = share_interval(np.ones(60, bool), image, seed=0)
    assert (low, high) == pytest.approx((0.025 ** (1 / 20), 1))


def test_normalised_correlation_is_that_of_noiseless_means() -> None:
    """What is decoded of an image correlates with the truth at 0.6, below much noise of trials."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(400), rng.integers(1, 4, 400))
    z = rng.normal(size=(400, 50))
    told = 0.6 * z + 0.8 * rng.normal(size=z.shape)
    zhat = told[image] + 1.5 * rng.normal(size=(len(image), 50))
    plain = pearson(z, np.array([zhat[image == each].mean(axis=0) for each in range(400)]))
    found = normalised_correlation(z[image], zhat, image)
    assert plain.mean() < 0.4
    assert found.mean() == pytest.approx(0.6, abs=0.03)


def test_without_repeats_or_reliability_nothing_is_normalised() -> None:
    rng = np.random.default_rng(0)
    z, zhat = rng.normal(size=(2, 60, 200))
    assert np.isnan(normalised_correlation(z, zhat, np.arange(60))).all()
    # Repeats of an image are as unlike as different images.
    image = np.repeat(np.arange(20), 3)
    assert 0.9 < np.isnan(normalised_correlation(z, zhat, image)).mean() < 0.99
    zhat[:, 0] = 0
    z[:, 1] = 2
    found = normalised_correlation(z, zhat + z[image * 3], image)
    assert np.isnan(found[1])
    # Repeats that are equal have nothing to be normalised by.
    equal = rng.normal(size=(20, 3))[image]
    truth = rng.normal(size=(20, 3))[image]
    assert np.allclose(normalised_correlation(truth, equal, image), pearson(truth, equal))


def test_paired_test_counts_what_is_gained_and_lost() -> None:
    first = np.array([True] * 9 + [False] * 11)
    second = np.array([True] * 2 + [False] * 15 + [True] * 3)
    found = paired_test(first, second, np.arange(20), seed=0)
    assert (found.gained, found.lost) == (7, 3)
    assert found.p == pytest.approx(stats.binomtest(7, 10).pvalue)
    assert found.difference == pytest.approx(0.2)
    assert found.low < 0.2 < found.high
    # As found on a rotated set of blocks: ten lost, none gained.
    lost = paired_test(np.zeros(10, bool), np.ones(10, bool), np.arange(10), seed=0)
    assert lost.p == pytest.approx(2 / 2**10)
    same = paired_test(first, first, np.arange(20), seed=0)
    assert (same.gained, same.lost, same.p, same.low, same.high) == (0, 0, 1, 0, 0)


def test_interval_of_a_difference_holds_the_true_one_though_images_repeat() -> None:
    held, found = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        image = np.repeat(np.arange(80), 3)
        ease = rng.normal(size=80)[image]
        own = 0.7 * rng.normal(size=80)[image]
        first = ease + own + 0.5 * rng.normal(size=240) > 0.3
        second = ease + 0.7 * rng.normal(size=80)[image] + 0.5 * rng.normal(size=240) > 0.3
        result = paired_test(first, second, image, draws=499, seed=seed)
        held.append(result.low <= 0 <= result.high)
        found.append(result.p < 0.05)
    assert 0.9 < np.mean(held) < 0.985
    # McNemar's p takes the repeats for independent.
    assert np.mean(found) > 0.08


def test_bad_input_is_refused() -> None:
    z, image = np.zeros((6, 2)), np.arange(6)
    hits = np.zeros(6, dtype=bool)
    with pytest.raises(ValueError, match="do not match"):
        correlation_interval(z, z[1:], image, seed=0)
    with pytest.raises(ValueError, match="too few to resample"):
        correlation_interval(z, z, image % 2, seed=0)
    with pytest.raises(ValueError, match="not finite"):
        correlation_interval(z * np.nan, z, image, seed=0)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        correlation_interval(z, z, image, draws=0, seed=0)
    with pytest.raises(ValueError, match="mass must lie between 0 and 1"):
        share_interval(hits, image, seed=0, mass=95)
    with pytest.raises(ValueError, match="hits \\(6,\\) and images \\(5,\\) do not match"):
        share_interval(hits, image[1:], seed=0)
    with pytest.raises(ValueError, match=r"hits must lie in \[0, 1\]"):
        share_interval(hits - 1.5, image, seed=0)
    with pytest.raises(ValueError, match="1 images are too few to resample"):
        share_interval(hits, image * 0, seed=0)
    with pytest.raises(ValueError, match="too few to correlate"):
        normalised_correlation(z, z, image % 2)
    with pytest.raises(ValueError, match="hits must be bool, not float64 and bool"):
        paired_test(hits * 1.0, hits, image, seed=0)
    with pytest.raises(ValueError, match="do not match"):
        paired_test(hits, hits[1:], image, seed=0)

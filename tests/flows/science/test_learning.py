"""Learning curves and pairwise accuracy, against literal versions, planted truth and noise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.science.cross_fitting import left_out_predictions
from flows.science.learning import draw_share, learning_curve, pairwise_hits

Floats = NDArray[np.float64]


def literal_hits(predicted: Floats, pool: Floats, target: NDArray[np.int64]) -> list[float]:
    """Each prediction held against its own vector and one other at a time."""

    def cosine(one: Floats, other: Floats) -> float:
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    found = []
    for one, row in zip(predicted, target, strict=True):
        own = cosine(one, pool[row])
        others = [cosine(one, each) for number, each in enumerate(pool) if number != row]
        found.append(sum(own > each for each in others) / len(others))
    return found


def literal_left_out(x: Floats, y: Floats, group: NDArray[np.int64], alpha: float) -> Floats:
    """A fit without each group, to whose deviations the mean of all is added."""
    told = np.empty_like(y)
    penalty = alpha * x.shape[1] / 1000 * np.eye(x.shape[1])
    for one in np.unique(group):
        out = group == one
        a, b = x[~out] - x[~out].mean(axis=0), y[~out] - y[~out].mean(axis=0)
        weight = np.linalg.solve(a.T @ a + penalty, a.T @ b)
        told[out] = (x[out] - x[~out].mean(axis=0)) @ weight + y.mean(axis=0)
    return told


def planted(
    trials: int = 120, voxels: int = 30, *, gain: float = 1.0, seed: int = 0
) -> tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Responses, distinct vectors, the stimulus of each trial (three times each), its group."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(trials // 3, 6))
    image = np.repeat(np.arange(trials // 3), 3)
    x = gain * targets[image] @ rng.normal(size=(6, voxels)) + rng.normal(size=(trials, voxels))
    return x, targets, image, image % 5


@pytest.mark.parametrize("voxels", [30, 300])
def test_what_is_left_out_is_told_as_a_fit_without_it_tells_it(voxels: int) -> None:
    x, targets, image, group = planted(voxels=voxels)
    told = left_out_predictions(x, targets[image], group, 50.0)
    np.testing.assert_allclose(told, literal_left_out(x, targets[image], group, 50.0), atol=1e-5)


def test_pairwise_hits_are_those_of_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(1)
    pool, predicted = rng.normal(size=(7, 4)), rng.normal(size=(20, 4))
    target = rng.integers(0, 7, 20)
    hits = pairwise_hits(predicted, pool, target)
    np.testing.assert_allclose(hits, literal_hits(predicted, pool, target))
    np.testing.assert_allclose(pairwise_hits(3 * pool, pool, np.arange(7)), 1)
    np.testing.assert_allclose(pairwise_hits(-pool[:1], pool, np.zeros(1, int)), 0)


def test_what_says_nothing_is_at_chance() -> None:
    pool = np.random.default_rng(2).normal(size=(9, 4))
    nothing = np.stack([np.zeros(4), np.full(4, np.nan)])
    np.testing.assert_array_equal(pairwise_hits(nothing, pool, np.array([0, 5])), 0.5)
    # One answer to everything is right half of the time, over the whole pool.
    same = np.repeat(pool[:1] + 0.1, 9, axis=0)
    assert pairwise_hits(same, pool, np.arange(9)).mean() == pytest.approx(0.5)


def test_shares_are_of_every_group_and_lie_within_each_other() -> None:
    _, _, image, group = planted(trials=240)
    quarter, half, whole = (draw_share(image, group, each, seed=3) for each in (0.25, 0.5, 1))
    assert whole.all()
    assert (quarter <= half).all()
    for one in np.unique(group):
        sizes = [len(np.unique(image[used & (group == one)])) for used in (quarter, half, whole)]
        assert sizes == [4, 8, 16]
    # All trials of a stimulus or none.
    for one in np.unique(image):
        assert len(set(half[image == one])) == 1
    assert (draw_share(image, group, 0.5, seed=4) != half).any()
    assert len(np.unique(image[draw_share(image, group, 1e-6, seed=3)])) == 5


def test_a_curve_is_that_of_literal_fits_and_rises() -> None:
    x, targets, image, group = planted(trials=360, voxels=80, gain=0.15)
    points = learning_curve(x, targets, image, image, group, 300.0, seed=5)
    assert [point.share for point in points] == [0.25, 0.5, 1.0]
    for point in points:
        used = draw_share(image, group, point.share, seed=5)
        assert (point.trials, point.stimuli) == (used.sum(), used.sum() // 3)
        told = literal_left_out(x[used], targets[image[used]], group[used], 300.0)
        own = np.unique(image[used])
        target = np.searchsorted(own, image[used])
        literal = np.mean(literal_hits(told, targets[own], target))
        assert point.accuracy == pytest.approx(literal, abs=1e-6)
        assert point.low is not None
        assert point.high is not None
        assert point.low < literal < point.high
        assert point.reason is None
    accuracies = [point.accuracy or 0 for point in points]
    assert accuracies == sorted(accuracies)
    assert accuracies[2] > accuracies[0] + 0.03
    assert (points[2].low or 0) > 0.5


@pytest.mark.parametrize(("trials", "voxels"), [(60, 300), (120, 30)])
def test_noise_is_at_chance_however_few_trials_there_are(trials: int, voxels: int) -> None:
    """Fits centred by what they leave out are at 0.7 here, those that tell its mean at 0.3."""
    told = []
    for seed in range(60):
        x, targets, image, group = planted(trials, voxels, gain=0.0, seed=seed)
        points = learning_curve(x, targets, image, image, group, 100.0, seed=seed)
        told.append([each.accuracy for each in points if each.accuracy is not None])
    np.testing.assert_allclose(np.mean(told, axis=0), 0.5, atol=0.04)


def test_too_few_stimuli_are_told() -> None:
    rng = np.random.default_rng(0)
    x, image = rng.normal(size=(12, 5)), np.arange(12)
    group, targets = image % 2, np.eye(2)
    # Six stimuli a group, of one vector but for the last that is drawn.
    kept = image[draw_share(image, group, 0.25, seed=0)]
    row = np.where(np.isin(image, kept), 0, 1)
    points = learning_curve(x, targets, row, image, group, 10.0, seed=0)
    assert points[0].accuracy is None
    assert points[0].reason == "its stimuli have one and the same vector"
    assert points[2].accuracy is not None
    (point,) = learning_curve(x, targets, row, image, np.zeros(12, int), 10.0, (1.0,), seed=0)
    assert point.reason == "one group of stimuli alone: none can be left out"


def test_bad_input_is_refused() -> None:
    x, targets, image, group = planted()
    with pytest.raises(ValueError, match="each of 120 trials needs an image and a group"):
        learning_curve(x, targets, image, image, group[:3], 1.0, seed=0)
    with pytest.raises(ValueError, match="the penalty 0 must be positive"):
        learning_curve(x, targets, image, image, group, 0.0, seed=0)
    with pytest.raises(ValueError, match=r"shares \[2.0\]"):
        learning_curve(x, targets, image, image, group, 1.0, (2.0,), seed=0)
    with pytest.raises(ValueError, match="a pool of 1 has nothing to tell apart"):
        pairwise_hits(targets[:1], targets[:1], np.zeros(1, int))
    with pytest.raises(ValueError, match="do not match"):
        pairwise_hits(targets[:2], targets, np.zeros(3, int))

import numpy as np
import pytest

from flows.science.specificity import mixture_sums, tuning
from tests.benchmarks import calibration
from tests.benchmarks.nulls import (
    MaskKind,
    draw_masks,
    draw_told,
    grow_brain,
    respond,
    respond_in_order,
    saturated,
)


def test_interval_goes_by_cluster() -> None:
    """Hits that go together within a row count as one: the interval is that of the rows' means."""
    rows = np.random.default_rng(0).random(200) < 0.3
    mean, low, high = calibration.share(np.repeat(rows[:, None], 50, axis=1))
    assert mean == pytest.approx(rows.mean())
    assert (low, high) == pytest.approx(calibration.share(rows[:, None])[1:])
    assert high - mean == pytest.approx(mean - low)
    assert high - mean == pytest.approx(1.96 * np.sqrt(mean * (1 - mean) / 200), rel=0.02)


def test_what_could_not_be_tested_counts_for_nothing() -> None:
    hits = np.array([[1, np.nan], [0, 0], [1, 1]])
    assert calibration.share(hits)[0] == pytest.approx(2 / 3)


def test_null_responses_are_unrelated_and_repeats_and_components_are_not() -> None:
    drawn = respond(6, np.random.default_rng(0), images=3000)
    # Of the first two trials of every image that has two.
    first = np.flatnonzero(drawn.image[1:] == drawn.image[:-1])
    both = np.corrcoef(drawn.zhat[first, 0], drawn.zhat[first + 1, 0])[0, 1]
    assert both > 0.3
    assert abs(np.corrcoef(drawn.z[:, 0], drawn.zhat[:, 0])[0, 1]) < 0.05
    between = np.corrcoef(drawn.z.T)[np.triu_indices(6, 1)]
    assert np.abs(between).max() > 0.3
    told = respond(6, np.random.default_rng(0), images=3000, signal=1.0)
    assert np.corrcoef(told.z[:, 0], told.zhat[:, 0])[0, 1] > 0.3


def test_maps_are_as_smooth_as_they_are_called() -> None:
    brain = grow_brain(0)
    index = np.full(brain.kept.shape, -1)
    index[brain.kept] = np.arange(brain.kept.sum())
    pairs = np.stack([index[:-1].ravel(), index[1:].ravel()])
    left, right = pairs[:, (pairs >= 0).all(axis=0)]
    rng = np.random.default_rng(0)
    alike = []
    for fwhm in (0.0, 2.0, 4.0):
        maps = brain.smooth_maps(20, fwhm, rng)
        alike.append((maps[left] * maps[right]).mean())
    # A Gaussian kernel of s correlates neighbours by exp(-1 / 4 s^2).
    assert alike == pytest.approx(
        [0, np.exp(-1 / (4 * 0.85**2)), np.exp(-1 / (4 * 1.7**2))], abs=0.06
    )
    masks = saturated(maps, rng)
    assert masks.min() == 0
    assert masks.max() == 1
    assert 0.5 < (masks == 0).mean() < 0.95


def test_shared_masks_agree_across_participants_and_own_ones_do_not() -> None:
    brains = [grow_brain(number) for number in range(3)]
    kind = MaskKind(2, 8, shared=4, own="patches")
    distances = []
    for seed in range(10):
        masks, places = draw_masks(kind, brains, np.random.default_rng(seed))
        assert [mask.shape for mask in masks] == [(800, 8)] * 2
        centres = [(m.T @ mm) / m.sum(axis=0)[:, None] for m, mm in zip(masks, places, strict=True)]
        distances.append(np.linalg.norm(centres[0] - centres[1], axis=1))
    near, far = np.median(np.array(distances)[:, :4]), np.median(np.array(distances)[:, 4:])
    assert near < 15 < far


@pytest.mark.parametrize("order", ["random", "topics", "similar", "run topics", "categories"])
def test_predictions_are_smooth_in_time_and_know_nothing_of_the_stimuli(order: str) -> None:
    drawn = respond_in_order(order, 6, np.random.default_rng(0), runs=60, trials=50)
    told = drawn.zhat.reshape(60, -1, 6)
    later = [
        np.corrcoef(told[:, :-by, 0].ravel(), told[:, by:, 0].ravel())[0, 1] for by in (1, 2, 20)
    ]
    # Cut off from below, which takes a little of 0.8 and 0.64.
    assert later == pytest.approx([0.75, 0.55, 0], abs=0.12)
    assert abs(np.corrcoef(drawn.z[:, 0], drawn.zhat[:, 0])[0, 1]) < 0.15
    shown = drawn.z.reshape(60, -1, 6)
    alike = np.corrcoef(shown[:, :-1, 0].ravel(), shown[:, 1:, 0].ravel())[0, 1]
    assert alike > 0.4 or (order == "random" and abs(alike) < 0.1)
    assert (np.bincount(drawn.run) == drawn.run.size / 60).all()
    assert drawn.image.max() < len(drawn.vectors)


def test_the_last_component_is_the_sum_of_two_that_voxels_are_tuned_to() -> None:
    drawn = draw_told(6, np.random.default_rng(0), null="sum", images=2000)
    scores = drawn.y @ drawn.components.T
    tuned = tuning(scores, drawn.x, np.eye(6))
    assert tuned[:-1].min() > 0.9
    assert 0.6 < tuned[-1] < tuned[:-1].min() - 0.05
    related = np.sort(np.corrcoef(scores.T)[-1, :-1])
    assert related[-2:] == pytest.approx(np.sqrt(0.5), abs=0.15)
    assert related[-3] < 0.5


def test_no_component_is_more_than_others_where_all_are_any_directions() -> None:
    drawn = draw_told(6, np.random.default_rng(0), null="any", images=2000)
    scores = drawn.y @ drawn.components.T
    others = np.random.default_rng(1).standard_normal((200, 6))
    own, null = (tuning(scores, drawn.x, each) for each in (np.eye(6), others))
    assert null.min() < own.min() < own.max() < null.max()


def test_one_mask_prefers_nothing_and_the_other_tells_the_first_component_best() -> None:
    drawn = draw_told(6, np.random.default_rng(0), null="any", images=2000)
    others = np.random.default_rng(1).standard_normal((20, drawn.components.shape[1]))
    directions = np.concatenate([drawn.components, others])
    told, own = (
        mixture_sums(drawn.y, masked, drawn.image, directions).correlations()
        for masked in (drawn.masked, drawn.own)
    )
    assert told.min() > 0.1
    assert np.ptp(told) < 0.15
    assert own[0] > own[1:].max() + 0.1

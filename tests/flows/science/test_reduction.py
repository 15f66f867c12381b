from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from flows.science import reduction
from flows.science.clustering import leaf_order
from flows.science.reduction import (
    PUBLISHED_REDUCTION,
    CurvePoint,
    Reduction,
    ReductionConfig,
    Search,
    most_components,
    reduce_contrastively,
)

PLANTED, DIMENSIONS = 6, 32
# As many directions as are planted and some more, in a second.
FAST = ReductionConfig(components=10, steps=150, starts=8)
# One start, drawn and trained as published, but for its size.
ALONE = replace(PUBLISHED_REDUCTION, components=4, steps=40, learning_rate=0.01)


@cache
def simulate(
    seed: int = 0, images: int = 400
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centred targets, predictions, images, and the directions planted in them.

    A stimulus has some of six topics, a direction each, and much of its own. Brains answer to the
    presence of a topic and not to its absence.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0][:PLANTED]
    amount = rng.random((images, PLANTED)) < 0.25
    amount = amount * rng.uniform(0.5, 1.5, amount.shape)
    y = amount @ directions + 0.25 * rng.normal(size=(images, DIMENSIONS))
    y -= y.mean(axis=0)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    image = np.repeat(np.arange(images), 2)
    yhat = ((amount - amount.mean(axis=0)) @ directions)[image]
    yhat += rng.normal(size=yhat.shape) / np.sqrt(DIMENSIONS)
    yhat /= np.linalg.norm(yhat, axis=1, keepdims=True)
    return y[image].astype(np.float32), yhat.astype(np.float32), image, directions


def reduce(
    y: np.ndarray,
    yhat: np.ndarray,
    image: np.ndarray,
    config: ReductionConfig = FAST,
    *,
    seed: int = 3,
    **options: object,
) -> Reduction:
    return reduce_contrastively(
        y,
        yhat,
        image,
        config,
        seed=seed,
        device="cpu",
        **options,  # type: ignore[arg-type]
    )


@cache
def found_by_itself() -> Reduction:
    """The defaults, but for the number of starts."""
    y, yhat, image, _ = simulate()
    return reduce(y, yhat, image, ReductionConfig(starts=12), seed=0)


@cache
def found() -> Reduction:
    return reduce(*simulate()[:3])


def test_planted_directions_are_found_again_and_about_as_many() -> None:
    result, planted = found_by_itself(), simulate()[3]
    cosine = planted @ result.components.T
    # One for each, and of its own sign: responses are one-sided.
    assert len(set(cosine.argmax(axis=1))) == PLANTED
    assert np.median(cosine.max(axis=1)) >= 0.9
    assert cosine.max(axis=1).min() > 0.85
    # Beside them some that two of them have in common, which are not specific.
    assert PLANTED <= len(result.components) <= 2 * PLANTED


def test_two_seeds_find_the_same_planted_directions() -> None:
    y, yhat, image, planted = simulate()
    other = reduce(y, yhat, image, seed=7).components
    first = found().components
    nearest = [rows[(planted @ rows.T).argmax(axis=1)] for rows in (first, other)]
    assert np.einsum("kd,kd->k", *nearest).min() > 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_shuffled_predictions_give_no_component_at_all(seed: int) -> None:
    y, yhat, image, _ = simulate(seed)
    shuffled = yhat[np.random.default_rng(seed).permutation(len(yhat))]
    result = reduce(y, shuffled, image, ReductionConfig(steps=150, starts=12), seed=seed)
    assert result.components.shape == (0, DIMENSIONS)
    assert result.components.dtype == np.float32
    assert result.recurrence.shape == result.start_cosine.shape == (0,)


def test_rows_are_unit_in_leaf_order_and_no_two_are_doubles() -> None:
    rows = found().components
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    # Once in order, ordering them again moves nothing.
    assert leaf_order(rows).tolist() == list(range(len(rows)))
    # Each start looked for more than there are, and had to split some of them.
    assert len(rows) < FAST.components * 1.2
    assert (rows @ rows.T - 2 * np.eye(len(rows))).max() < FAST.alike


def test_what_is_found_is_not_what_was_drawn() -> None:
    _, yhat, image, planted = simulate()
    result = found_by_itself()
    assert result.start_cosine.max() < 0.9
    assert (result.recurrence >= ReductionConfig().recurrence).all()
    # Nor were the mean predictions of single stimuli, which rows are drawn from, as near.
    means = np.array([yhat[image == one].mean(axis=0) for one in np.unique(image)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    trained = (planted @ result.components.T).max(axis=1)
    assert trained.mean() > np.sort(planted @ means.T, axis=1)[:, -20:].mean() + 0.03


def test_a_large_start_that_takes_small_steps_stays_as_it_was_drawn() -> None:
    y, yhat, image, _ = simulate()
    config = replace(PUBLISHED_REDUCTION, components=8, steps=50)
    result = reduce(y, yhat, image, config)
    drawn = torch.randn(8, DIMENSIONS, generator=torch.Generator().manual_seed(3)).numpy()
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    own = (result.components @ drawn.T).max(axis=1)
    np.testing.assert_allclose(result.start_cosine, own, atol=1e-5)
    assert result.start_cosine.min() > 0.99
    # A single start cannot tell what is found again.
    assert np.isnan(result.recurrence).all()
    assert len(result.components) == 8


def test_one_step_is_the_literal_one() -> None:
    """All trials in one batch, so that the first step has no choice of rows."""
    y, yhat, _, _ = simulate()
    y, yhat = y[::2][:50], yhat[::2][:50]
    config = replace(ALONE, components=3, steps=1, learning_rate=0.1, batch=50)
    result = reduce(y, yhat, np.arange(50), config, seed=5)

    draw = torch.Generator().manual_seed(5)
    weight = torch.randn(3, DIMENSIONS, generator=draw, requires_grad=True)
    z = [torch.nn.functional.leaky_relu(weight @ torch.tensor(row), 0.05) for row in y]
    zhat = [torch.nn.functional.leaky_relu(weight @ torch.tensor(row), 0.05) for row in yhat]
    loss = torch.zeros(())
    for i in range(50):
        rows = torch.stack([-(zhat[i] - z[j]).square().sum() for j in range(50)])
        columns = torch.stack([-(zhat[j] - z[i]).square().sum() for j in range(50)])
        loss = loss - (rows.log_softmax(0)[i] + columns.log_softmax(0)[i]) / 100
    optimiser = torch.optim.Adam([weight], lr=0.1)
    loss.backward()
    optimiser.step()
    literal = torch.nn.functional.normalize(weight.detach(), dim=1).numpy()
    np.testing.assert_allclose(result.components, literal[leaf_order(literal)], atol=1e-4)


def test_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    y, yhat, image, _ = simulate()
    config = replace(FAST, steps=40, recurrence=0.2)
    first, again = (reduce(y, yhat, image, config) for _ in range(2))
    other = reduce(y, yhat, image, config, seed=4)
    assert len(first.components)
    for name in ("components", "recurrence", "start_cosine"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.curve == again.curve
    assert first.components.tobytes() != other.components.tobytes()


def test_pairs_of_one_image_are_no_negatives() -> None:
    y, yhat, image, _ = simulate()
    y, yhat, image = y[:200], yhat[:200], image[:200]
    config = replace(ALONE, components=2, steps=5, learning_rate=0.1, batch=50)
    told_apart = reduce(y, yhat, np.arange(200), config).components
    same = reduce(y, yhat, image, config).components
    assert not np.allclose(told_apart, same, atol=1e-3)


def test_what_is_orthogonal_to_all_targets_is_dropped() -> None:
    rng = np.random.default_rng(5)
    distinct = rng.standard_normal((8, 60)).astype(np.float32)
    distinct -= distinct.mean(axis=0)
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    image = np.repeat(np.arange(8), 10)
    yhat = distinct[image] + 0.1 * rng.standard_normal((80, 60)).astype(np.float32)
    basis = np.linalg.svd(distinct)[2][:7]
    for config in (replace(ALONE, components=5), replace(FAST, components=5)):
        rows = reduce(distinct[image], yhat, image, config, resampled=np.arange(80)).components
        assert len(rows)
        np.testing.assert_allclose(np.linalg.norm(rows @ basis.T, axis=1), 1, atol=1e-5)


def test_blocks_of_a_category_are_drawn_where_images_would_leave_categories_out() -> None:
    rng = np.random.default_rng(0)
    distinct = np.linalg.qr(rng.normal(size=(DIMENSIONS, 4)))[0].T
    distinct -= distinct.mean(axis=0)
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    category = np.repeat(np.arange(4), 24)
    yhat = distinct[category] + 0.1 * rng.normal(size=(96, DIMENSIONS))
    y, yhat = distinct[category].astype(np.float32), yhat.astype(np.float32)
    config = replace(FAST, components=4)
    rows = reduce(y, yhat, category, config, resampled=np.arange(96) // 3).components
    # Whatever tells four categories apart, every one of them drives some component.
    assert ((distinct @ rows.T).max(axis=1) > 0.6).all()
    with pytest.raises(ValueError, match=r"96 trials have units to resample of shape \(95,\)"):
        reduce(y, yhat, category, config, resampled=np.arange(95))


def test_a_number_that_is_given_is_one_point_of_the_curve() -> None:
    result = found()
    (point,) = result.curve
    assert result.searches == (Search(FAST.components, point.steps),)
    assert point.components == FAST.components
    assert point.kept == len(result.components)
    assert point.found == pytest.approx(result.recurrence.sum())
    # Normal rows have nothing in common before the first step.
    y, yhat, image, _ = simulate()
    normal = reduce(y, yhat, image, replace(FAST, drawn="normal", scale=0.01, steps=5))
    assert normal.curve[0].drawn == 0


def test_a_curve_says_what_was_tried_and_the_choice_is_of_it() -> None:
    result = found_by_itself()
    tried = [point.components for point in result.curve]
    assert tried == list(reduction._TRIED[: len(tried)])
    chosen = [result.curve[place] for place in reduction._choose(result.curve, 400)]
    assert [(each.components, each.steps) for each in chosen] == [
        (each.components, each.steps) for each in result.searches
    ]
    for point in result.curve:
        assert 0 <= point.found <= point.kept
        assert 0 <= point.drawn <= point.components


def test_searches_that_are_given_are_made_again() -> None:
    y, yhat, image, _ = simulate()
    first = found_by_itself()
    again = reduce(
        y, yhat, image, ReductionConfig(starts=12), seed=0, searches=list(first.searches)
    )
    assert again.searches == first.searches
    assert len(again.curve) == len(first.searches)
    np.testing.assert_array_equal(again.components, first.components)


def test_directions_that_two_searches_find_are_averaged_and_others_kept() -> None:
    y, yhat, image, _ = simulate()
    finer, coarser = Search(10, 60), Search(4, 60)
    fine, coarse = (reduce(y, yhat, image, FAST, searches=[each]) for each in (finer, coarser))
    both = reduce(y, yhat, image, FAST, searches=[coarser, finer])
    expected = [row * share for row, share in zip(fine.components, fine.recurrence, strict=True)]
    joined = 0
    for row, share in zip(coarse.components, coarse.recurrence, strict=True):
        like = fine.components @ row
        if like.max() >= FAST.alike:
            expected[int(like.argmax())] = expected[int(like.argmax())] + row * share
            joined += 1
        else:
            expected.append(row * share)
    assert joined > 0
    unit = np.array([row / np.linalg.norm(row) for row in expected])
    assert len(both.components) == len(unit)
    np.testing.assert_allclose((both.components @ unit.T).max(axis=1), 1, atol=1e-5)
    assert set(np.round(fine.recurrence, 6)) <= set(np.round(both.recurrence, 6))


def curve(*points: tuple[int, int, float, float]) -> list[CurvePoint]:
    return [CurvePoint(number, 300, *rest) for number, *rest in points]


MANY, FEW = 400, 10


def test_the_choice_is_the_first_and_the_third_above_the_number_that_learns_most() -> None:
    points = curve(
        *((4, 4, 3.0, 0), (8, 8, 7.0, 0), (12, 9, 6.9, 0), (16, 9, 6.0, 0)),
        *((24, 9, 6.1, 0), (32, 9, 6.0, 0)),
    )
    assert reduction._choose(points, MANY) == [2, 4]
    # The largest where there is none above.
    assert reduction._choose(points[:4], MANY) == [2, 3]
    assert reduction._choose(points[:2], MANY) == [1]


def test_what_starts_have_in_common_before_the_first_step_tells_nothing() -> None:
    points = curve((4, 4, 3.0, 0), (8, 8, 7.0, 2), (64, 70, 40.0, 45), (96, 90, 50.0, 59))
    assert reduction._choose(points, MANY) == [2, 3]
    assert not reduction._declines(points, MANY)
    # As many as they were drawn with, and a few more, are no sign either.
    rising = curve((8, 8, 7.0, 2), (48, 16, 14.0, 13), (64, 19, 16.0, 14), (96, 22, 18.0, 15))
    assert reduction._choose(rising, MANY) == [1, 3]
    assert reduction._declines(rising, MANY)
    # Where starts have no more in common than they were drawn with, nothing was learnt.
    assert reduction._choose(curve((4, 0, 0.0, 0), (6, 3, 1.0, 3)), MANY) == []


def test_of_few_targets_all_starts_draw_all() -> None:
    points = curve((4, 4, 2.2, 3), (6, 6, 3.9, 6), (8, 8, 6.6, 8))
    assert reduction._choose(points, FEW) == [2]
    assert reduction._choose(curve((4, 0, 0.0, 3), (6, 0, 0.0, 6)), FEW) == []


def test_larger_numbers_are_tried_until_they_do_worse_for_some_time() -> None:
    # While none is found again nothing can do worse.
    assert not reduction._declines(curve((32, 0, 0.0, 0), (48, 0, 0.0, 0)), MANY)
    rising = [(4, 4, 3.0, 0), (6, 6, 5.0, 0), (8, 8, 6.0, 0)]
    assert not reduction._declines(curve(*rising), MANY)
    # Small numbers are tried whatever they find.
    small = [(12 + number, 5, 4.0, 0) for number in range(reduction._WORSE_IN_A_ROW)]
    assert not reduction._declines(curve(*rising, *small), MANY)
    worse = [(32 + number, 5, 4.0, 0) for number in range(reduction._WORSE_IN_A_ROW)]
    assert not reduction._declines(curve(*rising, *worse[:-1]), MANY)
    assert reduction._declines(curve(*rising, *worse), MANY)


def test_no_more_are_tried_than_targets_can_carry() -> None:
    y, yhat, image, _ = simulate()
    few = image < 5
    assert most_components(y[few]) == 5
    assert most_components(y) == DIMENSIONS
    config = replace(FAST, components="auto", steps=20)
    result = reduce(y[few], yhat[few], image[few], config, resampled=np.arange(few.sum()))
    assert [point.components for point in result.curve] in ([4], [4, 5])
    assert all(search.components <= 5 for search in result.searches)


@pytest.mark.parametrize("components", [10, "auto"])
def test_progress_rises_to_its_end(components: int | str) -> None:
    y, yhat, image, _ = simulate()
    calls: list[tuple[int, int, dict[str, float]]] = []
    reduce(
        y,
        yhat,
        image,
        replace(FAST, steps=25, components=components),  # type: ignore[arg-type]
        on_progress=lambda *call: calls.append(call),
    )
    done = [at for at, _, _ in calls]
    assert done == sorted(done)
    assert calls[-1][:2] == (100, 100)
    assert {total for _, total, _ in calls} == {100}
    assert all(np.isfinite(told["loss"]) for _, _, told in calls)


def test_inputs_are_left_as_they_were() -> None:
    arrays = [array.copy() for array in simulate()[:3]]
    reduce(*arrays, replace(FAST, steps=5))
    for before, array in zip(simulate()[:3], arrays, strict=True):
        np.testing.assert_array_equal(before, array)


def test_what_cannot_be_reduced_is_refused() -> None:
    y, yhat, image, _ = simulate()
    too_large = "larger than the data can carry: at most"
    with pytest.raises(ValueError, match=f"components is 33, {too_large} 32"):
        reduce(y, yhat, image, replace(FAST, components=33))
    with pytest.raises(ValueError, match=f"components is 10, {too_large} 3, with 3 distinct"):
        reduce(y[:6], yhat[:6], image[:6])
    with pytest.raises(ValueError, match="at least 2 images"):
        reduce(y[:2], yhat[:2], image[:2])
    with pytest.raises(ValueError, match="all 800 trials have one target: nothing to tell apart"):
        reduce(np.zeros_like(y), yhat, image, replace(FAST, components="auto"))
    broken = yhat.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="predictions hold values that are not finite"):
        reduce(y, broken, image)
    with pytest.raises(ValueError, match="targets hold values that are not finite"):
        reduce(broken, yhat, image)
    with pytest.raises(ValueError, match="do not match"):
        reduce(y, yhat[:-1], image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": 0}, "components, steps and starts >= 1"),
        ({"steps": 0}, "components, steps and starts >= 1"),
        ({"batch": 1}, "batch >= 2"),
        ({"components": "auto", "starts": 1}, "auto needs at least 2 starts"),
        ({"scale": 0}, "scale > 0"),
        ({"learning_rate": 0}, "learning_rate > 0"),
        ({"alike": 1.0}, r"alike must lie in \(0, 1\)"),
        ({"recurrence": 0}, r"recurrence in \(0, 1\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(FAST, **change)  # type: ignore[arg-type]


def test_the_published_settings() -> None:
    config = PUBLISHED_REDUCTION
    assert (config.components, config.steps, config.learning_rate) == (128, 15_000, 2e-4)
    assert (config.drawn, config.scale, config.slope) == ("normal", 1, 0.05)
    assert (config.starts, config.resample) == (1, False)
    assert ReductionConfig().is_auto
    assert not config.is_auto

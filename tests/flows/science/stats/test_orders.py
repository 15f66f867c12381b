from collections import Counter
from itertools import permutations
from math import comb

import numpy as np
import pytest

from flows.science.metrics import pearson
from flows.science.statistics import correlation_test, standardised
from flows.science.stats.orders import (
    OrderScheme,
    choose_order_scheme,
    coincidence,
    log_orders,
    permuted_labels,
    too_few_orders,
)
from tests.benchmarks.nulls import respond_in_order

FREE, SHIFT, WITHIN = (OrderScheme(kind, "") for kind in ("free", "shift", "within_run"))


def chosen(order: str, seed: int, **options: int) -> OrderScheme:
    shown = respond_in_order(order, 2, np.random.default_rng(seed), **options)
    return choose_order_scheme(shown.vectors, shown.image, shown.run, seed=seed)


def test_random_order_is_permuted_freely() -> None:
    kinds = Counter(chosen("random", seed).kind for seed in range(60))
    assert kinds["free"] >= 54
    assert chosen("random", 0).reason.startswith("stimuli are permuted freely: their order looks")


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ("topics", "stimuli that follow each other are more alike than in random order"),
        ("similar", "stimuli that follow each other are more alike than in random order"),
        ("run topics", "stimuli of one run are more alike than those of different runs"),
    ],
)
def test_orders_that_are_not_random_are_shifted(order: str, why: str) -> None:
    for seed in range(5):
        scheme = chosen(order, seed)
        assert scheme.kind == "shift"
        assert scheme.reason.startswith(f"labels are shifted within runs: {why} (p = 0.005")


def test_wide_vectors_are_judged_by_their_main_axes() -> None:
    rng = np.random.default_rng(0)
    shown = respond_in_order("similar", 2, rng)
    wide = shown.vectors @ rng.normal(size=(16, 200)) + 0.1 * rng.normal(size=(300, 200))
    assert choose_order_scheme(wide, shown.image, shown.run, seed=0).kind == "shift"
    shuffled = rng.permutation(shown.image)
    assert choose_order_scheme(wide, shuffled, shown.run, seed=0).kind == "free"


def test_a_stimulus_shown_twice_in_a_row_is_no_likeness() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 8))
    image = np.repeat(rng.permutation(60), 3)
    assert choose_order_scheme(vectors, image, np.zeros(180, int), seed=0).kind == "free"
    # Nor are two names of one vector, and neither does their order matter.
    doubled = np.concatenate([vectors, vectors])
    image = image + 60 * (np.arange(180) % 2)
    assert choose_order_scheme(doubled, image, np.zeros(180, int), seed=0).kind == "free"


def test_categories_that_were_trained_on_are_exchanged_within_runs() -> None:
    shown = respond_in_order("categories", 2, np.random.default_rng(0))
    choose = {"vectors": shown.vectors, "image": shown.image, "run": shown.run, "seed": 0}
    scheme = choose_order_scheme(**choose, training_image=np.arange(8))
    assert scheme.kind == "within_run"
    assert scheme.reason.startswith("labels are exchanged within runs: all 8 test stimuli were")
    # One that was not, or a run that shows one category alone, leaves nothing to exchange.
    assert choose_order_scheme(**choose, training_image=np.arange(7)).kind != "within_run"
    choose["run"] = np.arange(len(shown.image)) // 5
    assert choose_order_scheme(**choose, training_image=np.arange(8)).kind != "within_run"


def test_short_runs_tell_nothing_of_their_order() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    scheme = choose_order_scheme(vectors, np.arange(6), np.arange(6), seed=0)
    assert scheme == OrderScheme(
        "free", "stimuli are permuted freely: runs are too short to tell their order"
    )
    same = choose_order_scheme(np.ones((1, 4)), np.zeros(9, int), np.zeros(9, int), seed=0)
    assert same.kind == "free"


IMAGE = np.array([4, 4, 7, 9, 4, 7, 9, 9, 7, 2])
RUN = np.array([1, 1, 1, 1, 0, 0, 0, 0, 2, 2])


def test_free_labels_exchange_stimuli() -> None:
    for labels in permuted_labels(FREE, IMAGE, RUN, 50, seed=0):
        pairs = set(zip(IMAGE.tolist(), labels.tolist(), strict=True))
        assert len(pairs) == 4
        assert {label for _, label in pairs} == {2, 4, 7, 9}


def test_shifted_labels_are_rotations_of_each_run() -> None:
    seen = set()
    for labels in permuted_labels(SHIFT, IMAGE, RUN, 400, seed=0):
        for each in range(3):
            own = IMAGE[each == RUN]
            rotations = [np.roll(own, by).tolist() for by in range(len(own))]
            assert labels[each == RUN].tolist() in rotations
        seen.add(tuple(labels.tolist()))
    # Runs shift on their own: 4 x 4 x 2 orders.
    assert len(seen) == 32


def test_labels_within_runs_move_as_blocks() -> None:
    seen = set()
    for labels in permuted_labels(WITHIN, IMAGE, RUN, 400, seed=0):
        for each in range(3):
            own, new = IMAGE[each == RUN], labels[each == RUN]
            pairs = set(zip(own.tolist(), new.tolist(), strict=True))
            # One to one within the run.
            assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
            assert {a for a, _ in pairs} == {b for _, b in pairs}
        seen.add(tuple(labels.tolist()))
    assert len(seen) == 6 * 6 * 2


def test_how_many_orders_there_are() -> None:
    assert np.exp(log_orders(FREE, IMAGE, RUN)) == pytest.approx(24)
    assert np.exp(log_orders(SHIFT, IMAGE, RUN)) == pytest.approx(32)
    assert np.exp(log_orders(WITHIN, IMAGE, RUN)) == pytest.approx(72)
    assert too_few_orders(FREE, IMAGE, RUN, 1 / 24) is None
    assert too_few_orders(FREE, IMAGE, RUN, 0.04) == (
        "4 distinct test images are too few: p cannot reach 0.04"
    )
    assert too_few_orders(SHIFT, IMAGE, RUN, 0.01) == (
        "test runs are too short to shift labels within them: p cannot reach 0.01"
    )
    assert too_few_orders(WITHIN, IMAGE, RUN, 0.01) == (
        "test runs are too few to exchange labels within them: p cannot reach 0.01"
    )


def literal_null(
    scheme: OrderScheme, z: np.ndarray, zhat: np.ndarray, image: np.ndarray, run: np.ndarray
) -> np.ndarray:
    """Correlations by labels of trials, permutation by permutation."""
    truth = {each: z[image == each].mean(axis=0) for each in np.unique(image)}
    null = []
    for labels in permuted_labels(scheme, image, run, 150, seed=3):
        groups = (
            [(each, labels == each) for each in truth]
            if scheme.kind != "within_run"
            else [
                (each, (labels == each) & (run == one))
                for one in np.unique(run)
                for each in np.unique(labels[run == one])
            ]
        )
        expected = np.array([truth[each] for each, _ in groups])
        decoded = np.array([zhat[member].mean(axis=0) for _, member in groups])
        null.append(pearson(expected, decoded))
    return np.array(null)


@pytest.mark.parametrize("scheme", [FREE, SHIFT, WITHIN], ids=lambda scheme: scheme.kind)
def test_correlations_under_a_scheme_match_the_literal_ones(scheme: OrderScheme) -> None:
    rng = np.random.default_rng(0)
    # Runs of unlike length, in turns, and images shown unequally often.
    run = rng.permutation(np.repeat([5, 3, 8], [12, 20, 28]))
    image = rng.integers(0, 9, 60)
    image[:9] = np.arange(9)
    z = rng.normal(size=(9, 4))[image]
    zhat = 0.3 * z + rng.normal(size=z.shape)
    r, p = correlation_test(z, zhat, image, permutations=150, seed=3, scheme=scheme, run=run)
    null = literal_null(scheme, z, zhat, image, run)
    if scheme.kind == "within_run":
        units = sorted(set(zip(run.tolist(), image.tolist(), strict=True)))
        means = [
            np.array([v[(run == a) & (image == b)].mean(axis=0) for a, b in units])
            for v in (z, zhat)
        ]
    else:
        means = [np.array([v[image == b].mean(axis=0) for b in range(9)]) for v in (z, zhat)]
    assert np.allclose(r, pearson(*means))
    assert np.allclose(p, (1 + (null >= r - 1e-6).sum(axis=0)) / 151)


def share_of_small_p(order: str, seeds: int, *, free: bool = False) -> float:
    p = []
    for seed in range(seeds):
        shown = respond_in_order(order, 8, np.random.default_rng([seed, 6]))
        trained = np.arange(8) if order == "categories" else None
        scheme = choose_order_scheme(
            shown.vectors, shown.image, shown.run, seed=seed, training_image=trained
        )
        p.append(
            correlation_test(
                shown.z,
                shown.zhat,
                shown.image,
                permutations=199,
                seed=seed,
                scheme=FREE if free else scheme,
                run=shown.run,
            )[1]
        )
    return float((np.array(p) < 0.05).mean())


@pytest.mark.parametrize("order", ["random", "topics", "similar", "run topics", "categories"])
def test_smooth_predictions_that_know_nothing_are_calibrated_in_any_order(order: str) -> None:
    assert 0.02 <= share_of_small_p(order, 80) <= 0.085


def test_free_permutations_would_not_be_calibrated() -> None:
    """What shifts are for."""
    assert share_of_small_p("similar", 40, free=True) > 0.11
    assert share_of_small_p("topics", 40, free=True) > 0.09


def test_what_is_there_is_found_under_each_scheme() -> None:
    rng = np.random.default_rng(1)
    for order in ("random", "similar", "topics"):
        shown = respond_in_order(order, 4, rng)
        scheme = choose_order_scheme(shown.vectors, shown.image, shown.run, seed=0)
        told = shown.zhat + shown.z
        _, p = correlation_test(
            shown.z, told, shown.image, permutations=299, seed=0, scheme=scheme, run=shown.run
        )
        assert (p < 0.01).all()


def test_one_category_can_be_found_within_runs_and_not_among_category_means() -> None:
    rng = np.random.default_rng(0)
    shown = respond_in_order("categories", 2, rng)
    z = (shown.image[:, None] == np.arange(8)).astype(float)
    zhat = z + 0.5 * rng.normal(size=z.shape)
    both = {"permutations": 999, "seed": 0}
    _, free = correlation_test(z, zhat, shown.image, **both)
    assert free.min() > 0.08
    _, p = correlation_test(z, zhat, shown.image, **both, scheme=WITHIN, run=shown.run)
    assert (p < 1e-3).all()


def test_coincidence_is_the_chance_of_the_few_that_carry_a_correlation() -> None:
    """Two of 12 stimuli answer: all orders of them, and those in which both are in place."""
    truth, decoded = np.zeros((12, 1)), np.zeros((12, 1))
    truth[:2, 0], decoded[:2, 0] = [1, 1.01], [1, 0.99]
    truth, decoded = standardised(truth), standardised(decoded)
    r = (truth * decoded).sum(axis=0)
    null = []
    for a, b in permutations(range(12), 2):
        others = truth.sum() - truth[a, 0] - truth[b, 0]
        answering = truth[a, 0] * decoded[0, 0] + truth[b, 0] * decoded[1, 0]
        null.append(answering + others * decoded[2, 0])
    # In place, and exchanged, which lowers r by a little.
    both = np.mean(np.array(null) >= r - 1e-3)
    assert both == pytest.approx(1 / comb(12, 2))
    found = coincidence(truth * decoded, None, r, np.array([1 / np.sqrt(11)]))
    assert 0.2 * both <= found[0] <= both
    # Of stimuli that all answer none is likely to make the correlation alone.
    everywhere = standardised(np.random.default_rng(0).normal(size=(60, 1)))
    dense = coincidence(everywhere**2, None, np.ones(1), np.array([1 / np.sqrt(59)]))
    assert dense[0] < 1e-9
    # Runs: three parts in place by chances of their own.
    parts = np.array([[0.5], [0.3], [0.2]])
    chance = np.log([1 / 4, 1 / 5, 1 / 6])
    alone = coincidence(parts, chance, np.ones(1), np.array([1e-6]))
    assert alone[0] == pytest.approx(0.5 / 120)


def test_a_finding_that_rests_on_few_stimuli_is_not_extrapolated() -> None:
    """Three of 20 stimuli answer: no fit may go far below the chance of these three."""
    rng = np.random.default_rng(0)
    z = np.zeros((20, 30))
    z[:3] = 1
    zhat = z + 0.05 * rng.normal(size=z.shape)
    ps = [
        correlation_test(z, zhat, np.arange(20), permutations=1000, seed=seed)[1]
        for seed in range(4)
    ]
    assert np.min(ps) > 0.2 / comb(20, 3)
    # Four runs of 5 trials each, and all that is decoded is one trial a run.
    image = np.tile(np.arange(5), 4)
    z = (image == 0)[:, None].astype(float) + np.zeros((1, 30))
    zhat = z + 0.05 * rng.normal(size=z.shape)
    run = np.repeat(np.arange(4), 5)
    _, p = correlation_test(z, zhat, image, permutations=1000, seed=0, scheme=SHIFT, run=run)
    assert p.min() > 0.2 / 5**4


@pytest.mark.parametrize(
    ("scheme", "runs", "trials"), [(FREE, 1, 9), (SHIFT, 4, 8), (SHIFT, 12, 2), (WITHIN, 4, 4)]
)
def test_no_fitted_p_is_below_one_over_the_number_of_orders(
    scheme: OrderScheme, runs: int, trials: int
) -> None:
    """Of perfect decoding, which only the right order reaches."""
    rng = np.random.default_rng(0)
    image = np.arange(runs * trials) % (trials if scheme.kind == "within_run" else 1000)
    z = rng.normal(size=(runs * trials, 60))[image]
    run = np.repeat(np.arange(runs), trials)
    _, p = correlation_test(z, z, image, permutations=1000, seed=0, scheme=scheme, run=run)
    assert p.min() >= 0.99 * np.exp(-log_orders(scheme, image, run))


def test_bad_orders_are_refused() -> None:
    vectors, image, run = np.eye(4), np.array([0, 1, 2, 3]), np.zeros(4, int)
    with pytest.raises(ValueError, match="do not match"):
        choose_order_scheme(vectors, image, run[1:], seed=0)
    with pytest.raises(ValueError, match="reach outside the 4 vectors"):
        choose_order_scheme(vectors, image + 1, run, seed=0)
    with pytest.raises(ValueError, match="not finite"):
        choose_order_scheme(vectors * np.nan, image, run, seed=0)
    with pytest.raises(ValueError, match="permutations must be at least 99"):
        choose_order_scheme(vectors, image, run, seed=0, permutations=9)
    with pytest.raises(ValueError, match="do not match"):
        next(permuted_labels(SHIFT, image, run[1:], 5, seed=0))
    z = np.random.default_rng(0).normal(size=(4, 2))
    with pytest.raises(ValueError, match='kind "shift" need the runs'):
        correlation_test(z, z, image, permutations=5, seed=0, scheme=SHIFT)
    with pytest.raises(ValueError, match="and runs"):
        correlation_test(z, z, image, permutations=5, seed=0, scheme=SHIFT, run=run[1:])
    with pytest.raises(ValueError, match="too few to permute"):
        correlation_test(z, z, image % 2, permutations=5, seed=0, scheme=WITHIN, run=run)

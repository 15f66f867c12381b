import numpy as np
import pytest
from scipy import stats

from flows.science.stats.tails import Null, permutation_p, smallest_p, unreachable


def literal_p(observed: float, null: np.ndarray, bound: float | None = None) -> float:
    """One statistic, step by step: counted p, and the first tail whose fit passes."""
    total = len(null)
    reached = sum(value >= observed - 1e-6 for value in null)
    counted = (1 + reached) / (1 + total)
    if reached >= 10 or total < 200:
        return counted
    ordered = sorted(null.tolist(), reverse=True)
    highest = min(total // 10, 250)
    while highest >= 20:
        exceeding = [value for value in ordered[:highest] if value > ordered[highest] + 1e-6]
        threshold, top = ordered[highest], observed
        if bound is not None:
            clip = 1 - 1e-6
            threshold, top, *exceeding = np.arctanh(
                np.clip(np.array([threshold, top, *exceeding]) / bound, -clip, clip)
            )
        y = [value - threshold for value in exceeding]
        n = len(y)
        if n >= 20 and len({round(value, 9) for value in exceeding}) >= n / 2:
            mean = sum(y) / n
            weighted = sum(v * (rank - 0.35) / n for rank, v in enumerate(y, 1)) / n
            shape = 2 - mean / (mean - 2 * weighted)
            scale = 2 * mean * weighted / (mean - 2 * weighted)
            if shape <= 0:
                shape, scale = 0.0, mean
            tail = stats.genpareto(shape, scale=scale)
            rising = y[::-1]
            distance = (
                -n
                - sum(
                    (2 * i - 1) * (np.log(tail.cdf(rising[i - 1])) + np.log(tail.sf(rising[n - i])))
                    for i in range(1, n + 1)
                )
                / n
            )
            if distance <= 1.11:
                beyond = stats.genpareto(shape + 1 / n, scale=scale).sf(max(top - threshold, 0))
                p = (n + 1) / (1 + total) * beyond
                return min(counted, max(p, 1e-3 / (1 + total)))
        highest = int(highest * 0.75)
    return counted


@pytest.mark.parametrize("bound", [None, 1.0])
@pytest.mark.parametrize("permutations", [250, 1000])
def test_p_matches_the_literal_one(permutations: int, bound: float | None) -> None:
    rng = np.random.default_rng(permutations)
    null = np.concatenate(
        [
            rng.normal(size=(permutations, 4)) / 6,
            np.round(rng.normal(size=(permutations, 4)) / 6, 2),
            rng.standard_t(3, size=(permutations, 4)) / 8,
            # Few permutations differ from all others.
            np.where(rng.random((permutations, 4)) < 0.05, rng.random((permutations, 4)), -0.01),
        ],
        axis=1,
    )
    null = np.clip(null, -0.99, 0.99)
    for observed in (0.1, 0.35, 0.5, 0.7, 0.95):
        found = permutation_p(np.full(16, observed), null, bound=bound)
        expected = [literal_p(observed, column, bound) for column in null.T]
        assert np.allclose(found, expected, rtol=1e-8)


def test_the_order_and_the_size_of_parts_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    null = rng.normal(size=(3000, 5))
    observed = np.array([1.0, 3.2, 4.0, 5.0, 9.0])
    whole = permutation_p(observed, null)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        parts = Null(observed, len(null))
        left = null[rng.permutation(len(null))]
        while len(left):
            size = int(rng.integers(1, 700))
            parts.add(left[:size])
            left = left[size:]
        assert np.array_equal(parts.p(), whole)
    one_by_one = Null(observed, len(null))
    for row in null:
        one_by_one.add(row)
    assert np.array_equal(one_by_one.p(), whole)
    assert np.allclose(one_by_one.deviation(), null.std(axis=0))


def test_one_null_may_be_shared() -> None:
    rng = np.random.default_rng(0)
    null, observed = rng.normal(size=1000), np.array([0.0, 2.5, 3.5, 6.0])
    assert np.array_equal(
        permutation_p(observed, null), permutation_p(observed, np.repeat(null[:, None], 4, axis=1))
    )


def test_where_enough_permutations_reach_or_there_are_few_p_is_counted() -> None:
    rng = np.random.default_rng(0)
    null = rng.normal(size=(1000, 50))
    observed = np.sort(null, axis=0)[-10]
    assert permutation_p(observed, null) == pytest.approx(np.full(50, 11 / 1001))
    assert permutation_p(np.full(50, 9.0), null[:199]).tolist() == [1 / 200] * 50


def test_p_lies_between_its_bounds_and_falls_with_the_statistic() -> None:
    rng = np.random.default_rng(0)
    null = rng.normal(size=(1000, 40))
    before = np.ones(40)
    for observed in np.linspace(0, 12, 60):
        p = permutation_p(np.full(40, observed), null)
        counted = (1 + (null >= observed).sum(axis=0)) / 1001
        assert (p <= counted).all()
        assert (p >= smallest_p(1000)).all()
        assert (p <= before + 1e-12).all()
        before = p
    assert np.allclose(p, smallest_p(1000))
    assert permutation_p([12.0], null[:, :1], least=1e-4)[0] == 1e-4
    # What a caller knows to be the least p is no reason to take back a counted one.
    assert permutation_p([12.0], null[:, :1], least=0.5)[0] == pytest.approx(1 / 1001)


def share_below(level: float, law: stats.rv_continuous, permutations: int, seed: int) -> float:
    """Chance of p <= level for an observed value of the null's own law, over the level.

    Values observed are taken on a grid of their true p, so that rare ones are seen as well.
    """
    null = law.rvs(size=(permutations, 200), random_state=np.random.default_rng(seed))
    grid = 10 ** np.arange(-1, -8, -0.05)
    weight = grid * (10**0.025 - 10**-0.025)
    chance = [
        weight[i] * (permutation_p(np.full(200, law.isf(true)), null) <= level).mean()
        for i, true in enumerate(grid)
    ]
    return float(np.sum(chance)) / level


@pytest.mark.parametrize("permutations", [299, 1000])
def test_fitted_p_are_calibrated_where_the_tail_is_exponential(permutations: int) -> None:
    for level in (3e-4, 1e-4, 1e-5):
        assert 0.5 < share_below(level, stats.expon(), permutations, 0) < 1.15


@pytest.mark.parametrize("law", [stats.norm(), stats.beta(15, 15), stats.uniform()])
def test_fitted_p_are_too_large_for_lighter_tails(law: stats.rv_continuous) -> None:
    for level in (1e-4, 1e-5):
        assert share_below(level, law, 1000, 0) < 0.5


def test_a_heavy_tail_gets_the_larger_p() -> None:
    """At the same distance in units of the excesses' mean."""
    rng = np.random.default_rng(0)
    p = {}
    for name, null in {
        "exponential": rng.exponential(size=(1000, 100)),
        "heavy": stats.genpareto(0.4).rvs(size=(1000, 100), random_state=rng),
    }.items():
        ordered = np.sort(null, axis=0)
        threshold = ordered[-101]
        observed = threshold + 10 * (ordered[-100:] - threshold).mean(axis=0)
        p[name] = np.median(permutation_p(observed, null))
    assert p["heavy"] > 5 * p["exponential"]


def test_a_null_of_few_values_is_not_extrapolated() -> None:
    rng = np.random.default_rng(0)
    null = (rng.random((1000, 20)) < 0.08).astype(float)
    assert permutation_p(np.full(20, 2.0), null) == pytest.approx(np.full(20, 1 / 1001))


def test_nothing_is_known_of_nan() -> None:
    rng = np.random.default_rng(0)
    null = rng.normal(size=(300, 3))
    null[7, 1] = np.nan
    assert np.isnan(permutation_p([np.nan, 1.0, 1.0], null)).tolist() == [True, True, False]


def test_smallest_p_is_three_decades_below_the_floor_where_a_tail_can_be_fitted() -> None:
    assert smallest_p(199) == 1 / 200
    assert smallest_p(200) == pytest.approx(1e-3 / 201)
    assert permutation_p([40.0], np.random.default_rng(0).normal(size=200))[0] == smallest_p(200)


def test_families_that_cannot_be_reached_are_named() -> None:
    """Eight participants, 128 components, half of them must decode; 360 regions of an atlas."""
    families = {"shared concepts": 128 * 5, "regions of Glasser": 128 * 360}
    assert unreachable(0.05, 1000, families) == []
    regions, everything = unreachable(
        0.05, 500, {**families, "all atlases": 128 * 3600, "one test": 1}
    )
    assert regions == (
        "regions of Glasser: among 46,080 tests a single finding needs p <= 1.1e-06 for the level "
        "0.05, and 500 permutations reach 2e-06: at least 921 permutations are needed"
    )
    assert everything.startswith("all atlases: among 460,800 tests")
    assert unreachable(0.05, 921, {"regions of Glasser": 46080}) == []
    assert unreachable(0.05, 920, {"regions of Glasser": 46080}) != []
    # Below 200 permutations nothing is fitted.
    (few,) = unreachable(0.05, 150, {"components": 40})
    assert few.endswith("150 permutations reach 0.0066: at least 200 permutations are needed")
    (fewer,) = unreachable(0.05, 15, {"one": 1})
    assert fewer.endswith("at least 19 permutations are needed")


def test_bad_nulls_are_refused() -> None:
    with pytest.raises(ValueError, match="permutations must be at least 1"):
        permutation_p([1.0], np.zeros((0, 1)))
    with pytest.raises(ValueError, match="does not match 2 statistics"):
        permutation_p([1.0, 2.0], np.zeros((5, 3)))
    null = Null([1.0, 2.0], 3)
    null.add(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="2 of 3 permutations were added"):
        null.p()
    with pytest.raises(ValueError, match="follows one of 2 columns"):
        null.add(np.zeros((1, 1)))

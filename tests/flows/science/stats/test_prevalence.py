import numpy as np
import pytest

from flows.science.stats.prevalence import prevalence


def by_integration(
    significant: int, tested: int, level: float, power: float, mass: float
) -> tuple[float, float, float]:
    """Posterior on a fine grid: its peak, and the cells of highest density that hold the mass."""
    edges = np.linspace(0, 1, 200_001)
    share = (edges[1:] + edges[:-1]) / 2
    theta = (1 - share) * level + share * power
    log = significant * np.log(theta) + (tested - significant) * np.log1p(-theta)
    density = np.exp(log - log.max())
    density /= density.sum()
    order = np.argsort(-density)
    inside = order[: np.searchsorted(np.cumsum(density[order]), mass) + 1]
    return share[density.argmax()], edges[inside.min()], edges[inside.max() + 1]


@pytest.mark.parametrize(
    ("significant", "tested"),
    [(0, 1), (1, 1), (0, 8), (1, 8), (4, 8), (7, 8), (8, 8), (14, 20), (3, 100)],
)
@pytest.mark.parametrize(
    ("level", "power", "mass"), [(0.05, 1.0, 0.95), (0.05, 0.8, 0.95), (0.01, 1.0, 0.5)]
)
def test_estimate_and_interval_match_integration(
    significant: int, tested: int, level: float, power: float, mass: float
) -> None:
    found = prevalence(significant, tested, level=level, power=power, mass=mass)
    expected = by_integration(significant, tested, level, power, mass)
    assert (found.estimate, found.low, found.high) == pytest.approx(expected, abs=2e-4)


def test_known_values() -> None:
    """None or all significant: the posterior falls, or rises, all the way, and has closed forms."""
    none = prevalence(0, 10)
    theta = 1 - 0.95 * 0.05 ** (1 / 11)
    assert (none.estimate, none.low) == (0, 0)
    assert none.high == pytest.approx((theta - 0.05) / 0.95)
    every = prevalence(10, 10)
    theta = (0.05 + 0.95 * 0.05**11) ** (1 / 11)
    assert (every.estimate, every.high) == (1, 1)
    assert every.low == pytest.approx((theta - 0.05) / 0.95)
    one = prevalence(1, 1)
    theta = np.sqrt(0.05**2 + 0.05 * (1 - 0.05**2))
    assert one.low == pytest.approx((theta - 0.05) / 0.95)
    # As many as the level alone explains are no evidence of any.
    assert prevalence(5, 100).estimate == 0
    assert prevalence(5, 10).estimate == pytest.approx((0.5 - 0.05) / 0.95)


def test_intervals_hold_the_prevalence_as_often_as_they_say() -> None:
    """Over prevalences drawn from the prior."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        true = rng.random()
        count = int(rng.binomial(8, 0.05 + 0.95 * true))
        found = prevalence(count, 8, mass=0.8)
        held.append(found.low <= true <= found.high)
    assert 0.75 < np.mean(held) < 0.85


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 2), {}, "3 of 2 participants cannot be significant"),
        ((-1, 2), {}, "-1 of 2 participants"),
        ((0, 0), {}, "0 of 0 participants"),
        ((1, 2), {"level": 0.5, "power": 0.5}, "0 <= level < power <= 1"),
        ((1, 2), {"power": 1.1}, "0 <= level < power <= 1"),
        ((1, 2), {"mass": 1.0}, "mass must lie between 0 and 1"),
    ],
)
def test_impossible_counts_are_refused(
    arguments: tuple[int, int], options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prevalence(*arguments, **options)

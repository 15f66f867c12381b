"""In how many participants of a population an effect is present, from how many show it."""

from dataclasses import dataclass
from functools import cache

from scipy.optimize import minimize_scalar
from scipy.stats import beta


@dataclass(frozen=True)
class Prevalence:
    """Bayesian estimate of a prevalence.

    Attributes
    ----------
    estimate : float
        Most probable share of the population in whom the test would find the effect.
    low, high : float
        Ends of the highest-density interval.
    """

    estimate: float
    low: float
    high: float


@cache
def prevalence(
    significant: int,
    tested: int,
    *,
    level: float = 0.05,
    power: float = 1.0,
    mass: float = 0.95,
) -> Prevalence:
    """Share of a population that has an effect, from tests of single participants.

    A participant is significant with probability ``theta = (1 - g) level + g power``, where g
    is the prevalence. With all g equally probable before, theta has a Beta(k + 1, n - k + 1)
    distribution cut off to [level, power] after k of n were significant, and g follows from it.

    With a power of 1 the estimate is of those in whom a test like this one *finds* the effect,
    which is at most the share of those who have it.

    Parameters
    ----------
    significant : int
        k, participants significant at the level, each by a test of their own that no other
        participant's data and no correction over participants enters.
    tested : int
        n, at least 1.
    level : float
        Chance of a false positive in one participant.
    power : float
        Chance that the test finds the effect where it is present, above the level.
    mass : float
        Probability inside of the interval.

    Returns
    -------
    Prevalence

    Raises
    ------
    ValueError
        Where counts, level, power or mass lie outside what they can be.

    References
    ----------
    Ince, Paton, Kay and Schyns 2021, eLife 10, e62461.
    """
    if not 0 <= significant <= tested or tested < 1:
        raise ValueError(f"{significant} of {tested} participants cannot be significant")
    if not 0 <= level < power <= 1:
        raise ValueError(f"level {level:g} and power {power:g} must be 0 <= level < power <= 1")
    if not 0 < mass < 1:
        raise ValueError(f"mass must lie between 0 and 1, not {mass:g}")
    posterior = beta(significant + 1, tested - significant + 1)
    below = float(posterior.cdf(level))
    inside = float(posterior.cdf(power)) - below

    def quantile(share: float) -> float:
        return min(max(float(posterior.ppf(below + share * inside)), level), power)

    def width(lower: float) -> float:
        return quantile(lower + mass) - quantile(lower)

    # The density has one peak: the shortest interval is that of highest density. Its lower tail
    # is sought, and the ends, where the peak is at a bound, are tried apart.
    spare = 1 - mass
    found = minimize_scalar(
        width, bounds=(0, spare), method="bounded", options={"xatol": 1e-9 * spare}
    )
    lower = min((0.0, float(found.x), spare), key=width)

    def of(theta: float) -> float:
        return min(max((theta - level) / (power - level), 0.0), 1.0)

    return Prevalence(
        estimate=of(significant / tested), low=of(quantile(lower)), high=of(quantile(lower + mass))
    )

"""Whether a new run may answer for its dataset in the place of the one that does."""

import re
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Fall:
    """A new run decodes worse than the current one.

    Attributes
    ----------
    metric : str
        ``top1``, ``top10`` …: share of test trials whose image is among the k nearest of the pool.
    before, after : float
        Mean over participants in the current run, and in the new one.
    current : int
        The current run, which stays.
    """

    metric: str
    before: float
    after: float
    current: int

    def __str__(self) -> str:
        return (
            f"{self.metric} fell from {self.before:.3f} in run {self.current} to {self.after:.3f}"
        )


def fall_between(current: int, before: Json, after: Json, largest: float) -> Fall | None:
    """The fall of the metric that fell most, where that is more than may be.

    Metrics are compared that both runs have of the same participants and pools of images.

    Parameters
    ----------
    current : int
        The current run's id.
    before, after : dict
        `Run.metrics` of the current run and of the new one.
    largest : float
        Share of the current run's value by which a metric may fall.
    """
    old, new = before.get("decoders", {}), after.get("decoders", {})
    pools = [{label: one.get("pool") for label, one in each.items()} for each in (old, new)]
    if not old or pools[0] != pools[1]:
        return None
    measured = set.intersection(*(_measured(one) for one in (*old.values(), *new.values())))
    falls = []
    for metric in sorted(measured):
        was = fmean(one[metric] for one in old.values())
        now = fmean(one[metric] for one in new.values())
        if now < was * (1 - largest):
            falls.append(Fall(metric, was, now, current))
    return min(falls, key=lambda fall: fall.after / fall.before, default=None)


def _measured(decoder: Json) -> set[str]:
    # Not the interval of one.
    return {name for name in decoder if re.fullmatch(r"top\d+", name)}

"""A source of trials alone: who was shown what, and when."""

from typing import cast

import numpy as np

from flows.sources.base import Fold, Source, Stimulus, Trials, count_repeats


class Shown:
    """As much of `flows.sources.base.Source` as folds are made of.

    Parameters
    ----------
    shown : dict
        For each participant the keys of each session's trials.
    folds : dict, optional
        The data set's own split.
    shared : bool
        Whether stimuli that all of several participants saw are shared.
    """

    def __init__(
        self,
        shown: dict[str, list[list[str]]],
        folds: dict[str, Fold] | None = None,
        *,
        shared: bool = True,
    ) -> None:
        self._shown, self._folds, self._shared = shown, folds or {}, shared

    def participants(self) -> list[str]:
        """See `Source.participants`."""
        return sorted(self._shown)

    def trials(self, participant: str) -> Trials:
        """See `Source.trials`."""
        sessions = self._shown[participant]
        keys = np.array([key for session in sessions for key in session])
        numbers = np.repeat(np.arange(1, len(sessions) + 1), list(map(len, sessions)))
        return Trials(keys, numbers, count_repeats(keys))

    def stimuli(self) -> list[Stimulus]:
        """See `Source.stimuli`."""
        seen = [{key for each in sessions for key in each} for sessions in self._shown.values()]
        of_all = set.intersection(*seen) if self._shared and len(seen) > 1 else set()
        return [
            Stimulus(key, (), key in of_all, self._folds.get(key))
            for key in sorted(set.union(*seen))
        ]


def shown(
    numbers: dict[str, list[list[str]]],
    folds: dict[str, Fold] | None = None,
    *,
    shared: bool = True,
) -> Source:
    """A `Shown`, as what takes sources wants it."""
    return cast(Source, Shown(numbers, folds, shared=shared))


def pictures(count: int, first: int = 0) -> list[str]:
    """Keys of some pictures."""
    return [f"picture{number:05d}" for number in range(first, first + count)]

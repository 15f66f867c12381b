"""Who sees which stimulus in which trial."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DesignConfig:
    """Sizes of an experiment.

    Attributes
    ----------
    pool : int
        Training stimuli of all participants together.
    train : int
        Of these, those that one participant sees.
    validation, test : int
        Stimuli that all participants see.
    repeats : tuple of float
        Shares of a participant's training stimuli that are shown once, twice and three times.
    validation_repeats, test_repeats : int
    trials_per_session : int
        About as many; sessions are of one length.
    """

    pool: int
    train: int
    validation: int
    test: int
    repeats: tuple[float, float, float] = (0.15, 0.7, 0.15)
    validation_repeats: int = 2
    test_repeats: int = 3
    trials_per_session: int = 280

    @property
    def stimuli(self) -> int:
        """I, of all folds."""
        return self.pool + self.validation + self.test


def draw_folds(design: DesignConfig, rng: np.random.Generator) -> NDArray[np.str_]:
    """(I,) fold of every stimulus."""
    counts = (design.pool, design.validation, design.test)
    return rng.permutation(np.repeat(["train", "validation", "test"], counts))


def draw_seen(
    design: DesignConfig, fold: NDArray[np.str_], participants: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Training stimuli that each participant sees; what one does not see, others do."""
    pool = rng.permutation(np.flatnonzero(fold == "train"))
    lacking = len(pool) - design.train
    return [
        np.delete(pool, np.arange(one * lacking, (one + 1) * lacking) % len(pool))
        for one in range(participants)
    ]


def draw_trials(
    design: DesignConfig,
    fold: NDArray[np.str_],
    seen: NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stimulus (N,) and session (N,) of one participant's trials.

    The order is random over all sessions, and no stimulus follows itself.

    Parameters
    ----------
    design : DesignConfig
    fold : ndarray
        (I,).
    seen : ndarray
        The participant's training stimuli.
    rng : numpy.random.Generator
    """
    seen = rng.permutation(seen)
    shares = np.cumsum(design.repeats)[:2]
    once, twice = np.split(seen, np.round(shares * len(seen)).astype(int))[:2]
    thrice = seen[len(once) + len(twice) :]
    shown = np.concatenate(
        [
            once,
            np.repeat(twice, 2),
            np.repeat(thrice, 3),
            np.repeat(np.flatnonzero(fold == "validation"), design.validation_repeats),
            np.repeat(np.flatnonzero(fold == "test"), design.test_repeats),
        ]
    )
    order = rng.permutation(shown)
    while len(same := np.flatnonzero(order[1:] == order[:-1])):
        for trial in same + 1:
            other = rng.integers(len(order))
            order[[trial, other]] = order[[other, trial]]
    sessions = max(1, round(len(order) / design.trials_per_session))
    return order, np.arange(len(order)) * sessions // len(order) + 1

"""The descents of contrastive dimensionality reduction: many random starts, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from flows.science.checks import on_device
from flows.science.losses import contrastive_loss

if TYPE_CHECKING:
    from flows.science.reduction import ReductionConfig

# Steps from one look at the stimuli that a start did not draw to the next, and looks without a
# better one after which all starts end.
_LOOK_EVERY = 10
_PATIENCE = 5
# Left-out trials of a start that are looked at.
_LOOKED_AT = 256


@dataclass(frozen=True, eq=False)
class Descents:
    """Where starts ended.

    Attributes
    ----------
    rows : ndarray
        (starts, count, D) float32 unit rows.
    drawn : ndarray
        The same, as they were drawn.
    trials : list of ndarray
        Each start's trials.
    steps : int
        Steps after which the rows were taken.
    """

    rows: NDArray[np.float32]
    drawn: NDArray[np.float32]
    trials: list[NDArray[np.int64]]
    steps: int


def descend(
    pairs: torch.Tensor,
    label: torch.Tensor,
    unit: NDArray[np.integer],
    config: ReductionConfig,
    count: int,
    seed: int,
    *,
    steps: int | None = None,
    told: Callable[[int, float], None] | None = None,
) -> Descents:
    """Descend from every start, no further than serves stimuli that the start did not draw.

    A start that goes on learns its own stimuli by heart, the sooner the fewer there are. All
    starts end after the same number of steps: the one at which the mean of their losses over
    stimuli that they did not draw is least, of those looked at.

    Parameters
    ----------
    pairs : torch.Tensor
        (N, 2, D) predictions and targets of trials.
    label : torch.Tensor
        (N,) which target a trial showed.
    unit : ndarray
        (N,) what is drawn with replacement, numbered from 0.
    config : ReductionConfig
    count : int
        Rows of each start.
    seed : int
    steps : int, optional
        To end after, wherever losses are least; without, the data decide up to ``config.steps``,
        and all of these are made where starts leave no two targets out.
    told : callable, optional
        Called some times with the steps done and the loss.
    """
    place, starts = pairs.device, config.starts
    batches = _Batches(unit, config, seed)
    drawn = _draw(pairs, label, batches.trials, config, count, seed)
    weight = drawn.to(place, copy=True).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=config.learning_rate)
    left_out = None if steps is not None else _LeftOut.of(label, unit, batches.trials, seed)
    limit = config.steps if steps is None else steps
    report_every = max(1, limit // 20)
    best, best_loss, ended = None, np.inf, limit
    if left_out is not None:
        best, ended = weight.detach().clone(), 0
        best_loss = left_out.loss(best, pairs, label, config.slope)
    for step in range(1, limit + 1):
        rows = on_device(batches.next(), place)
        loss = _loss(weight, pairs[rows], label[rows], config.slope)
        optimiser.zero_grad()
        # The starts' losses add up: none has a part in another's gradient.
        (starts * loss).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if told is not None and step % report_every == 0:
            told(step, loss.item())
        if left_out is not None and step % _LOOK_EVERY == 0:
            looked = left_out.loss(weight.detach(), pairs, label, config.slope)
            if looked < best_loss:
                best, best_loss, ended = weight.detach().clone(), looked, step
            elif step - ended >= _PATIENCE * _LOOK_EVERY:
                break
    if told is not None and limit:
        told(limit, loss.item())
    final = weight.detach() if best is None else best
    return Descents(
        rows=functional.normalize(final, dim=2).cpu().numpy(),
        drawn=functional.normalize(drawn, dim=2).numpy(),
        trials=batches.trials,
        steps=ended,
    )


class _LeftOut:
    """Trials that starts did not draw, as many of each start."""

    def __init__(self, start: list[int], trials: NDArray[np.int64]) -> None:
        self.start, self.trials = start, trials

    @classmethod
    def of(
        cls,
        label: torch.Tensor,
        unit: NDArray[np.integer],
        trials: list[NDArray[np.int64]],
        seed: int,
    ) -> _LeftOut | None:
        """None where no start leaves two targets out: there is nothing to tell apart."""
        shown, rng = label.cpu().numpy(), np.random.default_rng([seed, len(unit)])
        start, left = [], []
        for number, own in enumerate(trials):
            others = np.flatnonzero(~np.isin(unit, np.unique(unit[own])))
            if len(np.unique(shown[others])) >= 2:
                start.append(number)
                left.append(rng.permutation(others)[:_LOOKED_AT])
        if not start:
            return None
        few = min(map(len, left))
        return cls(start, np.stack([own[:few] for own in left]))

    def loss(
        self, weight: torch.Tensor, pairs: torch.Tensor, label: torch.Tensor, slope: float
    ) -> float:
        """Mean over starts."""
        rows = on_device(self.trials, pairs.device)
        return float(_loss(weight[self.start], pairs[rows], label[rows], slope))


def _loss(
    weight: torch.Tensor, pairs: torch.Tensor, label: torch.Tensor, slope: float
) -> torch.Tensor:
    """Mean contrastive loss of starts (S, count, D) on their batches (S, B, 2, D)."""
    starts, count = weight.shape[:2]
    # Predictions and targets side by side: one product serves both.
    responses = functional.leaky_relu(pairs.flatten(1, 2) @ weight.transpose(1, 2), slope)
    predicted, target = responses.view(starts, -1, 2, count).unbind(2)
    return contrastive_loss(_scores(predicted, target), label)


def _scores(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Negative squared distances (starts, B, B), by the expanded square."""
    cross = predicted @ target.transpose(1, 2)
    lengths = predicted.square().sum(2)[:, :, None] + target.square().sum(2)[:, None, :]
    return 2 * cross - lengths


def _draw(
    pairs: torch.Tensor,
    label: torch.Tensor,
    trials: list[NDArray[np.int64]],
    config: ReductionConfig,
    count: int,
    seed: int,
) -> torch.Tensor:
    """(starts, count, D) rows that the starts begin with."""
    generator = torch.Generator().manual_seed(seed)
    if config.drawn == "normal":
        return config.scale * torch.randn(len(trials), count, pairs.shape[2], generator=generator)
    predicted, shown = pairs[:, 0].cpu().numpy(), label.cpu().numpy()
    rng = np.random.default_rng([seed, count])
    starts = [_far_apart(predicted[own], shown[own], count, rng) for own in trials]
    return config.scale * torch.from_numpy(np.stack(starts))


def _far_apart(
    predicted: NDArray[np.float32],
    shown: NDArray[np.integer],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(count, D) unit mean predictions of stimuli far from each other, after k-means++.

    References
    ----------
    Arthur and Vassilvitskii 2007, Proc. 18th ACM-SIAM Symposium on Discrete Algorithms, 1027.
    """
    _, of = np.unique(shown, return_inverse=True)
    sums = np.zeros((int(of.max()) + 1, predicted.shape[1]), dtype=np.float32)
    np.add.at(sums, of.ravel(), predicted)
    means = unit_rows(sums)
    chosen = [int(rng.integers(len(means)))]
    distance = 1 - means @ means[chosen[0]]
    while len(chosen) < count:
        weight = np.square(np.maximum(distance, 0), dtype=np.float64)
        # Where there are fewer stimuli than rows, some stand twice.
        usable = weight.sum() > 0 and len(chosen) < len(means)
        odds = weight / weight.sum() if usable else None
        chosen.append(int(rng.choice(len(means), p=odds)))
        distance = np.minimum(distance, 1 - means @ means[chosen[-1]])
    return means[chosen]


class _Batches:
    """Trials of each start's steps: each pass over them in a new order."""

    def __init__(self, unit: NDArray[np.integer], config: ReductionConfig, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        units = int(unit.max()) + 1
        self.trials = []
        for _ in range(config.starts):
            kept = np.ones(units, dtype=bool)
            if config.resample:
                # A stimulus that is drawn twice tells nothing more to a contrast of images.
                kept = np.bincount(self.rng.integers(0, units, units), minlength=units) > 0
            own = np.flatnonzero(kept[unit])
            self.trials.append(own if len(own) >= 2 else np.arange(len(unit)))
        self.batch = min([config.batch, *(len(own) for own in self.trials)])
        self.waiting = [np.empty(0, dtype=np.int64)] * config.starts

    def next(self) -> NDArray[np.int64]:
        """(starts, batch) rows of the next step."""
        rows = np.empty((len(self.trials), self.batch), dtype=np.int64)
        for start, own in enumerate(self.trials):
            if len(self.waiting[start]) < self.batch:
                self.waiting[start] = self.rng.permutation(own)
            rows[start] = self.waiting[start][: self.batch]
            self.waiting[start] = self.waiting[start][self.batch :]
        return rows


def unit_rows(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows at length 1; one of length 0 stays."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float32).tiny), dtype=np.float32)

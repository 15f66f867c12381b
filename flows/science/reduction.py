"""Contrastive dimensionality reduction: the directions of target space that brains carry."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from flows.science.checks import on_device
from flows.science.clustering import leaf_order
from flows.science.consensus import Consensus, agree_on_directions
from flows.science.decoder import Progress
from flows.science.device import resolve_device
from flows.science.losses import contrastive_loss
from flows.science.metrics import pearson
from flows.science.statistics import group_means

# Share of the largest second moment below which a direction is rounding error of the targets.
_SPANNED = 1e-10
# How many directions each start looks for, where the data are to decide.
_TRIED = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
# Starts with which numbers are tried; all are made of the one that is chosen.
_SEARCHING = 8
# Share of what the best number finds that is as good: of a dozen directions not one is given up.
_NEARLY = 0.95
# Directions that starts have in common for each that they were drawn with in common.
_MORE_THAN_DRAWN = 1.1
# Numbers in a row that do worse, after which no larger one is tried; numbers up to the second are
# tried in any case: they cost little, and far below what the data hold the curve goes up and down.
_WORSE_IN_A_ROW = 2
_ALWAYS_TRIED = 24
# Rows count that are told of stimuli their start did not draw: r times the root of their number
# lies beyond chance (5 %, one-sided). Of fewer stimuli r says nothing.
_TOLD = 1.64
_FEWEST_LEFT = 8


@dataclass(frozen=True)
class ReductionConfig:
    """Settings of the reduction; `PUBLISHED_REDUCTION` holds the paper's.

    Attributes
    ----------
    components : int or "auto"
        Directions that each start looks for; "auto" takes the smallest number of which nearly the
        most are found again. Where there are several starts, those that are found again are the
        components, which are fewer.
    steps : int
        Optimiser steps.
    learning_rate : float
        Adam's. It moves a weight by about this much a step: where what is drawn is larger than
        steps x learning_rate, what comes out is what was drawn.
    batch : int
        Trials in a step; shrinks to the number of trials where there are fewer.
    slope : float
        Of the leaky ReLU below zero.
    drawn : {"predictions", "normal"}
        What a start draws its rows from: the mean predictions of stimuli that lie far from each
        other (k-means++), or a normal distribution, as published.
    scale : float
        Length of a row that is drawn from predictions, standard deviation of a normal one.
    starts : int
        Random starts; 1 is the published procedure, which cannot tell what is found again.
    resample : bool
        Whether each start sees stimuli drawn with replacement, so that what is found again
        hangs neither on a seed nor on single stimuli.
    alike : float
        Mean cosine from which directions of different starts are one.
    recurrence : float
        Share of the starts that must find a direction.
    """

    components: int | Literal["auto"] = "auto"
    steps: int = 300
    learning_rate: float = 5e-3
    batch: int = 128
    slope: float = 0.05
    drawn: Literal["predictions", "normal"] = "predictions"
    scale: float = 1.0
    starts: int = 24
    resample: bool = True
    alike: float = 0.6
    recurrence: float = 0.4

    def __post_init__(self) -> None:
        counts = (self.steps, self.starts) + (() if self.is_auto else (int(self.components),))
        if min(counts) < 1 or self.batch < 2:
            raise ValueError(
                f"a reduction needs components, steps and starts >= 1 and batch >= 2, not {self}"
            )
        if self.is_auto and self.starts < 2:
            raise ValueError(
                "components = auto needs at least 2 starts, to see what is found again"
            )
        if not (self.learning_rate > 0 and self.scale > 0):
            raise ValueError(f"a reduction needs learning_rate > 0 and scale > 0, not {self}")
        if not (0 < self.alike < 1 and 0 < self.recurrence <= 1):
            raise ValueError(f"alike must lie in (0, 1) and recurrence in (0, 1], not {self}")

    @property
    def is_auto(self) -> bool:
        """Whether the data decide how many directions each start looks for."""
        return self.components == "auto"


# The 2023 paper's settings. Its released loop never zeroes its gradients, and leans on that.
PUBLISHED_REDUCTION = ReductionConfig(
    components=128, steps=15_000, learning_rate=2e-4, drawn="normal", starts=1, resample=False
)


@dataclass(frozen=True)
class CurvePoint:
    """How many of the directions that each start looked for were found again.

    Attributes
    ----------
    components : int
        Directions that each start looked for.
    kept : int
        Those that the configured share of the starts found.
    found : float
        How many of these a start finds on average.
    drawn : int
        How many such directions the starts share before the first step.
    """

    components: int
    kept: int
    found: float
    drawn: int


@dataclass(frozen=True, eq=False)
class Reduction:
    """Components, and how they were found.

    Attributes
    ----------
    components : ndarray
        (K, D) float32 rows of length 1, similar ones next to each other. None where no direction
        was found again.
    recurrence : ndarray
        (K,) share of the starts that found each; NaN of a single start.
    start_cosine : ndarray
        (K,) mean cosine of a component's rows with what each was drawn as: near 1 where training
        changed nothing.
    looked_for : int
        Directions that each start looked for.
    curve : tuple of CurvePoint
        In the order in which numbers were tried; one point where the number was given.
    """

    components: NDArray[np.float32]
    recurrence: NDArray[np.float64]
    start_cosine: NDArray[np.float64]
    looked_for: int
    curve: tuple[CurvePoint, ...]


def reduce_contrastively(
    y: NDArray[np.floating],
    yhat: NDArray[np.floating],
    image: NDArray[np.integer],
    config: ReductionConfig,
    *,
    seed: int,
    device: str | torch.device,
    resampled: NDArray[np.integer] | None = None,
    on_progress: Progress | None = None,
) -> Reduction:
    """Find the directions along which predictions tell their own target from the others'.

    With ``z = leaky_relu(y W^T)`` and ``zhat = leaky_relu(yhat W^T)``, W minimises the
    symmetric contrastive loss of ``s_ij = -||zhat_i - z_j||^2``. Two trials of the same
    image in a batch are no negatives of each other. Several starts are made side by side, each on
    its own draw of the stimuli; directions that enough of them find are averaged
    (`flows.science.consensus`), and the others are dropped: each start ends in an optimum of its
    own, that splits some directions and mixes others.

    Of W what lies in the span of the targets is kept. No target tells anything of the part of a
    row that is orthogonal to all of them: it stays as it was drawn, and with few distinct targets
    (the categories of a block design) that noise would be most of a row's length. The descent
    itself is in the encoder's own coordinates: along the targets' principal axes Adam, which
    scales its step coordinate by coordinate, would move as far in those of no variance as in
    those of most, and two starts would hardly find the same.

    Parameters
    ----------
    y : ndarray
        (N, D) target of each trial, trials of all participants concatenated; their mean taken
        off, since what all have in common tells no two apart and moves where the ReLU bends.
    yhat : ndarray
        (N, D) what a decoder that never saw the trial's stimulus makes of each trial.
    image : ndarray
        (N,) which target a trial showed, the same number across participants.
    config : ReductionConfig
    seed : int
        Of the starts, the stimuli they see, and the batches; the same seed gives the same bytes on
        one machine.
    device : str or torch.device
        As `resolve_device` takes it.
    resampled : ndarray, optional
        (N,) what is drawn with replacement, such as the blocks of a category; `image` where not
        given.
    on_progress : callable, optional
        Called some times with steps done, steps at most, and the batch's ``loss``.

    Returns
    -------
    Reduction

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, there are fewer than two images, all
        targets are the same, or more components are asked for than the targets can carry
        (`most_components`).

    References
    ----------
    Efird et al. 2023 (arXiv 2306.03375), contrastive dimensionality reduction; Himberg, Hyvarinen
    and Esposito 2004, NeuroImage 22, 1214 (joining the components of many starts).
    """
    resampled = image if resampled is None else resampled
    _check(y, yhat, image, resampled, config)
    place = resolve_device(device)
    basis = _span(y)
    # Predictions and targets side by side: one gather and one product a step serve both.
    pairs = on_device(np.stack([yhat, y], axis=1).astype(np.float32), place)
    label = on_device(np.unique(image, return_inverse=True)[1].ravel(), place)
    unit = np.unique(resampled, return_inverse=True)[1].ravel()

    most = most_components(y)
    tried = [each for each in (*_TRIED, most) if each <= most and each <= max(_TRIED)]
    numbers = sorted(set(tried)) if config.is_auto else [int(config.components)]

    def found(number: int, starts: int, done: float, share: float) -> tuple[_Found, CurvePoint]:
        def told(step: int, loss: float) -> None:
            if on_progress is not None:
                at = round(100 * (done + share * step / config.steps))
                on_progress(at, 100, {"loss": loss})

        settings = replace(config, components=number, starts=starts)
        rows, drawn, trials = _descend(pairs, label, unit, settings, number, seed, told)
        rows = _unit(rows @ basis.T @ basis)
        usable = _told_to_others(rows, pairs, unit, trials)
        joined, before = (
            agree_on_directions(
                each, alike=config.alike, recurrence=config.recurrence, usable=counted
            )
            for each, counted in ((rows, usable), (drawn, None))
        )
        point = CurvePoint(
            number,
            kept=len(joined.directions),
            found=float(joined.recurrence.sum()),
            drawn=len(before.directions),
        )
        return (joined, np.einsum("skr,skr->sk", rows, drawn)), point

    curve: list[CurvePoint] = []
    if config.is_auto:
        # Cost goes with the number, which the last ones of the list would double again and again.
        for number in numbers:
            share = number / sum(numbers) / 2
            done = sum(point.components for point in curve) / sum(numbers) / 2
            curve.append(found(number, min(config.starts, _SEARCHING), done, share)[1])
            if _declines(curve):
                break
        looked_for = _choose(curve)
    else:
        looked_for = numbers[0]
    (chosen, with_start), point = found(looked_for, config.starts, 0.5, 0.5)
    curve = curve or [point]
    count = len(chosen.directions)
    order = leaf_order(chosen.directions) if count > 1 else np.arange(count)
    recurrence = chosen.recurrence if config.starts > 1 else np.full(count, np.nan)
    return Reduction(
        components=np.ascontiguousarray(chosen.directions[order], dtype=np.float32),
        recurrence=recurrence[order],
        start_cosine=chosen.mean_of(with_start)[order],
        looked_for=looked_for,
        curve=tuple(curve),
    )


_Found = tuple[Consensus, NDArray[np.float64]]


def _choose(curve: list[CurvePoint]) -> int:
    """The smallest number of which a start finds nearly the most of what the others find.

    Too few directions mix what is apart, each start in its own way; too many split it, and parts
    are found again as well.
    """
    most = _most_found(curve)
    return min(
        (point.components for point in curve if _tells(point) and point.found >= _NEARLY * most),
        default=max(curve, key=lambda point: point.found).components,
    )


def _declines(curve: list[CurvePoint]) -> bool:
    """Whether larger numbers have done worse than the best for some time.

    While none is found again nothing can decline: where the data hold many directions, numbers
    far below theirs find none.
    """
    most = _most_found(curve)
    if curve[-1].components <= _ALWAYS_TRIED:
        return False
    return all(
        point.kept > 0 and (not _tells(point) or point.found < most)
        for point in curve[-_WORSE_IN_A_ROW:]
    )


def _most_found(curve: list[CurvePoint]) -> float:
    return max((point.found for point in curve if _tells(point)), default=0.0)


def _tells(point: CurvePoint) -> bool:
    """Whether training left starts with clearly more in common than they were drawn with.

    Starts that look for many directions draw much the same stimuli, and would find each other's
    whatever the data.
    """
    return point.kept > 0 and point.kept >= _MORE_THAN_DRAWN * point.drawn


def most_components(y: NDArray[np.floating]) -> int:
    """How many components targets can carry: as many as there are distinct ones, or dimensions.

    Parameters
    ----------
    y : ndarray
        (N, D) targets; those of distinct images are enough.
    """
    return int(min(len(np.unique(y, axis=0)), y.shape[1]))


def _descend(
    pairs: torch.Tensor,
    label: torch.Tensor,
    unit: NDArray[np.integer],
    config: ReductionConfig,
    count: int,
    seed: int,
    told: Callable[[int, float], None],
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[NDArray[np.int64]]]:
    """(starts, count, D) unit rows of all starts, and as they were drawn; each start's trials."""
    place, starts = pairs.device, config.starts
    trials = _Batches(unit, config, seed)
    drawn = _draw(pairs, label, trials.trials, config, count, seed)
    weight = drawn.to(place, copy=True).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=config.learning_rate)
    report_every = max(1, config.steps // 20)
    for step in range(1, config.steps + 1):
        rows = on_device(trials.next(), place)
        images = label[rows]
        both = pairs[rows].flatten(1, 2)
        responses = functional.leaky_relu(both @ weight.transpose(1, 2), config.slope)
        predicted, target = responses.view(starts, -1, 2, count).unbind(2)
        # The starts' losses add up: none has a part in another's gradient.
        loss = starts * contrastive_loss(_scores(predicted, target), images)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % report_every == 0 or step == config.steps:
            told(step, loss.item() / starts)
    return (
        functional.normalize(weight.detach(), dim=2).cpu().numpy(),
        functional.normalize(drawn, dim=2).numpy(),
        trials.trials,
    )


def _told_to_others(
    rows: NDArray[np.float32],
    pairs: torch.Tensor,
    unit: NDArray[np.integer],
    trials: list[NDArray[np.int64]],
) -> NDArray[np.bool_]:
    """(starts, count) rows that are told of stimuli which their start did not draw.

    A start that learns from noise finds directions along which its own stimuli are told, and
    others are not. Starts share most of their stimuli, and may find the same noise.
    """
    usable = np.ones(rows.shape[:2], dtype=bool)
    for start, own in enumerate(trials):
        left = np.ones(len(unit), dtype=bool)
        left[np.isin(unit, np.unique(unit[own]))] = False
        of = np.unique(unit[left], return_inverse=True)[1].ravel()
        if len(of) == 0 or of.max() + 1 < _FEWEST_LEFT:
            continue
        along = on_device(rows[start].T, pairs.device)
        told, true = (pairs[on_device(left, pairs.device)] @ along).relu().unbind(1)
        r = pearson(group_means(told.cpu().numpy(), of), group_means(true.cpu().numpy(), of))
        usable[start] = np.nan_to_num(r, nan=-1.0) * np.sqrt(of.max() + 1) > _TOLD
    return usable


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
    means = _unit(sums)
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


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows at length 1; one of length 0 stays."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float32).tiny), dtype=np.float32)


def _span(y: NDArray[np.floating]) -> NDArray[np.float32]:
    """(R, D) orthonormal rows that span the targets; the identity where that is everything."""
    targets = np.asarray(y, dtype=np.float64)
    variance, directions = np.linalg.eigh(targets.T @ targets)
    spanned = variance > _SPANNED * variance.max()
    if spanned.all():
        return np.eye(y.shape[1], dtype=np.float32)
    return np.ascontiguousarray(directions[:, spanned].T, dtype=np.float32)


def _scores(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Negative squared distances (starts, B, B), by the expanded square."""
    cross = predicted @ target.transpose(1, 2)
    lengths = predicted.square().sum(2)[:, :, None] + target.square().sum(2)[:, None, :]
    return 2 * cross - lengths


def _check(
    y: NDArray[np.floating],
    yhat: NDArray[np.floating],
    image: NDArray[np.integer],
    resampled: NDArray[np.integer],
    config: ReductionConfig,
) -> None:
    """Refuse what cannot be reduced."""
    if y.ndim != 2 or y.shape != yhat.shape or image.shape != (len(y),):
        raise ValueError(
            f"targets {y.shape}, predictions {yhat.shape} and images {image.shape} do not match: "
            "they must be (N, D), (N, D) and (N,)"
        )
    if resampled.shape != image.shape:
        raise ValueError(f"{len(image)} trials have units to resample of shape {resampled.shape}")
    for name, values in (("targets", y), ("predictions", yhat)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold values that are not finite")
    distinct = len(np.unique(image))
    if distinct < 2:
        raise ValueError("a contrast needs trials of at least 2 images")
    if (y == y[0]).all():
        raise ValueError(f"all {len(y)} trials have one target: nothing to tell apart")
    most = most_components(y)
    if not config.is_auto and int(config.components) > most:
        raise ValueError(
            f"components is {config.components}, larger than the data can carry: at most "
            f"{most}, with {distinct} distinct targets of {y.shape[1]} dimensions"
        )

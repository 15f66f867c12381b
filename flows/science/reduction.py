"""Contrastive dimensionality reduction: the directions of target space that brains carry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import on_device
from flows.science.clustering import leaf_order
from flows.science.consensus import Consensus, agree_on_directions
from flows.science.contrastive_descent import descend, unit_rows
from flows.science.decoder import Progress
from flows.science.device import resolve_device
from flows.science.metrics import pearson
from flows.science.statistics import group_means

# Share of the largest second moment below which a direction is rounding error of the targets.
_SPANNED = 1e-10
# How many directions each start looks for, where the data are to decide.
_TRIED = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
# Of the numbers above the one at which starts learnt most, those whose directions are joined.
_ABOVE = (1, 3)
# Numbers in a row that do worse, after which no larger one is tried; numbers up to the second are
# tried in any case: they cost little, and far below what the data hold the curve goes up and down.
_WORSE_IN_A_ROW = max(_ABOVE)
_ALWAYS_TRIED = 24
# Of fewer targets, such as the categories of a block design, all starts draw much the same, and
# what they learn cannot be told from what they were drawn with.
_FEW_TARGETS = 48
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
        Directions that each start looks for; "auto" takes the numbers of which most are found
        again beyond chance. Where there are several starts, those that are found again are the
        components, which are fewer.
    steps : int
        Optimiser steps at most. Starts that leave stimuli out end where these are told best.
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
class Search:
    """One search of all starts.

    Attributes
    ----------
    components : int
        Directions that each start looks for.
    steps : int
        Steps that each makes.
    """

    components: int
    steps: int


@dataclass(frozen=True)
class CurvePoint(Search):
    """How many of the directions that each start looked for were found again.

    Attributes
    ----------
    kept : int
        Those that the configured share of the starts found.
    found : float
        How many of these a start finds on average.
    drawn : float
        How many a start would find on average if it stayed as it was drawn: starts that look for
        many directions draw much the same stimuli.
    """

    kept: int
    found: float
    drawn: float

    def learnt(self, targets: int) -> float:
        """How many more a start finds than it was drawn with; of few targets, how many it finds."""
        return self.found - (self.drawn if targets >= _FEW_TARGETS else 0.0)


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
    searches : tuple of Search
        Those whose directions the components are.
    curve : tuple of CurvePoint
        In the order in which numbers were tried; one point where the number was given.
    """

    components: NDArray[np.float32]
    recurrence: NDArray[np.float64]
    start_cosine: NDArray[np.float64]
    searches: tuple[Search, ...]
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
    searches: Sequence[Search] | None = None,
    on_progress: Progress | None = None,
) -> Reduction:
    """Find the directions along which predictions tell their own target from the others'.

    With ``z = leaky_relu(y W^T)`` and ``zhat = leaky_relu(yhat W^T)``, W minimises the
    symmetric contrastive loss of ``s_ij = -||zhat_i - z_j||^2``. Two trials of the same
    image in a batch are no negatives of each other. Several starts are made side by side, each on
    its own draw of the stimuli; directions that enough of them find are averaged
    (`flows.science.consensus`), and the others are dropped: each start ends in an optimum of its
    own, that splits some directions and mixes others.

    Where the data decide how many directions a start looks for, the number is sought at which
    starts have most in common beyond what they were drawn with, and the first and
    the third larger one of the grid are taken: fewer directions mix what is apart. The larger of
    the two finds what the smaller mixes, and loses some of what is there: what both find is
    averaged, what one of them finds is kept. Where training brings starts together at no number,
    nothing is found.

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
    searches : sequence of Search, optional
        To make these, in place of what the configuration or the data decide.
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
    device = resolve_device(device)
    basis = _span(y)
    # Predictions and targets side by side: one gather and one product a step serve both.
    pairs = on_device(np.stack([yhat, y], axis=1).astype(np.float32), device)
    label = on_device(np.unique(image, return_inverse=True)[1].ravel(), device)
    unit = np.unique(resampled, return_inverse=True)[1].ravel()

    most = most_components(y)
    tried = [each for each in (*_TRIED, most) if each <= most and each <= max(_TRIED)]
    numbers = sorted(set(tried)) if config.is_auto else [int(config.components)]
    if searches is not None:
        numbers = [each.components for each in searches]
    deciding = searches is None and config.is_auto

    targets = int(label.max()) + 1
    looks: list[_Look] = []
    whole = sum(numbers)
    for place, number in enumerate(numbers):
        told = _teller(on_progress, sum(numbers[:place]), number, whole, config.steps)
        steps = None if searches is None else searches[place].steps
        looks.append(_look(pairs, label, unit, basis, config, number, seed, steps, told))
        if deciding and _declines([look.point for look in looks], targets):
            break
    curve = tuple(look.point for look in looks)
    chosen = [looks[place] for place in _choose(curve, targets)] if deciding else looks
    rows, recurrence, start_cosine = _join(chosen, y.shape[1], config)
    order = leaf_order(rows) if len(rows) > 1 else np.arange(len(rows))
    return Reduction(
        components=np.ascontiguousarray(rows[order], dtype=np.float32),
        recurrence=recurrence[order],
        start_cosine=start_cosine[order],
        searches=tuple(Search(look.point.components, look.point.steps) for look in chosen),
        curve=curve,
    )


def _teller(
    on_progress: Progress | None, done: int, number: int, whole: int, steps: int
) -> Callable[[int, float], None] | None:
    """What tells the progress of one number: cost goes with it."""
    if on_progress is None:
        return None

    def told(step: int, loss: float) -> None:
        on_progress(
            round(100 * min((done + number * step / steps) / whole, 1)), 100, {"loss": loss}
        )

    return told


@dataclass(frozen=True, eq=False)
class _Look:
    """What one number of directions gave: those found, and each row's cosine with its draw."""

    found: Consensus
    with_start: NDArray[np.float64]
    point: CurvePoint


def _look(
    pairs: torch.Tensor,
    label: torch.Tensor,
    unit: NDArray[np.integer],
    basis: NDArray[np.float32],
    config: ReductionConfig,
    number: int,
    seed: int,
    steps: int | None,
    told: Callable[[int, float], None] | None,
) -> _Look:
    ends = descend(pairs, label, unit, config, number, seed, steps=steps, told=told)
    rows = unit_rows(ends.rows @ basis.T @ basis)
    usable = _told_to_others(rows, pairs, unit, ends.trials)
    joined, before = (
        agree_on_directions(each, alike=config.alike, recurrence=config.recurrence, usable=counted)
        for each, counted in ((rows, usable), (ends.drawn, None))
    )
    point = CurvePoint(
        number,
        ends.steps,
        kept=len(joined.directions),
        found=float(joined.recurrence.sum()),
        drawn=float(before.recurrence.sum()),
    )
    return _Look(joined, np.einsum("skr,skr->sk", rows, ends.drawn), point)


def _join(
    looks: Sequence[_Look], dimensions: int, config: ReductionConfig
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Directions of several looks; those alike one of a larger number are averaged with it.

    They are weighted by how many starts found them. Shares of starts and cosines are those of the
    largest number that found a direction.

    Returns
    -------
    rows : ndarray
        (K, D) of length 1.
    recurrence, start_cosine : ndarray
        (K,)
    """
    rows = np.zeros((0, dimensions), dtype=np.float32)
    sums, shares, cosines = np.zeros((0, dimensions)), np.zeros(0), np.zeros(0)
    for look in sorted(looks, key=lambda each: -each.point.components):
        own, share = look.found.directions, look.found.recurrence
        weighted = own * share[:, None]
        new = np.ones(len(own), dtype=bool)
        if len(rows) and len(own):
            like = own @ rows.T
            new = like.max(axis=1) < config.alike
            np.add.at(sums, like.argmax(axis=1)[~new], weighted[~new])
        rows = np.concatenate([rows, own[new]])
        sums = np.concatenate([sums, weighted[new]])
        if config.starts == 1:
            share = np.full(len(own), np.nan)
        shares = np.concatenate([shares, share[new]])
        cosines = np.concatenate([cosines, look.found.mean_of(look.with_start)[new]])
    return unit_rows(sums), shares, cosines


def _choose(curve: Sequence[CurvePoint], targets: int) -> list[int]:
    """Places of the numbers that lie some places above that at which starts learnt most.

    Where there are no such numbers the largest is taken. None where starts learnt nothing in
    common at any number.
    """
    learnt = [point.learnt(targets) for point in curve]
    best = int(np.argmax(learnt))
    if learnt[best] <= 0:
        return []
    return sorted({min(best + above, len(curve) - 1) for above in _ABOVE})


def _declines(curve: Sequence[CurvePoint], targets: int) -> bool:
    """Whether larger numbers have done worse than the best for some time.

    While none is found again nothing can decline: where the data hold many directions, numbers
    far below theirs find none.
    """
    if curve[-1].components <= _ALWAYS_TRIED:
        return False
    most = max(point.learnt(targets) for point in curve)
    last = curve[-_WORSE_IN_A_ROW:]
    return all(point.kept > 0 and point.learnt(targets) < most for point in last)


def most_components(y: NDArray[np.floating]) -> int:
    """How many components targets can carry: as many as there are distinct ones, or dimensions.

    Parameters
    ----------
    y : ndarray
        (N, D) targets; those of distinct images are enough.
    """
    return int(min(len(np.unique(y, axis=0)), y.shape[1]))


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


def _span(y: NDArray[np.floating]) -> NDArray[np.float32]:
    """(R, D) orthonormal rows that span the targets; the identity where that is everything."""
    targets = np.asarray(y, dtype=np.float64)
    variance, directions = np.linalg.eigh(targets.T @ targets)
    spanned = variance > _SPANNED * variance.max()
    if spanned.all():
        return np.eye(y.shape[1], dtype=np.float32)
    return np.ascontiguousarray(directions[:, spanned].T, dtype=np.float32)


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

"""Contrastive dimensionality reduction: the directions of target space that brains carry."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from flows.science.checks import on_device
from flows.science.clustering import average_linkage, leaf_order
from flows.science.decoder import Progress
from flows.science.device import resolve_device
from flows.science.losses import contrastive_loss

# Share of the largest second moment below which a direction is rounding error of the targets.
_SPANNED = 1e-10


@dataclass(frozen=True)
class ReductionConfig:
    """Settings of the reduction; the defaults are the published ones.

    Attributes
    ----------
    components : int
        K, directions to find.
    steps : int
        Optimiser steps.
    learning_rate : float
        Adam's.
    batch : int
        Trials in a step; shrinks to the number of distinct images where there are fewer.
    slope : float
        Of the leaky ReLU below zero.
    scale : float
        Standard deviation of what a start draws. Of the published 1 much stays in a row as it
        was drawn where D is large; after a small start a row is what was learnt.
    centred : bool
        Take the mean off targets and off predictions first: what all have in common tells no
        two images apart, and moves where the leaky ReLU bends.
    starts : int
        Random starts whose components are joined; 1 is the published procedure.
    own_starts : int
        Starts on each participant's trials alone, joined with the others: what a single one
        carries is a small part of the loss of all.
    drawn : int
        Components that each start looks for; 0 for as many as are to be found.
    """

    components: int = 128
    steps: int = 15_000
    learning_rate: float = 2e-4
    batch: int = 128
    slope: float = 0.05
    scale: float = 1.0
    centred: bool = False
    starts: int = 1
    own_starts: int = 0
    drawn: int = 0

    def __post_init__(self) -> None:
        if min(self.components, self.steps, self.starts) < 1 or self.batch < 2:
            raise ValueError(
                f"a reduction needs components, steps and starts >= 1 and batch >= 2, not {self}"
            )
        if self.own_starts < 0:
            raise ValueError(f"own_starts cannot be negative, not even in {self}")
        if self.drawn < 0 or (self.starts + self.own_starts) * self.rows < self.components:
            raise ValueError(f"the starts must find components enough to join, not {self}")
        if not (self.learning_rate > 0 and self.scale > 0):
            raise ValueError(f"a reduction needs learning_rate > 0 and scale > 0, not {self}")

    @property
    def rows(self) -> int:
        """Components of one start."""
        return self.drawn or self.components


def reduce_contrastively(
    y: NDArray[np.floating],
    yhat: NDArray[np.floating],
    image: NDArray[np.integer],
    config: ReductionConfig,
    *,
    seed: int,
    device: str | torch.device,
    participant: NDArray[np.integer] | None = None,
    on_progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Find the K directions along which predictions tell their own target from the others'.

    With ``z = leaky_relu(y W^T)`` and ``zhat = leaky_relu(yhat W^T)``, W minimises the
    symmetric contrastive loss of ``s_ij = -||zhat_i - z_j||^2``. Two trials of the same
    image in a batch are no negatives of each other.

    W is sought in the span of the targets. No target tells anything of the part of a row that
    is orthogonal to all of them: it would stay as it was drawn, and with few distinct targets
    (the categories of a block design) that noise would be most of a row's length. Targets that
    span all D dimensions are not restricted.

    Parameters
    ----------
    y : ndarray
        (N, D) target of each trial, trials of all participants concatenated; the validation
        fold, since decoders overfit what they were trained on.
    yhat : ndarray
        (N, D) the decoder's prediction for each trial.
    image : ndarray
        (N,) which image a trial showed, the same number across participants.
    config : ReductionConfig
    seed : int
        Of the start and of the batches; the same seed gives the same bytes on one machine.
    device : str or torch.device
        As `resolve_device` takes it.
    participant : ndarray, optional
        (N,) whose trial each is; needed for `ReductionConfig.own_starts`.
    on_progress : callable, optional
        Called about a hundred times a start, with steps done, steps in all, and the batch's
        ``loss``.

    Returns
    -------
    ndarray
        (K, D) float32 rows of length 1, similar ones next to each other (`leaf_order`).

    Raises
    ------
    ValueError
        Where shapes do not match, values are not finite, there are fewer than two images (in
        all, or of a participant with a start of its own), or K is larger than what the targets
        span (`most_components`).

    References
    ----------
    METHOD.md b; Efird et al. 2023 (arXiv 2306.03375), contrastive dimensionality reduction.
    """
    _check(y, yhat, image, config)
    groups = [np.arange(len(y))] * config.starts + _own_trials(image, participant, config)
    place = resolve_device(device)
    basis = _span(y)
    # Predictions and targets side by side: one gather and one product a step serve both.
    sides = np.stack([yhat, y], axis=1)
    if config.centred:
        sides = sides - sides.mean(axis=0)
    pairs = on_device((sides @ basis.T).astype(np.float32), place)
    label = on_device(np.unique(image, return_inverse=True)[1].ravel(), place)
    found = []
    for start, trials in enumerate(groups):

        def told(step: int, loss: float, start: int = start) -> None:
            if on_progress is not None:
                done = start * config.steps + step
                on_progress(done, len(groups) * config.steps, {"loss": loss})

        rows = on_device(trials, place)
        batch = min(config.batch, len(np.unique(image[trials])))
        found.append(_descend(pairs[rows], label[rows], config, batch, seed + start, told))
    unit = _joined(np.concatenate(found) @ basis, config)
    return np.ascontiguousarray(unit[leaf_order(unit)])


def most_components(y: NDArray[np.floating]) -> int:
    """How many components targets can carry: the dimensions that they span.

    There are no more of these than distinct targets, nor than D.

    Parameters
    ----------
    y : ndarray
        (N, D) targets; those of distinct images are enough.
    """
    return len(_span(y))


def _own_trials(
    image: NDArray[np.integer], participant: NDArray[np.integer] | None, config: ReductionConfig
) -> list[NDArray[np.intp]]:
    """Trials of each start on one participant alone."""
    if not config.own_starts:
        return []
    if participant is None or participant.shape != image.shape:
        raise ValueError(
            f"starts on each participant alone need the participant of all {len(image)} trials"
        )
    own = [np.flatnonzero(participant == one) for one in np.unique(participant)]
    for trials in own:
        if len(np.unique(image[trials])) < 2:
            raise ValueError("a contrast needs trials of at least 2 images of each participant")
    return own * config.own_starts


def _descend(
    pairs: torch.Tensor,
    label: torch.Tensor,
    config: ReductionConfig,
    batch: int,
    seed: int,
    told: Callable[[int, float], None],
) -> NDArray[np.float32]:
    """(K, R) unit rows of one random start."""
    place = pairs.device
    generator = torch.Generator().manual_seed(seed)
    drawn = config.scale * torch.randn(config.rows, pairs.shape[2], generator=generator)
    weight = drawn.to(place).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=config.learning_rate)
    report_every = max(1, config.steps // 100)
    order, used = torch.empty(0, dtype=torch.int64, device=place), 0
    for step in range(1, config.steps + 1):
        if used + batch > len(order):
            order, used = torch.randperm(len(pairs), generator=generator).to(place), 0
        rows = order[used : used + batch]
        used += batch
        responses = functional.leaky_relu(pairs[rows] @ weight.T, config.slope)
        loss = contrastive_loss(_scores(responses[:, 0], responses[:, 1]), label[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % report_every == 0 or step == config.steps:
            told(step, loss.item())
    unit: NDArray[np.float32] = functional.normalize(weight.detach(), dim=1).cpu().numpy()
    return unit


def _joined(rows: NDArray[np.float32], config: ReductionConfig) -> NDArray[np.float32]:
    """(K, D) unit rows: what the starts found alike, averaged.

    Each start ends in an optimum of its own, that splits some directions and mixes others. What
    most of them find is closer to what brains carry than what any one does.
    """
    if len(rows) == config.components:
        return rows
    cluster = average_linkage(rows, config.components)
    means = np.stack([rows[cluster == each].mean(axis=0) for each in range(config.components)])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float32)


def _span(y: NDArray[np.floating]) -> NDArray[np.float32]:
    """(R, D) orthonormal rows that span the targets; the identity where that is everything."""
    targets = np.asarray(y, dtype=np.float64)
    variance, directions = np.linalg.eigh(targets.T @ targets)
    spanned = variance > _SPANNED * variance.max()
    if spanned.all():
        return np.eye(y.shape[1], dtype=np.float32)
    return np.ascontiguousarray(directions[:, spanned].T, dtype=np.float32)


def _scores(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Negative squared distances (B, B), by the expanded square."""
    cross = predicted @ target.T
    return 2 * cross - predicted.square().sum(1)[:, None] - target.square().sum(1)[None, :]


def _check(
    y: NDArray[np.floating],
    yhat: NDArray[np.floating],
    image: NDArray[np.integer],
    config: ReductionConfig,
) -> None:
    """Refuse what cannot be reduced."""
    if y.ndim != 2 or y.shape != yhat.shape or image.shape != (len(y),):
        raise ValueError(
            f"targets {y.shape}, predictions {yhat.shape} and images {image.shape} do not match: "
            "they must be (N, D), (N, D) and (N,)"
        )
    for name, values in (("targets", y), ("predictions", yhat)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold values that are not finite")
    distinct = len(np.unique(image))
    if distinct < 2:
        raise ValueError("a contrast needs trials of at least 2 images")
    most = most_components(y)
    for name in ("components", "drawn"):
        if getattr(config, name) > most:
            raise ValueError(
                f"{name} is {getattr(config, name)}, larger than the data can carry: at most "
                f"{most}, the dimensions that the targets of {distinct} distinct images span"
            )

"""Descents of many starts: what they draw, what they see, and where they end."""

from dataclasses import replace

import numpy as np
import torch

from flows.science import contrastive_descent
from flows.science.contrastive_descent import Descents, descend
from flows.science.reduction import ReductionConfig

DIMENSIONS = 32
FAST = ReductionConfig(components=10, steps=250, starts=8)


def planted(images: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """(N, 2, D) predictions and targets of two trials of each image, and which it was.

    Six topics are told, and much of each stimulus is its own and is not.
    """
    rng = np.random.default_rng(seed)
    topics = np.linalg.qr(rng.normal(size=(DIMENSIONS, 6)))[0].T
    amount = (rng.random((images, 6)) < 0.25) * rng.uniform(0.5, 1.5, (images, 6))
    amount = amount - amount.mean(axis=0)
    image = np.repeat(np.arange(images), 2)
    targets = amount @ topics + 0.25 * rng.normal(size=(images, DIMENSIONS))
    told = (amount @ topics)[image] + noise * rng.normal(size=(len(image), DIMENSIONS))
    pairs = np.stack([told, targets[image]], axis=1)
    pairs /= np.linalg.norm(pairs, axis=2, keepdims=True)
    return torch.from_numpy(pairs.astype(np.float32)), image


def descended(pairs: torch.Tensor, image: np.ndarray, **options: object) -> Descents:
    label = torch.from_numpy(image)
    return descend(pairs, label, image, FAST, 10, 3, **options)  # type: ignore[arg-type]


def left_out_loss(ends: Descents, pairs: torch.Tensor, image: np.ndarray, scale: float) -> float:
    """Literal: mean over starts of the loss over all trials that a start did not draw."""
    losses = []
    for rows, own in zip(ends.rows, ends.trials, strict=True):
        left = np.setdiff1d(np.arange(len(image)), own)
        weight = torch.from_numpy(scale * rows)
        told, true = torch.nn.functional.leaky_relu(pairs[left] @ weight.T, FAST.slope).unbind(1)
        scores = -torch.cdist(told, true).square()
        same = torch.from_numpy(image[left][:, None] == image[left][None])
        scores = scores.masked_fill(same & ~torch.eye(len(left), dtype=torch.bool), -torch.inf)
        both = scores.log_softmax(0).diagonal() + scores.log_softmax(1).diagonal()
        losses.append(float(-both.mean() / 2))
    return float(np.mean(losses))


def test_few_stimuli_end_early_and_many_late() -> None:
    few, many = (descended(*planted(images, 0.4)) for images in (40, 1500))
    assert 0 < few.steps < 0.7 * many.steps
    # What is learnt by heart serves nothing that a start did not see.
    pairs, image = planted(40, 0.4)
    late = descended(pairs, image, steps=FAST.steps)
    assert late.steps == FAST.steps
    assert left_out_loss(few, pairs, image, 1.0) < left_out_loss(late, pairs, image, 1.0)


def test_rows_are_those_of_the_best_look() -> None:
    pairs, image = planted(60, 0.4)
    ended = descended(pairs, image)
    told_to_end = descended(pairs, image, steps=ended.steps)
    np.testing.assert_array_equal(ended.rows, told_to_end.rows)
    assert ended.steps % contrastive_descent._LOOK_EVERY == 0


def test_what_draws_all_stimuli_makes_all_steps() -> None:
    pairs, image = planted(60, 0.4)
    config = replace(FAST, resample=False)
    ends = descend(pairs, torch.from_numpy(image), image, config, 10, 3)
    assert ends.steps == config.steps


def test_the_loss_of_what_is_left_out_is_the_literal_one() -> None:
    pairs, image = planted(60, 0.4)
    label = torch.from_numpy(image)
    ends = descended(pairs, image, steps=1)
    left = contrastive_descent._LeftOut.of(label, image, ends.trials, 0)
    assert left is not None
    # Where one start leaves as many out as another, the whole of them are looked at.
    fewest = min(len(image) - len(own) for own in ends.trials)
    assert left.trials.shape == (FAST.starts, fewest)
    for start, rows in zip(left.start, left.trials, strict=True):
        assert not set(rows) & set(ends.trials[start])
    start = next(i for i, own in enumerate(ends.trials) if len(image) - len(own) == fewest)
    alone = contrastive_descent._LeftOut([start], left.trials[[start]])
    rows = torch.from_numpy(ends.rows)
    one = Descents(ends.rows[[start]], ends.drawn, [ends.trials[start]], 1)
    literal = left_out_loss(one, pairs, image, 1.0)
    assert abs(alone.loss(rows, pairs, label, FAST.slope) - literal) < 1e-4


def test_starts_that_leave_one_target_out_have_no_say() -> None:
    unit = np.arange(4)
    label = torch.tensor([0, 0, 1, 1])
    trials = [np.array([0, 1, 2]), np.array([0, 2]), np.array([2, 3])]
    left = contrastive_descent._LeftOut.of(label, unit, trials, 0)
    assert left is not None
    assert left.start == [1]
    assert contrastive_descent._LeftOut.of(label, unit, trials[:1], 0) is None


def test_each_start_sees_units_drawn_with_replacement() -> None:
    # Blocks of two trials of a category: what is drawn is blocks.
    block = np.arange(80) // 2
    trials = contrastive_descent._Batches(block, replace(FAST, starts=12), 0)
    seen = [set(own) for own in trials.trials]
    assert len({frozenset(each) for each in seen}) == 12
    for own in trials.trials:
        kept = np.unique(block[own])
        # All trials of a block, and of 40 blocks about 1 - 1/e.
        assert len(own) == 2 * len(kept)
        assert 0.45 < len(kept) / 40 < 0.8
    batch = trials.batch
    assert batch == min(len(own) for own in trials.trials)
    rows = trials.next()
    assert rows.shape == (12, batch)
    for start, own in zip(rows, trials.trials, strict=True):
        assert len(set(start)) == batch
        assert set(start) <= set(own)
    everything = contrastive_descent._Batches(block, replace(FAST, resample=False), 0)
    assert all(len(own) == 80 for own in everything.trials)


def test_rows_are_drawn_from_predictions_of_stimuli_far_apart() -> None:
    rng = np.random.default_rng(0)
    groups = np.linalg.qr(rng.normal(size=(DIMENSIONS, 5)))[0].T
    shown = np.arange(200)
    predicted = groups[shown % 5] + 0.01 * rng.normal(size=(200, DIMENSIONS))
    rows = contrastive_descent._far_apart(predicted.astype(np.float32), shown, 5, rng)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert set((rows @ groups.T).argmax(axis=1)) == set(range(5))
    # More rows than stimuli: some stand twice.
    few = contrastive_descent._far_apart(predicted[:3].astype(np.float32), shown[:3], 5, rng)
    assert len(few) == 5
    assert len(np.unique(few, axis=0)) == 3

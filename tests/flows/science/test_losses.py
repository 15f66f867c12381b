import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.science.losses import contrastive_loss


def literal_loss(scores: list[list[float]], target: list[int]) -> float:
    size = len(target)
    total = 0.0
    for i in range(size):
        others = [j for j in range(size) if j == i or target[j] != target[i]]
        row = math.log(sum(math.exp(scores[i][j]) for j in others)) - scores[i][i]
        column = math.log(sum(math.exp(scores[j][i]) for j in others)) - scores[i][i]
        total += (row + column) / 2
    return total / size


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_equals_the_literal_loops(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    number = st.floats(-5, 5)
    scores = data.draw(
        st.lists(st.lists(number, min_size=size, max_size=size), min_size=size, max_size=size)
    )
    target = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    loss = contrastive_loss(torch.tensor(scores, dtype=torch.float64), torch.tensor(target))
    assert loss.item() == pytest.approx(literal_loss(scores, target), abs=1e-9)


def test_a_repeated_image_is_no_negative() -> None:
    vectors = torch.eye(3)[[0, 0, 1, 2]]
    scores = vectors @ vectors.T / 0.03
    repeated = contrastive_loss(scores, torch.tensor([0, 0, 1, 2]))
    taken_for_different = contrastive_loss(scores, torch.tensor([0, 3, 1, 2]))
    assert repeated.item() < 1e-6
    assert taken_for_different.item() == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_a_repeat_gets_no_gradient() -> None:
    scores = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    contrastive_loss(scores, torch.tensor([7, 7, 1])).backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[0, 1] == scores.grad[1, 0] == 0
    assert (scores.grad[[0, 2], [2, 0]] > 0).all()


def test_leading_dimensions_are_batches_of_their_own() -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 6, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 4, (2, 3, 6), generator=rng)
    together = contrastive_loss(scores, target)
    (gradient,) = torch.autograd.grad(together * 6, scores)
    losses = []
    for place in ((first, second) for first in range(2) for second in range(3)):
        one = scores[place].detach().clone().requires_grad_()
        loss = contrastive_loss(one, target[place])
        losses.append(loss.item())
        (own,) = torch.autograd.grad(loss, one)
        torch.testing.assert_close(gradient[place], own)
    # The mean over batches: times their number it is the sum.
    assert 6 * together.item() == pytest.approx(sum(losses))


def test_the_scores_are_left_as_they_were() -> None:
    scores = torch.ones(2, 2)
    contrastive_loss(scores, torch.tensor([1, 1]))
    assert torch.equal(scores, torch.ones(2, 2))


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) do not match 3 targets: .* \(3, 3\)"):
        contrastive_loss(torch.zeros(2, 3), torch.arange(3))

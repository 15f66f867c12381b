"""Tests of noise that several threads draw."""

from collections.abc import Iterator

import pytest
import torch
from scipy import stats

from flows.science.normal_noise import NormalNoise


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """PyTorch's number of threads, put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def draws(seed: int, threads: int = 2, times: int = 1) -> torch.Tensor:
    """The last of some draws of (50, 81) values."""
    torch.set_num_threads(threads)
    noise = NormalNoise(torch.empty(50, 81), seed)
    for _ in range(times):
        drawn = noise.draw()
    return drawn.clone()


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_any_number_of_threads_draws_the_same(threads: int) -> None:
    """One thread and several draw the same values, the first time and the third."""
    for times in (1, 3):
        assert torch.equal(draws(5, 1, times), draws(5, threads, times))


def test_every_draw_and_every_seed_is_another() -> None:
    """Draws do not repeat, and seeds next to each other share no part.

    Single precision is coarse enough for a few values to meet by chance.
    """
    one, again, other = draws(5), draws(5, times=2), draws(6)
    for values in (again, other):
        assert torch.isin(one, values).float().mean() < 0.01


def test_parts_differ_and_are_standard_normal() -> None:
    """All values together are standard normal, and no part repeats another."""
    values = draws(7).flatten()
    assert len(values.unique()) > 0.99 * len(values)
    assert stats.kstest(values.numpy(), "norm").pvalue > 0.01


def test_fewer_values_than_parts() -> None:
    """A single value is drawn as well."""
    assert torch.isfinite(NormalNoise(torch.empty(1, 1), 0).draw()).all()

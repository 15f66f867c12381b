"""Tests of surrogate maps: their values, their smoothness, and that participants share them."""

import numpy as np
import pytest
from scipy import ndimage

from app.maps.surrogates import draw_surrogates

PLACES = np.argwhere(np.ones((12, 12, 12))) * 3.0
NOISE = np.random.default_rng(0).normal(size=(12, 12, 12))
SMOOTH = ndimage.gaussian_filter(NOISE, 1.0).ravel()
SPARSE = np.where(np.quantile(SMOOTH, 0.95) < SMOOTH, 1.0, 0.0)


def drawn(values: list[np.ndarray], places: list[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    blocks = list(draw_surrogates(values, places, count=40, seed=seed))
    return [np.concatenate(each) for each in zip(*blocks, strict=True)]


def neighbours(values: np.ndarray) -> float:
    grid = values.reshape(-1, 12, 12, 12)
    pairs = [(grid[:, 1:], grid[:, :-1]), (grid[:, :, :, 1:], grid[:, :, :, :-1])]
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))


@pytest.mark.parametrize("values", [NOISE.ravel(), SMOOTH, SPARSE])
def test_values_are_the_map_s_and_so_is_their_smoothness(values: np.ndarray) -> None:
    (surrogates,) = drawn([values], [PLACES])
    assert surrogates.shape == (40, 1728)
    for each in surrogates:
        np.testing.assert_allclose(np.sort(each), np.sort(values), atol=1e-6)
    assert neighbours(surrogates) == pytest.approx(neighbours(values), abs=0.07)


def test_they_have_nothing_to_do_with_the_map_nor_with_each_other() -> None:
    (surrogates,) = drawn([SMOOTH], [PLACES])
    r = np.corrcoef(np.concatenate([SMOOTH[None], surrogates]))[np.triu_indices(41, 1)]
    assert abs(r.mean()) < 0.01
    assert np.abs(r).max() < 0.5


def test_participants_meet_the_same_field() -> None:
    """At the same places they have the same order of values, whatever these are."""
    one, other = drawn([SMOOTH, np.exp(SMOOTH[::2])], [PLACES, PLACES[::2]])
    ranks = [each.argsort(axis=1).argsort(axis=1) for each in (one[:, ::2], other)]
    np.testing.assert_array_equal(*ranks)


def test_a_seed_gives_the_same_ones() -> None:
    first, again, other = (drawn([SMOOTH], [PLACES], seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)

"""Tests of the correlation of a map with masks: literal values, calibration, power."""

import numpy as np
import pytest
from scipy import ndimage

from app.maps.correlation import Covered, correlate
from app.maps.surrogates import draw_surrogates

SHAPE = (9, 9, 9)
PLACES = np.argwhere(np.ones(SHAPE)) * 3.0
MASKS = 20


def smooth(sigma: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=[each + 12 for each in SHAPE])
    field = ndimage.gaussian_filter(noise, sigma) if sigma else noise
    return field[6:-6, 6:-6, 6:-6].ravel()


def masks(rng: np.random.Generator, *, balls: bool) -> np.ndarray:
    weights = np.zeros((len(PLACES), MASKS), dtype=np.float32)
    for number in range(MASKS):
        members = rng.choice(len(PLACES), 40, replace=False)
        if balls:
            distance = np.linalg.norm(PLACES - PLACES[members[0]], axis=1)
            members = np.argsort(distance)[:40]
        weights[members, number] = rng.uniform(0.5, 1, 40)
    return weights


def test_against_a_literal_version() -> None:
    """Voxel after voxel; p from the surrogates themselves, one correlation at a time."""
    rng = np.random.default_rng(0)
    parts = [np.arange(0, 729, 2), np.arange(0, 729, 3)]
    field = 1000 + 0.01 * smooth(1.0, rng)
    weights = masks(rng, balls=True)
    weights[parts[0], 3] = 0
    weights[:, 4] = 0.7
    covered = [Covered(PLACES[part], field[part], weights[part]) for part in parts]
    found = correlate(covered, permutations=99, seed=5)
    (blocks,) = [
        list(
            draw_surrogates(
                [(each.values - 1000) * 100 for each in covered],
                [each.places for each in covered],
                count=99,
                seed=5,
            )
        )
    ]
    null = [np.concatenate(each) for each in zip(*blocks, strict=True)]
    for k in range(6):
        told = [s for s in range(2) if len(set(weights[parts[s], k])) > 1]
        each = [np.corrcoef(field[parts[s]], weights[parts[s], k])[0, 1] for s in told]
        assert len(each) == {3: 1, 4: 0}.get(k, 2)
        np.testing.assert_array_equal(np.isfinite(found.each[:, k]), [s in told for s in (0, 1)])
        if not told:
            assert np.isnan([found.mean[k], found.p[k]]).all()
            continue
        assert found.each[told, k] == pytest.approx(each, abs=1e-5)
        assert found.mean[k] == pytest.approx(np.mean(each), abs=1e-5)
        reached = 0
        for row in range(99):
            values = [np.corrcoef(null[s][row], weights[parts[s], k])[0, 1] for s in told]
            reached += np.mean(values) >= np.mean(each) - 1e-6
        assert found.p[k] == pytest.approx((1 + reached) / 100)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
@pytest.mark.parametrize("participants", [1, 2])
def test_a_map_that_has_nothing_to_do_with_masks_finds_few(sigma: float, participants: int) -> None:
    """The long version, with more kinds of maps and masks: `tests.benchmarks.map_search`."""
    hits = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        field = smooth(sigma, rng)
        weights = np.concatenate([masks(rng, balls=True), masks(rng, balls=False)], axis=1)
        parts = [np.arange(s, 729, participants) for s in range(participants)]
        covered = [Covered(PLACES[part], field[part], weights[part]) for part in parts]
        hits.append(correlate(covered, permutations=99, seed=seed).p < 0.05)
    # Of 99 surrogates an exact test gives 0.04; the masks of one map go together.
    assert 0.01 < np.mean(hits) < 0.08


def test_voxels_shuffled_would_find_many() -> None:
    """What the surrogates are for."""
    hits = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = smooth(1.5, rng)
        weights = masks(rng, balls=True)
        weights = weights - weights.mean(axis=0)
        null = np.array([rng.permutation(values) @ weights for _ in range(99)])
        hits.append((null < values @ weights).mean(axis=0) > 0.95)
    assert np.mean(hits) > 0.2


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_mask_is_found_and_its_negative_is_not(sign: int) -> None:
    rng = np.random.default_rng(0)
    weights = masks(rng, balls=True)
    noise = smooth(1.0, rng)
    values = sign * weights[:, 7] + 0.5 * noise / noise.std() * weights[:, 7].std()
    found = correlate([Covered(PLACES, values, weights)], permutations=199, seed=0)
    if sign > 0:
        assert found.mean.argmax() == 7
        assert found.p[7] == 1 / 200
    else:
        assert found.mean.argmin() == 7
        assert found.p[7] > 0.95

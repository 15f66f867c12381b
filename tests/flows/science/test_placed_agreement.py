"""Masks of balls: in one place of all participants, or in places of their own."""

import numpy as np
import pytest

from flows.science.hemispheres import LEFT, RIGHT
from flows.science.placed_agreement import SignedMask, placed_agreement_p
from flows.science.placements import place_region
from tests.flows.science.fields import ball, voxel_cloud


def clouds(participants: int, rng: np.random.Generator, count: int = 600) -> list[np.ndarray]:
    return [voxel_cloud(count, rng) + rng.normal(size=3) for _ in range(participants)]


def at(cloud: np.ndarray, place: np.ndarray, size: int) -> SignedMask:
    return SignedMask(ball(cloud, int(((cloud - place) ** 2).sum(axis=1).argmin()), size), cloud)


def p_of(masks: list[SignedMask], *, placements: int = 99, seed: int = 0) -> float:
    return placed_agreement_p(masks, placements=placements, seed=seed, bin_mm=6.0)


@pytest.mark.parametrize("participants", [2, 3])
@pytest.mark.parametrize("size", [20, 100])
def test_unrelated_places_are_calibrated_and_one_place_is_found(
    participants: int, size: int
) -> None:
    rng = np.random.default_rng(participants)
    unrelated, shared = [], []
    for seed in range(60):
        brains = clouds(participants, rng)
        own = [at(each, each[rng.integers(len(each))], size) for each in brains]
        unrelated.append(p_of(own, placements=39, seed=seed))
        place = brains[0][rng.integers(len(brains[0]))]
        shared.append(p_of([at(each, place, size) for each in brains], placements=39, seed=seed))
    assert np.mean(np.array(unrelated) <= 0.05) <= 0.1
    assert 0.1 <= np.mean(np.array(unrelated) <= 0.2) <= 0.32
    assert np.mean(np.array(shared) <= 0.05) > 0.9


def test_p_is_the_literal_one() -> None:
    rng = np.random.default_rng(0)
    brains = clouds(3, rng, 300)
    masks = [at(each, each[rng.integers(len(each))], 40) for each in brains]
    drawn = [
        place_region(
            mask.members, mask.coordinates, placements=30, seed=np.random.SeedSequence([5, index])
        )
        for index, mask in enumerate(masks)
    ]

    def binned(cloud: np.ndarray, members: np.ndarray) -> dict[tuple[int, ...], float]:
        held: dict[tuple[int, ...], list[bool]] = {}
        for voxel, xyz in enumerate(cloud):
            key = tuple(int(np.floor(each / 6.0)) for each in xyz)
            held.setdefault(key, []).append(voxel in members)
        return {key: float(np.mean(values)) for key, values in held.items()}

    def agreement(members: list[np.ndarray]) -> float:
        maps = [
            binned(cloud, set(each.tolist())) for cloud, each in zip(brains, members, strict=True)
        ]
        found = []
        for a in range(3):
            for b in range(a):
                common = [key for key in maps[a] if key in maps[b]]
                found.append(np.corrcoef([[m[key] for key in common] for m in (maps[a], maps[b])]))
        return float(np.mean([each[0, 1] for each in found]))

    observed = agreement([np.flatnonzero(mask.members) for mask in masks])
    null = [agreement([each[draw] for each in drawn]) for draw in range(30)]
    expected = (1 + sum(value >= observed - 1e-6 for value in null)) / 31
    assert p_of(masks, placements=30, seed=5) == pytest.approx(expected)
    assert 1 / 31 < expected < 1


def test_masks_that_respond_in_opposite_directions_do_not_agree() -> None:
    rng = np.random.default_rng(3)
    one, other = (at(each, np.array([20.0, -10, 0]), 60) for each in clouds(2, rng))
    less = SignedMask(other.members, other.coordinates, sign=-1.0)
    assert p_of([one, other]) == 0.01
    assert p_of([one, less]) == 1
    assert p_of([SignedMask(one.members, one.coordinates, sign=-1.0), less]) == 0.01


def test_shapes_stay_in_their_hemisphere() -> None:
    """Where all of one hemisphere are members, every placement agrees as well."""
    rng = np.random.default_rng(4)
    masks = [
        SignedMask(each[:, 0] > 0, each, np.where(each[:, 0] > 0, RIGHT, LEFT))
        for each in clouds(2, rng)
    ]
    assert p_of(masks) == 1
    assert p_of([SignedMask(each.members, each.coordinates) for each in masks]) < 0.2


def test_voxels_without_a_place_count_for_nothing() -> None:
    rng = np.random.default_rng(5)
    masks = [at(each, np.array([20.0, -10, 0]), 30) for each in clouds(2, rng)]
    nowhere = [
        SignedMask(
            np.append(each.members, [True] * 50),
            np.concatenate([each.coordinates, np.full((50, 3), np.nan)]),
        )
        for each in masks
    ]
    assert p_of(nowhere) == p_of(masks)


def test_what_cannot_be_compared_has_no_p() -> None:
    rng = np.random.default_rng(6)
    one, other = (at(each, each[0], 30) for each in clouds(2, rng))
    assert np.isnan(p_of([one]))
    for all_or_none in (True, False):
        constant = SignedMask(np.full(600, all_or_none), other.coordinates)
        assert np.isnan(p_of([one, constant]))
    assert np.isnan(p_of([one, SignedMask(other.members, other.coordinates + 1000)]))

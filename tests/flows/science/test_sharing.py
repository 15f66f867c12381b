from itertools import combinations, permutations

import numpy as np
import pytest

from flows.science.placed_agreement import SignedMask, placed_agreement_p
from flows.science.sharing import _draw_pairings, agreement_test
from flows.science.similarity import bin_masks, compare_masks
from tests.flows.science.fields import smooth_maps, voxel_cloud


def cohort(
    participants: int, components: int, shared: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Masks of which the first `shared` have a part that all participants have."""
    rng = np.random.default_rng(seed)
    clouds = [voxel_cloud(600, rng) + rng.normal(size=3) for _ in range(participants)]
    everywhere = smooth_maps(np.concatenate(clouds), components, 8.0, rng)
    everywhere[:, shared:] = 0
    masks = []
    for index, cloud in enumerate(clouds):
        own = smooth_maps(cloud, components, 8.0, rng)
        common = everywhere[index * 600 : (index + 1) * 600]
        # Participants' and components' masks differ in size, which must not matter.
        size = rng.uniform(-1, 0.5, components)
        masks.append(np.clip(own + 3 * common + size, 0, 1))
    return masks, clouds


@pytest.mark.parametrize(("participants", "components"), [(2, 8), (4, 10)])
def test_agreement_is_calibrated_on_unrelated_masks(participants: int, components: int) -> None:
    ps = []
    for seed in range(-(-400 // components)):
        masks, clouds = cohort(participants, components, 0, seed)
        ok = np.ones((participants, components), dtype=bool)
        ps.append(agreement_test(masks, clouds, ok, permutations=99, seed=seed)[1])
    p = np.concatenate(ps)
    assert len(p) >= 400
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert 0.15 <= (p < 0.2).mean() <= 0.25


def test_shared_masks_agree_and_others_do_not() -> None:
    masks, clouds = cohort(4, 12, 3, seed=1)
    ok = np.ones((4, 12), dtype=bool)
    agreement, p = agreement_test(masks, clouds, ok, permutations=499, seed=0)
    assert (agreement[:3] > 0.3).all()
    assert (p[:3] < 0.01).all()
    assert (p[3:] > 0.05).sum() >= 7


def test_agreement_is_the_correlation_over_common_bins() -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(4) * 10.0] * 3), axis=-1).reshape(-1, 3)
    values = rng.uniform(size=(2, 64, 1))
    # Two voxels a bin in the first participant, and bins that the second does not have.
    first = np.concatenate([values[0] - 0.1, values[0] + 0.1])
    coordinates = np.concatenate([grid + 1, grid + 2])
    seen = grid[:, 0] < 30
    agreement, p = agreement_test(
        [first, values[1][seen]],
        [coordinates, grid[seen] + 3],
        np.ones((2, 1), dtype=bool),
        permutations=5,
        seed=0,
        bin_mm=10.0,
    )
    expected = np.corrcoef(values[0][seen, 0], values[1][seen, 0])[0, 1]
    assert agreement[0] == pytest.approx(expected)
    # With one component there is no other to compare with: its members are placed elsewhere.
    assert p[0] >= 1 / 6


@pytest.mark.parametrize(("participants", "components"), [(2, 5), (3, 4)])
def test_agreement_matches_the_literal_one(participants: int, components: int) -> None:
    """All pairings of different components, one by one."""
    masks, clouds = cohort(participants, components, 1, seed=4)
    ok = np.ones((participants, components), dtype=bool)
    agreement, p = agreement_test(masks, clouds, ok, permutations=2000, seed=0)

    def paired(chosen: tuple[int, ...], *, scaled: bool) -> float:
        """Mean over the pairs of participants of one mask each."""
        binned = [
            bin_masks(mask[:, [k]], cloud, 6.0)
            for mask, cloud, k in zip(masks, clouds, chosen, strict=True)
        ]
        found = [compare_masks(a, b) for a, b in combinations(binned, 2)]
        return float(np.mean([f.correlation / (f.deviation if scaled else 1) for f in found]))

    different = permutations(range(components), participants)
    null = np.array([paired(each, scaled=True) for each in different])
    for component in range(components):
        own = (component,) * participants
        assert agreement[component] == pytest.approx(paired(own, scaled=False))
        reached = (null >= paired(own, scaled=True) - 1e-6).sum()
        assert p[component] == pytest.approx((1 + reached) / (1 + len(null)))


def test_agreement_is_calibrated_for_broad_and_for_focal_masks() -> None:
    """Unrelated masks; the first four components are broad in everyone, the others focal."""
    ok = np.ones((4, 8), dtype=bool)
    ps = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        clouds = [voxel_cloud(500, rng) for _ in range(4)]
        masks = [
            np.concatenate([smooth_maps(cloud, 4, scale, rng) for scale in (14.0, 4.0)], axis=1)
            for cloud in clouds
        ]
        ps.append(agreement_test(masks, clouds, ok, permutations=199, seed=seed)[1])
    broad, focal = np.split(np.array(ps), 2, axis=1)
    # By correlations alone 0.11 and 0.00.
    assert 0.02 <= (broad < 0.05).mean() <= 0.08
    assert 0.02 <= (focal < 0.05).mean() <= 0.08


def test_what_others_share_is_no_null() -> None:
    """Of twelve components six participants share the first six; the others are judged."""
    ok = np.ones((6, 12), dtype=bool)
    ps = []
    for seed in range(25):
        masks, clouds = cohort(6, 12, 6, seed)
        ps.append(agreement_test(masks, clouds, ok, permutations=199, seed=seed)[1][6:])
    assert 0.02 <= (np.array(ps) < 0.05).mean() <= 0.09


def test_participants_draw_different_components_where_they_can() -> None:
    ok = np.ones((3, 6), dtype=bool)
    ok[1, 1:], ok[2, 4:] = False, False
    drawn = _draw_pairings(ok, 500, np.random.default_rng(0))
    assert all(len(set(pairing)) == 3 for pairing in drawn.T.tolist())
    # The second has one to draw, which leaves the others the rest of theirs.
    assert [sorted(set(row)) for row in drawn.tolist()] == [[1, 2, 3, 4, 5], [0], [1, 2, 3]]


def test_more_participants_than_components_leave_like_pairs_out() -> None:
    """Three participants of one common mask, and two components: unlike ones never agree."""
    masks, clouds = cohort(1, 1, 0, seed=5)
    pair = np.concatenate([masks[0], 1 - masks[0]], axis=1)
    agreement, p = agreement_test(
        [pair] * 3, clouds * 3, np.ones((3, 2), dtype=bool), permutations=99, seed=0
    )
    assert agreement == pytest.approx([1, 1])
    # Two differ, and the third is compared with one of them: four pairings.
    assert p == pytest.approx([1 / 5, 1 / 5])


def test_few_pairings_bound_p_from_below() -> None:
    masks, clouds = cohort(2, 3, 3, seed=0)
    ok = np.ones((2, 3), dtype=bool)
    _, p = agreement_test(masks, clouds, ok, permutations=999, seed=0)
    # Three components in two participants make six pairings of different ones.
    assert p.min() >= 1 / 7


@pytest.mark.parametrize(("components", "sides"), [(3, None), (3, "by x"), (5, None)])
def test_where_pairings_could_not_reach_the_level_members_are_placed_elsewhere(
    components: int, sides: str | None
) -> None:
    """Five make 20 pairings, so that a p of 1/21 is the least, and of one of five its q is 0.24."""
    masks, clouds = cohort(2, components, 2, seed=0)
    masks[1][:, 1] *= -1
    ok = np.ones((2, components), dtype=bool)
    hemispheres = None if sides is None else [np.sign(each[:, 0]).astype(int) for each in clouds]
    options = {"permutations": 199, "seed": 0, "level": 0.05, "sides": hemispheres}
    agreement, p = agreement_test(masks, clouds, ok, **options, threshold=0.7)
    for component in range(components):
        signed = [
            SignedMask(
                np.abs(mask[:, component]) >= 0.7,
                cloud,
                None if hemispheres is None else hemispheres[each],
                -1.0 if each == 1 and component == 1 else 1.0,
            )
            for each, (mask, cloud) in enumerate(zip(masks, clouds, strict=True))
        ]
        expected = placed_agreement_p(signed, placements=199, seed=0, bin_mm=6.0)
        assert p[component] == expected
    assert agreement[0] > 0.3
    assert p[0] <= 0.1
    assert p[1] > 0.95


def test_further_masks_are_paired_where_few_are_decoded() -> None:
    masks, clouds = cohort(4, 30, 1, seed=0)
    ok = np.zeros((4, 30), dtype=bool)
    ok[:, 0] = True
    options = {"permutations": 999, "seed": 0, "level": 0.05}
    agreement, alone = agreement_test(masks, clouds, ok, **options)
    assert np.isfinite(agreement[0])
    # Placed elsewhere.
    assert alone[0] < 0.01
    assert np.isnan(alone[1:]).all()
    pool = np.ones_like(ok)
    _, p = agreement_test(masks, clouds, ok, **options, pool=pool)
    # Among 128 components that of one alone has to be so small.
    assert p[0] < 0.05 / 128
    assert np.isnan(p[1:]).all()
    # Where enough are decoded the pool has no say.
    ok[:, :20] = True
    expected = agreement_test(masks, clouds, ok, **options)
    assert np.array_equal(
        agreement_test(masks, clouds, ok, **options, pool=pool), expected, equal_nan=True
    )
    with pytest.raises(ValueError, match="pool of shape"):
        agreement_test(masks, clouds, ok, **options, pool=pool[:3])


def test_unrelated_masks_of_few_decoded_components_stay_calibrated_with_a_pool() -> None:
    ok = np.zeros((2, 12), dtype=bool)
    ok[:, :3] = True
    pool = np.ones_like(ok)
    ps = []
    for seed in range(100):
        masks, clouds = cohort(2, 12, 0, seed)
        ps.append(agreement_test(masks, clouds, ok, permutations=199, seed=seed, pool=pool)[1][:3])
    assert 0.02 <= (np.array(ps) < 0.05).mean() <= 0.09


def test_participants_who_do_not_decode_take_no_part() -> None:
    masks, clouds = cohort(4, 10, 10, seed=2)
    ok = np.ones((4, 10), dtype=bool)
    ok[3], ok[1:, 0] = False, False
    before = agreement_test(masks, clouds, ok, permutations=99, seed=0)
    masks[3] = np.zeros_like(masks[3])
    after = agreement_test(masks, clouds, ok, permutations=99, seed=0)
    assert np.array_equal(before, after, equal_nan=True)
    assert np.isnan(before[0][0])
    assert np.isfinite(before[1][1:]).all()


def test_voxels_without_coordinates_and_disjoint_brains_are_left_out() -> None:
    masks, clouds = cohort(2, 6, 6, seed=3)
    ok = np.ones((2, 6), dtype=bool)
    expected = agreement_test(
        [masks[0][50:], masks[1]], [clouds[0][50:], clouds[1]], ok, permutations=50, seed=0
    )
    clouds[0][:50] = np.nan
    found = agreement_test(masks, clouds, ok, permutations=50, seed=0)
    assert np.array_equal(expected, found)
    agreement, p = agreement_test(masks, [clouds[0], clouds[1] + 500], ok, permutations=50, seed=0)
    assert np.isnan(agreement).all()
    assert np.isnan(p).all()


def test_bad_masks_are_refused() -> None:
    masks, clouds = cohort(2, 3, 0, seed=0)
    ok = np.ones((2, 3), dtype=bool)
    with pytest.raises(ValueError, match="do not match"):
        agreement_test(masks, clouds, ok[:1], permutations=5, seed=0)
    short = [clouds[0], clouds[1][1:]]
    with pytest.raises(ValueError, match="participant 2 of 2: masks"):
        agreement_test(masks, short, ok, permutations=5, seed=0)
    with pytest.raises(ValueError, match="sub-07: masks"):
        agreement_test(masks, short, ok, permutations=5, seed=0, labels=["sub-03", "sub-07"])
    with pytest.raises(ValueError, match="1 labels for 2 participants"):
        agreement_test(masks, clouds, ok, permutations=5, seed=0, labels=["sub-03"])
    with pytest.raises(ValueError, match="bin_mm must be above 0"):
        agreement_test(masks, clouds, ok, permutations=5, seed=0, bin_mm=0)
    masks[1][0, 0] = np.nan
    with pytest.raises(ValueError, match="masks of participant 2 of 2 hold"):
        agreement_test(masks, clouds, ok, permutations=5, seed=0)

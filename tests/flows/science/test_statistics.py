import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flows.science.metrics import auc, dice, pearson
from flows.science.placements import place_region
from flows.science.statistics import (
    benjamini_hochberg,
    correlation_test,
    group_means,
    region_test,
    too_few_images,
)
from tests.flows.science.fields import ball, smooth_maps, voxel_cloud


def literal_benjamini_hochberg(p: np.ndarray) -> list[float]:
    """q of a test: the smallest level at which it is rejected."""
    count = len(p)
    return [
        min(min(1.0, other * count / (p <= other).sum()) for other in p if other >= value)
        for value in p
    ]


@given(p=arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)))
def test_q_values_match_the_definition(p: np.ndarray) -> None:
    assert np.allclose(benjamini_hochberg(p), literal_benjamini_hochberg(p))


def test_tests_not_made_are_no_part_of_the_family() -> None:
    p = np.array([[0.01, np.nan], [0.04, 0.9]])
    q = benjamini_hochberg(p)
    assert np.isnan(q[0, 1])
    assert np.allclose(q[~np.isnan(p)], literal_benjamini_hochberg(p[~np.isnan(p)]))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        benjamini_hochberg(np.array([0.5, 1.1]))


def repeated_trials(
    components: int, signal: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One to three trials of 60 images; the response to an image is alike in its repeats."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    z = np.maximum(rng.normal(size=(60, components)), 0)[image]
    own = rng.normal(size=(60, components))[image]
    return z, signal * z + 2 * own + rng.normal(size=z.shape), image


def test_correlation_of_image_averages_is_what_is_tested() -> None:
    z, zhat, image = repeated_trials(3, 0.5, seed=0)
    r, _ = correlation_test(z, zhat, image, permutations=5, seed=0)
    means = [np.array([v[image == i].mean(axis=0) for i in range(60)]) for v in (z, zhat)]
    assert np.allclose(r, pearson(*means))


def test_correlation_is_found_and_calibrated_though_images_repeat() -> None:
    _, found = correlation_test(*repeated_trials(20, 8.0, seed=1), permutations=199, seed=0)
    assert (found == 1 / 200).all()
    _, null = correlation_test(*repeated_trials(600, 0.0, seed=2), permutations=199, seed=0)
    assert 0.02 <= (null < 0.05).mean() <= 0.09
    assert 0.4 < null.mean() < 0.6


def test_permuting_trials_would_not_be_calibrated() -> None:
    """What the averages are for: repeats as if independent give too many small p."""
    z, zhat, image = repeated_trials(600, 0.0, seed=2)
    _, p = correlation_test(z, zhat, np.arange(len(image)), permutations=199, seed=0)
    assert (p < 0.05).mean() > 0.09


def test_constant_responses_have_no_p() -> None:
    z, zhat, image = repeated_trials(3, 0.5, seed=0)
    z[:, 1] = 0
    r, p = correlation_test(z, zhat, image, permutations=5, seed=0)
    assert np.isnan(r).tolist() == np.isnan(p).tolist() == [False, True, False]


def test_a_constant_response_is_constant_though_its_averages_round() -> None:
    z, zhat, image = repeated_trials(3, 0.5, seed=0)
    z[:, 1], zhat[:, 2] = 0.1, 3.3
    r, p = correlation_test(z, zhat, image, permutations=5, seed=0)
    assert np.isnan(r).tolist() == np.isnan(p).tolist() == [False, True, True]


def test_p_of_a_correlation_near_the_floor_is_that_of_many_more_permutations() -> None:
    """Fitted to 1,000 permutations and counted among 100,000."""
    rng = np.random.default_rng(0)
    z, zhat = rng.normal(size=(2, 60, 200))
    zhat += 0.42 * z
    fitted = correlation_test(z, zhat, np.arange(60), permutations=1000, seed=0)[1]
    counted = correlation_test(z, zhat, np.arange(60), permutations=100_000, seed=1)[1]
    seen = (counted > 1e-4) & (counted < 3e-3)
    assert seen.sum() > 30
    ratio = fitted[seen] / counted[seen]
    assert 0.9 < np.median(ratio) < 3
    assert (ratio > 0.3).all()
    assert (fitted < 1e-4).any()


@pytest.mark.parametrize(("images", "level", "enough"), [(3, 0.05, False), (4, 0.05, True)])
def test_images_are_enough_where_their_orders_are(images: int, level: float, enough: bool) -> None:
    """Perfect decoding, and orders drawn until all have been: p is about 1 / n!."""
    assert (too_few_images(images, level) is None) == enough
    z = np.arange(images, dtype=float)[:, None] ** 2
    _, p = correlation_test(z, z, np.arange(images), permutations=4999, seed=0)
    assert (p[0] <= level) == enough


def test_too_few_images_are_told_by_their_number() -> None:
    assert too_few_images(1, 0.5) == "1 distinct test images are too few: p cannot reach 0.5"
    assert too_few_images(5, 0.001) == "5 distinct test images are too few: p cannot reach 0.001"
    assert too_few_images(1000, 1e-9) is None


def test_bad_responses_are_refused() -> None:
    z, zhat, image = repeated_trials(3, 0.5, seed=0)
    with pytest.raises(ValueError, match="do not match"):
        correlation_test(z, zhat[1:], image, permutations=5, seed=0)
    with pytest.raises(ValueError, match="too few to permute"):
        correlation_test(z, zhat, image % 2, permutations=5, seed=0)
    with pytest.raises(ValueError, match="permutations must be at least 1"):
        correlation_test(z, zhat, image, permutations=0, seed=0)
    zhat[0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        correlation_test(z, zhat, image, permutations=5, seed=0)


CLOUD = voxel_cloud(1200, np.random.default_rng(0))
SIDE = np.where(CLOUD[:, 0] > 0, 1, -1).astype(np.int8)
REGIONS = np.array([ball(CLOUD, centre, size) for centre, size in ((50, 30), (400, 80), (900, 60))])


def test_auc_dice_and_p_match_the_literal_ones() -> None:
    rng = np.random.default_rng(1)
    # Rounded, so that voxels tie.
    maps = smooth_maps(CLOUD, 4, 8.0, rng).round(1)
    found = region_test(maps, REGIONS, CLOUD, side=SIDE, permutations=60, seed=7)
    for region, member in enumerate(REGIONS):
        assert np.allclose(found.auc[:, region], auc(maps, member), atol=1e-5)
        expected = [dice(maps[:, k] >= 0.5, member) for k in range(4)]
        assert np.allclose(found.dice[:, region], expected)
        seed = np.random.SeedSequence([7, int(member.sum())])
        null = []
        for row in place_region(member, CLOUD, side=SIDE, placements=60, seed=seed):
            placed = np.zeros(len(CLOUD), dtype=bool)
            placed[row] = True
            null.append(auc(maps, placed))
        reached = (np.array(null) >= auc(maps, member) - 1e-5).sum(axis=0)
        assert np.allclose(found.p[:, region], (1 + reached) / 61)


@pytest.mark.parametrize("scale_mm", [5.0, 10.0])
def test_region_test_is_calibrated_on_smooth_maps(scale_mm: float) -> None:
    maps = smooth_maps(CLOUD, 400, scale_mm, np.random.default_rng(2))
    p = region_test(maps, REGIONS, CLOUD, side=SIDE, permutations=199, seed=0).p
    assert 0.02 <= (p < 0.05).mean() <= 0.09


def test_shuffling_voxels_would_not_be_calibrated() -> None:
    """What the placements are for."""
    rng = np.random.default_rng(2)
    maps = smooth_maps(CLOUD, 200, 10.0, rng)
    null = np.array([auc(maps, rng.permutation(REGIONS[1])) for _ in range(99)])
    p = (1 + (null >= auc(maps, REGIONS[1])).sum(axis=0)) / 100
    assert (p < 0.05).mean() > 0.3


def test_a_planted_region_is_found_and_the_others_are_not() -> None:
    maps = smooth_maps(CLOUD, 5, 5.0, np.random.default_rng(3))
    maps += 4 * REGIONS[1][:, None]
    found = region_test(maps, REGIONS, CLOUD, side=SIDE, permutations=199, seed=0)
    assert (found.auc[:, 1] > 0.95).all()
    assert (found.p[:, 1] <= 0.02).all()
    assert (found.p[:, [0, 2]] > 0.05).mean() > 0.7


def test_p_of_a_region_near_the_floor_is_that_of_many_more_placements() -> None:
    rng = np.random.default_rng(0)
    maps = smooth_maps(CLOUD, 300, 5.0, rng) + 1.1 * REGIONS[0][:, None]
    options = {"maps": maps, "regions": REGIONS[:1], "coordinates": CLOUD, "side": SIDE}
    fitted = region_test(**options, permutations=500, seed=0).p[:, 0]
    counted = region_test(**options, permutations=10_000, seed=1).p[:, 0]
    seen = (counted > 5e-4) & (counted < 5e-3)
    assert seen.sum() > 30
    ratio = fitted[seen] / counted[seen]
    assert 0.6 < np.median(ratio) < 4
    assert (ratio > 0.2).all()


def test_a_perfect_mask_can_be_found_among_many() -> None:
    """One mask of 128, on one region of 360: noise that speckles it is all that is amiss."""
    rng = np.random.default_rng(0)
    member = np.stack([ball(CLOUD, centre, 60) for centre in (100, 500, 900)])
    maps = np.clip(member.T + 0.1 * rng.normal(size=(len(CLOUD), 3)), 0, 1)
    p = np.diag(region_test(maps, member, CLOUD, side=SIDE, permutations=1000, seed=0).p)
    assert (p < 0.05 / 360).all()
    assert p.min() <= 0.05 / (128 * 360)


def test_a_region_that_is_easily_put_back_on_itself_has_a_p_that_says_so() -> None:
    """Of three voxels: the map is the region, and so is one placement in about a thousand."""
    region = ball(CLOUD, 300, 3)
    maps = region[:, None] + 1e-3 * np.random.default_rng(0).normal(size=(len(CLOUD), 1))
    placed = place_region(region, CLOUD, side=SIDE, placements=40_000, seed=5)
    true = region[placed].all(axis=1).mean()
    assert true > 1e-4
    p = [
        region_test(maps, region[None], CLOUD, side=SIDE, permutations=1000, seed=s).p[0, 0]
        for s in range(5)
    ]
    assert np.min(p) > 0.2 * true


def test_regions_do_not_touch_each_others_result() -> None:
    maps = smooth_maps(CLOUD, 3, 5.0, np.random.default_rng(4))
    all_of_them = region_test(maps, REGIONS, CLOUD, side=SIDE, permutations=30, seed=0)
    alone = region_test(maps, REGIONS[1:2], CLOUD, side=SIDE, permutations=30, seed=0)
    assert np.array_equal(all_of_them.p[:, 1], alone.p[:, 0])


def test_empty_and_full_regions_have_no_p() -> None:
    maps = smooth_maps(CLOUD, 2, 5.0, np.random.default_rng(5))
    regions = np.array([np.zeros(len(CLOUD), bool), np.ones(len(CLOUD), bool), REGIONS[0]])
    found = region_test(maps, regions, CLOUD, side=SIDE, permutations=20, seed=0)
    assert np.isnan(found.p).tolist() == [[True, True, False]] * 2
    assert np.isnan(found.auc).tolist() == [[True, True, False]] * 2


def test_bad_maps_are_refused() -> None:
    maps = np.zeros((len(CLOUD), 2))
    with pytest.raises(ValueError, match="do not share voxels"):
        region_test(maps[1:], REGIONS, CLOUD, side=SIDE, permutations=5, seed=0)
    with pytest.raises(ValueError, match="coordinates of shape"):
        region_test(maps, REGIONS, CLOUD[:, :2], permutations=5, seed=0)
    with pytest.raises(ValueError, match="not finite"):
        region_test(maps * np.nan, REGIONS, CLOUD, side=SIDE, permutations=5, seed=0)


def test_means_of_groups_are_those_of_each_alone_and_exact_where_constant() -> None:
    """More columns than are summed at once, so that ends of blocks are seen too."""
    rng = np.random.default_rng(3)
    label = np.array([1, 0, 1, 1, 0])
    values = rng.normal(size=(5, 2**20)).astype(np.float32)
    values[:, 1::2] = 0.1
    means = group_means(values, label)
    for row in range(2):
        expected = values[label == row].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(means[row], expected, atol=1e-12)
    assert (means[:, 1::2] == np.float64(np.float32(0.1))).all()

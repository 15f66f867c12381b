import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flows.science.hemispheres import hemispheres
from flows.science.localiser import atlas_unions, rank_correlation
from flows.science.statistics import region_test
from tests.flows.science.fields import ball, smooth_maps, voxel_cloud

CLOUD = voxel_cloud(1200, np.random.default_rng(0))
PARTS = np.array([ball(CLOUD, centre, size) for centre, size in ((50, 25), (300, 30), (900, 40))])
# What an atlas is: several patches, far from each other.
UNION = PARTS.any(axis=0)


def test_a_union_holds_every_voxel_of_its_atlas_and_no_other() -> None:
    regions = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1]], dtype=bool)
    unions = atlas_unions(regions, ["faces", "faces", "words"], ["words", "faces", "places"])
    assert unions.dtype == bool
    assert unions.astype(int).tolist() == [[0, 0, 0, 0, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def test_no_atlas_and_no_region_are_no_error() -> None:
    assert atlas_unions(np.zeros((0, 4), bool), [], []).shape == (0, 4)
    assert not atlas_unions(np.zeros((0, 4), bool), [], ["faces"]).any()
    with pytest.raises(ValueError, match="2 regions are of 1 atlases"):
        atlas_unions(np.zeros((2, 4), bool), ["faces"], ["faces"])


@given(
    hnp.arrays(np.float32, (12, 3), elements=st.integers(-2, 2)),
    hnp.arrays(np.float32, 12, elements=st.integers(-2, 2)),
    hnp.arrays(bool, 12),
)
@settings(max_examples=60, deadline=None)
def test_rho_is_scipys_on_the_voxels_that_have_a_t(
    maps: np.ndarray, values: np.ndarray, lost: np.ndarray
) -> None:
    values = np.where(lost, np.nan, values).astype(np.float32)
    found = rank_correlation(maps, values)
    for column, rho in zip(maps[~lost].T, found, strict=True):
        flat = lost.sum() > 9 or np.ptp(column) == 0 or np.ptp(values[~lost]) == 0
        expected = np.nan if flat else scipy.stats.spearmanr(column, values[~lost]).statistic
        np.testing.assert_allclose(rho, expected, atol=1e-9)


def test_rho_of_infinite_and_of_too_few_values() -> None:
    maps = np.arange(6.0)[:, None]
    values = np.array([0, 1, 2, 3, np.inf, -np.inf])
    assert rank_correlation(maps, values)[0] == pytest.approx(1)
    assert np.isnan(rank_correlation(maps, np.array([0, 1, *[np.nan] * 4]))).all()


def test_bad_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="do not share voxels"):
        rank_correlation(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        rank_correlation(np.full((4, 2), np.nan), np.zeros(4))


@pytest.mark.parametrize("scale_mm", [5.0, 10.0])
def test_patches_together_are_placed_so_that_smooth_maps_find_nothing(scale_mm: float) -> None:
    maps = smooth_maps(CLOUD, 400, scale_mm, np.random.default_rng(2))
    side = hemispheres(CLOUD, CLOUD)
    p = region_test(maps, UNION[None], CLOUD, permutations=199, seed=0, side=side).p
    assert 0.02 <= (p < 0.05).mean() <= 0.09


def test_a_mask_that_is_its_atlas_is_found() -> None:
    rng = np.random.default_rng(3)
    t = 6 * UNION + rng.standard_normal(len(CLOUD))
    mask = UNION[:, None].astype(float)
    found = region_test(mask, UNION[None], CLOUD, permutations=199, seed=0)
    assert found.auc[0, 0] == pytest.approx(1)
    assert found.dice[0, 0] == 1
    assert found.p[0, 0] == 1 / 200
    # Voxels outside tie, so that a rank correlation cannot reach 1.
    assert rank_correlation(mask, t)[0] > 0.4
    none = rank_correlation(mask, rng.standard_normal(len(CLOUD)))[0]
    assert abs(none) < 0.1

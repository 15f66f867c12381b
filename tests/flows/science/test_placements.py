import numpy as np
import pytest

from flows.science.placements import _place_part, count_centres, place_region
from tests.flows.science.fields import ball, voxel_cloud

RNG = np.random.default_rng(0)
CLOUD = voxel_cloud(1500, RNG)
RIGHT = CLOUD[:, 0] > 0
SIDE = np.where(RIGHT, 1, -1).astype(np.int8)


def bilateral(size: int) -> np.ndarray:
    region = ball(CLOUD, int(np.flatnonzero(RIGHT)[200]), size) & RIGHT
    mirrored = CLOUD * [-1, 1, 1]
    for point in np.flatnonzero(region):
        region[((CLOUD - mirrored[point]) ** 2).sum(axis=1).argmin()] = True
    return region


@pytest.mark.parametrize("size", [1, 2, 25, 200])
def test_size_is_kept_and_voxels_are_distinct(size: int) -> None:
    region = ball(CLOUD, 700, size)
    placed = place_region(region, CLOUD, side=SIDE, placements=50, seed=1)
    assert placed.shape == (50, size)
    assert all(len(set(row)) == size for row in placed.tolist())


def test_each_side_keeps_its_share() -> None:
    region = bilateral(60)
    placed = place_region(region, CLOUD, side=SIDE, placements=40, seed=1)
    assert (RIGHT[placed].sum(axis=1) == (region & RIGHT).sum()).all()
    alone = place_region(region & RIGHT, CLOUD, side=SIDE, placements=40, seed=1)
    assert RIGHT[alone].all()


def test_the_halves_of_a_bilateral_region_move_as_mirror_images() -> None:
    placed = place_region(bilateral(60), CLOUD, side=SIDE, placements=200, seed=1)
    centres = [
        [CLOUD[row[RIGHT[row] == side]].mean(axis=0) for row in placed] for side in (True, False)
    ]
    right, left = np.array(centres)
    assert np.linalg.norm(right * [-1, 1, 1] - left, axis=1).mean() < 4
    assert np.linalg.norm(right - right.mean(axis=0), axis=1).mean() > 10


def test_in_a_symmetric_brain_the_left_half_is_the_mirrored_right_one() -> None:
    """Of a shape without symmetry of its own, so that no other turn would do."""
    right = CLOUD[RIGHT]
    brain = np.concatenate([right, right * [-1, 1, 1]])
    angle = right - right[300]
    corner = (np.abs(angle) < [4, 4, 18]).all(axis=1) & (angle[:, 2] > -4)
    corner |= (np.abs(angle) < [4, 18, 4]).all(axis=1) & (angle[:, 1] > -4)
    assert corner.sum() > 15
    placed = place_region(
        np.tile(corner, 2), brain, side=np.repeat([1, -1], len(right)), placements=100, seed=4
    )
    halves = np.split(placed, 2, axis=1)
    common = [len(set(a) & set(b - len(right))) for a, b in zip(*halves, strict=True)]
    assert np.mean(common) > 0.95 * corner.sum()


def test_placements_cover_the_cloud() -> None:
    region = ball(CLOUD, int(np.flatnonzero(RIGHT)[100]), 40)
    placed = place_region(region & RIGHT, CLOUD, side=SIDE, placements=600, seed=2)
    hits = np.bincount(placed.ravel(), minlength=len(CLOUD))[RIGHT]
    assert (hits > 0).mean() > 0.99


def test_shape_and_extent_are_kept() -> None:
    """A line stays a line: its spread is far above that of a ball of its size."""
    rng = np.random.default_rng(3)
    slab = rng.uniform([1, -40, -40], [30, 40, 40], size=(4000, 3))
    distance = np.linalg.norm((slab - [15, 0, 0]) * [1, 0.2, 1], axis=1)
    line = np.zeros(len(slab), dtype=bool)
    line[np.argsort(distance)[:60]] = True
    placed = place_region(line, slab, side=np.ones(len(slab)), placements=100, seed=0)

    def elongation(points: np.ndarray) -> float:
        values = np.linalg.eigvalsh(np.cov(points.T))
        return float(values[2] / values[1])

    assert elongation(slab[line]) > 4
    assert np.median([elongation(slab[row]) for row in placed]) > 3


def test_an_upright_placement_on_itself_is_the_region() -> None:
    region = ball(CLOUD, 700, 80)
    side = RIGHT if RIGHT[700] else ~RIGHT
    region &= side
    identity = np.eye(3)[None]
    cloud = CLOUD[side].astype(np.float64)
    shape = cloud[region[side]]
    found = _place_part(shape, cloud, shape.mean(axis=0)[None], identity)
    assert set(found[0]) == set(np.flatnonzero(region[side]))


def test_the_same_seed_gives_the_same_placements() -> None:
    region = ball(CLOUD, 700, 30)
    first, again, other = (
        place_region(region, CLOUD, side=SIDE, placements=20, seed=seed) for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_region_of_a_whole_side_stays_where_it_is() -> None:
    placed = place_region(RIGHT, CLOUD, side=SIDE, placements=3, seed=0)
    assert all(set(row) == set(np.flatnonzero(RIGHT)) for row in placed.tolist())


@pytest.mark.parametrize("both", [False, True])
def test_turned_about_its_own_centre_a_region_stays_where_it_is(both: bool) -> None:
    region = bilateral(60) if both else bilateral(60) & RIGHT
    options = {"placements": 60, "seed": 1}
    turned = place_region(region, CLOUD, side=SIDE, **options, own_centre=True)
    assert turned.shape == (60, region.sum())
    for side in (RIGHT, ~RIGHT):
        if not (region & side).any():
            continue
        centre = CLOUD[region & side].mean(axis=0)
        found = np.array([CLOUD[row[side[row]]].mean(axis=0) for row in turned])
        # The other half is met at the mirror image, where no voxel need be.
        assert np.linalg.norm(found - centre, axis=1).mean() < 4
    assert len(np.unique(np.sort(turned, axis=1), axis=0)) > 40
    anywhere = place_region(region, CLOUD, side=SIDE, **options)
    assert region[anywhere].mean() < 0.3 < region[turned].mean()


def test_centres_are_those_of_the_hemisphere_that_is_placed_first() -> None:
    region = bilateral(60)
    assert count_centres(region, SIDE) == RIGHT.sum()
    assert count_centres(region & RIGHT, SIDE) == RIGHT.sum()
    assert count_centres(region & ~RIGHT, SIDE) == (~RIGHT).sum()


def test_where_hemispheres_are_not_known_a_region_is_placed_whole() -> None:
    """A shape across the made-up origin stays in one piece, and may come to lie anywhere."""
    region = np.zeros(len(CLOUD), dtype=bool)
    region[np.argsort((CLOUD**2).sum(axis=1))[:200]] = True
    assert (region & RIGHT).any()
    assert (region & ~RIGHT).any()
    placed = place_region(region, CLOUD, placements=600, seed=1)
    assert (np.bincount(placed.ravel(), minlength=len(CLOUD)) > 0).mean() > 0.99
    own = np.linalg.norm(CLOUD[region] - CLOUD[region].mean(axis=0), axis=1).mean()
    spread = [np.linalg.norm(CLOUD[row] - CLOUD[row].mean(axis=0), axis=1).mean() for row in placed]
    assert np.median(spread) < 1.5 * own
    assert count_centres(region) == len(CLOUD)
    unknown = np.zeros(len(CLOUD), dtype=np.int8)
    again = place_region(region, CLOUD, side=unknown, placements=600, seed=1)
    np.testing.assert_array_equal(placed, again)
    # A shift of the origin changes nothing.
    moved = place_region(region, CLOUD + np.array([500, 0, 0]), placements=600, seed=1)
    assert (np.sort(moved) == np.sort(placed)).mean() > 0.95


def test_halves_are_mirrored_at_the_midline_wherever_it_lies() -> None:
    aside = CLOUD + np.array([90, 0, 0])
    placed = place_region(bilateral(60), aside, side=SIDE, placements=200, seed=1)
    right, left = (
        np.array([CLOUD[row[RIGHT[row] == side]].mean(axis=0) for row in placed])
        for side in (True, False)
    )
    assert np.linalg.norm(right * [-1, 1, 1] - left, axis=1).mean() < 6

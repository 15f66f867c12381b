from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks import localisation
from tests.benchmarks.localisation import (
    OURS,
    PCA,
    RIVALS,
    SIZES,
    SUPPRESSED,
    Located,
    Placed,
    cut,
    place,
    tell,
    tell_together,
    two_ways,
)
from tests.support.cohorts.objects import find_clip_names
from tests.support.cohorts.small import SMALL_CLIP

COUNT = len(SIZES) * 3


def located(**changes: object) -> Located:
    """Everything found and right in four participants, but what is changed."""
    right = Placed(*(np.ones((COUNT, 4)) for _ in range(3)))
    less = np.zeros((COUNT, 4), dtype=bool)
    less[SUPPRESSED] = True
    return replace(
        Located(
            concepts=tuple(f"c{number}" for number in range(COUNT)),
            sizes=np.array(SIZES * 3),
            found=np.ones(COUNT, dtype=bool),
            ways={OURS: right, PCA: replace(right, area=np.full((COUNT, 4), 0.6))},
            less=less,
            random_area=np.full((5, COUNT, 4), 0.5),
            kept=1000.0,
            overlapping=0.25,
            meaningless=0.4,
        ),
        **changes,
    )


def line(lines: list[str], start: str) -> str:
    (own,) = [each for each in lines if each.startswith(start)]
    return own


def test_what_is_right_is_told_so() -> None:
    lines = list(tell(located()))
    assert "AUC 1.000" in line(lines, OURS)
    assert "AUC >= 0.95 for 12 of 12 (12 of 12 found)" in line(lines, OURS)
    assert line(lines, OURS).endswith("recall >= 0.6 for 12 of 12 (12 of 12)")
    assert "AUC >= 0.95 for 0 of 12 (0 of 12 found)" in line(lines, PCA)
    assert "AUC 0.500" in line(lines, "random directions")
    assert line(lines, "patches of 20").startswith("patches of 20: found 3 of 3")
    assert line(lines, "sign").endswith("right in 4 of 4 participants; others said to respond "
                                        "less: 0 of 44")  # fmt: skip


def test_a_concept_that_is_not_found_is_not_reached() -> None:
    found = np.ones(COUNT, dtype=bool)
    found[[0, SUPPRESSED]] = False
    lines = list(tell(located(found=found)))
    assert line(lines, "found 10 of 12").endswith("not found: c0 (20), c2 (150)")
    assert "for 10 of 12 (10 of 10 found)" in line(lines, OURS)
    assert line(lines, "patches of 20").startswith("patches of 20: found 2 of 3")
    assert line(lines, "sign").startswith("sign of the suppressed concept: not found")
    together = list(tell_together([located(), located(found=found)]))
    assert together[0] == "found 22 of 24"
    assert "for 22 of 24 (22 of 22 found)" in line(together, OURS)
    assert line(together, "patches of 20").startswith("patches of 20: found 5 of 6")


def test_three_of_four_participants_are_enough_and_two_are_not() -> None:
    area = np.ones((2, 4))
    area[0, 0] = area[1, :2] = 0.94
    placed = Placed(area, area, np.full((2, 4), 0.6))
    assert placed.ordered.tolist() == [True, False]
    assert placed.named.tolist() == [True, True]
    assert replace(placed, recall=np.full((2, 4), 0.59)).named.tolist() == [False, False]


def test_a_map_and_a_mask_are_placed() -> None:
    truth = np.array([True, True, False, False])
    soft = np.array([0.9, 0.2, 0.3, 0.1])
    assert place(soft, soft > 0.25, truth) == (0.75, 0.5, 0.5)
    assert place(soft, soft > 1, truth) == (0.75, 0.0, 0.0)
    assert cut(soft, 2).tolist() == [True, False, True, False]


def test_maps_are_turned_to_the_side_that_is_told_or_to_none() -> None:
    maps = np.array([[0.1, 0.1, -0.9], [0.9, -0.1, -0.1]])
    told, both = two_ways("x", maps, np.array([-1, 1])).items()
    assert (told[0], both[0]) == ("x", "x, without sign")
    np.testing.assert_array_equal(told[1], [[-0.1, -0.1, 0.9], [0.9, -0.1, -0.1]])
    np.testing.assert_array_equal(both[1], np.abs(maps))


@pytest.mark.parametrize("name", RIVALS)
def test_every_other_way_orders_voxels_that_respond(name: str) -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((200, 3))
    x = rng.standard_normal((200, 40))
    x[:, :6] += 2 * scores[:, [0]]
    x[:, 6:12] -= 2 * scores[:, [1]]
    for maps in two_ways(name, RIVALS[name](scores, x), np.array([1, -1, 1])).values():
        assert maps.shape == (3, 40)
        for component, members in ((0, range(6)), (1, range(6, 12))):
            truth = np.isin(np.arange(40), members)
            assert place(maps[component], cut(maps[component], 6), truth) == (1, 1, 1)


def test_ridge_weights_are_those_of_the_normal_equations() -> None:
    rng = np.random.default_rng(1)
    x, noise = rng.standard_normal((60, 8)), rng.standard_normal((60, 1))
    scores = x[:, :2] @ np.array([[1.0], [-2.0]]) + 0.1 * noise
    weights = localisation.weigh(scores, x)[0]
    z, y = localisation._standard(x), localisation._standard(scores)[:, 0]
    mean = (np.linalg.svd(z, compute_uv=False) ** 2).mean()
    candidates = [
        np.linalg.solve(z.T @ z + penalty * mean * np.eye(8), z.T @ y)
        for penalty in localisation._PENALTIES
    ]
    assert min(np.abs(weights - each).max() for each in candidates) < 1e-8


@pytest.mark.skipif(find_clip_names() is None, reason="no CLIP vectors of names")
def test_the_cohort_has_its_sizes_overlaps_and_a_suppressed_concept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = replace(
        SMALL_CLIP,
        concepts=4,
        voxels=900,
        patch=localisation.COHORT.patch,
        sizes=SIZES,
        responses=localisation.COHORT.responses,
    )
    monkeypatch.setattr(localisation, "COHORT", small)
    cohort = localisation.draw_cohort(391)
    for one in cohort.participants:
        sizes = one.planted[:4].sum(axis=1)
        assert (np.abs(np.log(sizes / np.array(SIZES))) < 0.6).all()
        assert (one.planted.sum(axis=0) > 1).any()
        drive = cohort.drive[one.image] - cohort.drive[one.image].mean(axis=0)
        r = drive.T @ (one.x - one.x.mean(axis=0))
        sides = [np.sign(r[row, one.planted[row]]).mean() for row in range(4)]
        assert [side < 0 for side in sides] == [row == SUPPRESSED for row in range(4)]
    assert localisation.COHORT.responses.suppressed == (SUPPRESSED,)

import numpy as np
import pytest

from tests.benchmarks import map_search
from tests.benchmarks.nulls import grow_brain


def test_maps_are_as_smooth_as_they_are_called() -> None:
    alike = []
    for sigma in (0.0, 1.0, 2.0):
        values = map_search.draw_map(sigma, np.random.default_rng(0)).stored
        alike.append(np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1])
    assert alike == pytest.approx([0, np.exp(-1 / 4), np.exp(-1 / 16)], abs=0.03)


@pytest.mark.parametrize(("kind", "apart"), [("one ball", True), ("scattered", False)])
def test_masks_of_participants_lie_at_the_same_places(kind: str, apart: bool) -> None:
    places = [np.random.default_rng(seed).uniform(0, 60, (2000, 3)) for seed in (0, 1)]
    masks = map_search.draw_masks(places, map_search.MASK_KINDS[kind], 10, np.random.default_rng(2))
    centres = [m.T @ mm / m.sum(axis=0)[:, None] for m, mm in zip(masks, places, strict=True)]
    assert [20 <= count <= 201 for count in (masks[0] > 0).sum(axis=0)] == [True] * 10
    between = np.linalg.norm(centres[0][:, None] - centres[1], axis=2)
    assert np.median(np.diag(between)) < 8
    assert (np.median(between) > 15) == apart


def test_shuffled_voxels_find_what_is_not_there() -> None:
    """What calibration is for: a test that takes neighbours as independent fails it."""
    hits = map_search.null_shares([grow_brain(0)], 4.0, judge=map_search.shuffled, maps=6)
    assert {each.shape for each in hits.values()} == {(6, map_search.MASKS)}
    assert hits["one ball"].mean() > 0.15
    assert hits["scattered"].mean() < 0.15

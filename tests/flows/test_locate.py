"""Responding voxels as a stage: planted ones, and what is told where none stands out."""

from typing import Any

import numpy as np
import pytest

from app.masks.response import MEMBER
from flows.locate import interval_regions, locate_subject
from flows.progress import listening
from flows.science.metrics import auc
from flows.science.response_maps import DRAWS, area_interval, find_responding_voxels
from tests.flows.stored import arrays, put

Json = dict[str, Any]

STIMULI, REPEATS, SIDE, DIMENSIONS = 120, 2, 8, 16
VOXELS = SIDE**3

pytestmark = pytest.mark.usefixtures("store_home")


def plant(*, signal: float, sign: float = 1) -> tuple[Json, np.ndarray]:
    """What the stage takes of a participant: two components, the first with a patch of 27 voxels.

    Half of the stimuli are for testing; in them responses say the opposite.
    """
    rng = np.random.default_rng(0)
    places = np.argwhere(np.ones((SIDE, SIDE, SIDE))) * 2.0
    patch = np.all(places < 6, axis=1)
    y = rng.normal(size=(2 * STIMULI, DIMENSIONS)).astype(np.float32)
    rows = np.eye(2, DIMENSIONS, dtype=np.float32)
    folds = ["train", "test"] * STIMULI
    image = rng.permutation(np.repeat(np.arange(2 * STIMULI), REPEATS))
    told = np.where(np.array(folds) == "train", 1, -1) * np.maximum(y[:, 0], 0)
    x = signal * sign * np.outer(told[image], patch) + rng.normal(size=(len(image), VOXELS))
    regions = np.stack([patch, rng.random(VOXELS) < 0.1])
    given = {
        "artefacts": {
            "voxels": put(kept=np.arange(VOXELS), image=image),
            "sessions": [put(betas=np.ascontiguousarray(x.T.astype(np.float32)))],
        },
        "tables": put(native=places.astype(np.float32), regions=regions.astype(np.uint8)),
        "vectors": put(vectors=y),
        "components": put(components=rows),
        "folds": folds,
    }
    return given, patch


def literal(given: Json) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, mean responses and places of what is not for testing."""
    image = arrays(given["artefacts"]["voxels"])["image"]
    x = arrays(given["artefacts"]["sessions"][0])["betas"].T
    used = np.array(given["folds"])[image] == "train"
    shown = np.unique(image[used])
    means = np.array([x[image == each].mean(axis=0) for each in shown])
    y = arrays(given["vectors"])["vectors"]
    return y[shown, :2], means, arrays(given["tables"])["native"]


def mask_of(
    soft: np.ndarray, reasons: list[str | None], whole: list[str | None] | None = None
) -> Json:
    whole = whole or [None] * len(reasons)
    return {"masks": put(soft=soft), "reasons": reasons, "whole": whole, "threshold": 0.5}


def needs(voxels: int) -> Json:
    """A decoder's masks that need the last voxels, which respond to nothing."""
    soft = np.zeros((2, VOXELS), dtype=np.float32)
    soft[:, VOXELS - voxels :] = 0.75
    return mask_of(soft, [None, None])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mask_is_what_responds_and_tells_in_which_direction(sign: int) -> None:
    given, patch = plant(signal=1.5, sign=sign)
    told = locate_subject.function("p0", **given, mask=needs(10))
    found = arrays(told["masks"])
    expected = find_responding_voxels(*literal(given))
    np.testing.assert_allclose(found["soft"][0], expected.soft[0], atol=1e-5)
    members = found["soft"][0] >= told["threshold"]
    assert (members & patch).sum() >= 0.9 * patch.sum()
    assert (members & ~patch).sum() <= 4
    assert found["sign"][0] == sign
    assert patch[int(found["peak"][0])]
    assert found["soft"][0].argmax() == found["peak"][0] == found["peak_region"][0, 0]
    np.testing.assert_array_equal(found["needed"], arrays(needs(10)["masks"])["soft"])
    assert told["reasons"] == [None, None]


def test_where_no_voxel_stands_out_as_many_as_are_needed_are_told() -> None:
    given, _ = plant(signal=0)
    expected = find_responding_voxels(*literal(given))
    assert not (expected.soft >= MEMBER).any()
    alone = arrays(locate_subject.function("p0", **given, mask=None)["masks"])
    assert not (alone["soft"] >= MEMBER).any()
    assert (alone["peak"] == -1).all()
    assert "needed" not in alone
    found = arrays(locate_subject.function("p0", **given, mask=needs(10))["masks"])
    for soft, order in zip(found["soft"], expected.soft, strict=True):
        members = soft >= MEMBER
        assert members.sum() == 10
        assert order[members].min() > order[~members].max()
        assert (np.diff(soft[np.argsort(order)]) >= 0).all()


def test_how_much_of_the_brain_responds_where_what_is_needed_is_not_known() -> None:
    """Nowhere if it was seen that nothing tells it; one voxel in twenty if nothing was seen."""
    given, _ = plant(signal=0)
    why: list[str | None] = ["no feasible mask on the path", "15 distinct vectors are too few"]
    mask = mask_of(np.ones((2, VOXELS), dtype=np.float32), [None, None], why)
    told = locate_subject.function("p0", **given, mask=mask)
    members = arrays(told["masks"])["soft"] >= MEMBER
    assert members.sum(axis=1).tolist() == [0, round(VOXELS / 20)]
    assert arrays(told["masks"])["peak"][0] == -1
    assert told["whole"] == why
    assert told["reasons"] == [None, None]


def test_a_component_without_a_usable_mask_keeps_its_reason() -> None:
    given, _ = plant(signal=0)
    mask = mask_of(np.ones((2, VOXELS), dtype=np.float32), ["no feasible mask", None])
    told = locate_subject.function("p0", **given, mask=mask)
    assert told["reasons"] == ["no feasible mask", None]
    assert not (arrays(told["masks"])["soft"][0] >= MEMBER).any()


def test_intervals_are_of_stimuli_drawn_again() -> None:
    given, _ = plant(signal=1.0)
    located = locate_subject.function("p0", **given, mask=None)
    heard: list[tuple[str, int, int]] = []
    with listening(lambda *told: heard.append(told[:3])):
        told = interval_regions.function("p0", **given, located=located, seed=3)
    assert [done for _, done, _ in heard[:3]] == [1, 2, 3]
    assert heard[-1] == ("areas of p0", DRAWS, DRAWS)
    found = arrays(told["interval"])
    regions = arrays(given["tables"])["regions"].astype(bool)
    sign = arrays(located["masks"])["sign"]
    low, high = area_interval(*literal(given), sign, regions, seed=3)
    np.testing.assert_allclose(found["auc_low"], low, atol=1e-6)
    np.testing.assert_allclose(found["auc_high"], high, atol=1e-6)
    area = auc(arrays(located["masks"])["soft"].T, regions[0])[0]
    assert found["auc_low"][0, 0] <= area <= found["auc_high"][0, 0]
    assert found["auc_low"][0, 0] > 0.8

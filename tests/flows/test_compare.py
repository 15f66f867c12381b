"""Participants compared: masks that respond in opposite directions do not agree."""

from typing import Any

import numpy as np
import pytest

from flows.compare import compare_subjects
from tests.flows.stored import arrays, put

Json = dict[str, Any]
SUBJECTS, COMPONENTS, SIDE = 4, 8, 16

pytestmark = pytest.mark.usefixtures("store_home")


def compare(signs: np.ndarray | None) -> dict[str, np.ndarray]:
    """Components of a patch each, in the same place in all participants, decoded by all."""
    rng = np.random.default_rng(0)
    places = np.argwhere(np.ones((SIDE, SIDE, SIDE)))[:, :3] * 4.0
    centres = rng.uniform(8, 4 * SIDE - 8, (COMPONENTS, 3))
    patches = np.exp(-((places[None] - centres[:, None]) ** 2).sum(axis=2) / 100)
    masks, tests, tables = [], [], []
    for row in range(SUBJECTS):
        soft = patches + 0.05 * rng.random(patches.shape)
        told = {"soft": soft.astype(np.float32)}
        if signs is not None:
            told["sign"] = signs[row].astype(np.float32)
        masks.append({"masks": put(**told), "reasons": [None] * COMPONENTS, "threshold": 0.5})
        small = np.full(COMPONENTS, 1e-4)
        tests.append(
            {
                "tests": put(p_hard=small, specific_p=small),
                "untested": [None] * COMPONENTS,
            }
        )
        tables.append(put(mni=places.astype(np.float32), side=np.zeros(len(places), np.int8)))
    rows = np.linalg.qr(rng.normal(size=(20, COMPONENTS)))[0].T.astype(np.float32)
    result = compare_subjects.function(
        put(components=rows), masks, tests, tables, None, None, None, 0.5, 0.05, 0.75, 199, 0
    )
    return arrays(result["comparison"])


def test_masks_that_respond_in_opposite_directions_do_not_agree() -> None:
    signs = np.ones((SUBJECTS, COMPONENTS), dtype=int)
    signs[2:, 0] = -1
    # In every participant less is as much one direction as more is.
    signs[:, 1] = -1
    found = compare(signs)
    assert found["agreeing"].tolist() == [0, *[1] * (COMPONENTS - 1)]
    assert found["agreement"][0] < 0 < found["agreement"][1:].min()


def test_masks_without_a_direction_agree_by_place() -> None:
    """Members of clusters are in or out."""
    assert (compare(None)["agreeing"] == 1).all()

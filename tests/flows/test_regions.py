from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.store import ArtefactStore
from flows.regions import BLOCK, join_blocks, place_regions
from flows.science.statistics import region_test
from flows.stages import get_store

VOXELS, COMPONENTS, REGIONS = 300, 5, 2 * BLOCK + 3


@pytest.fixture
def store(store_home: Path) -> ArtefactStore:
    return get_store()


def test_blocks_of_regions_together_are_the_test_of_all(store: ArtefactStore) -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(-40, 40, (VOXELS, 3)).astype(np.float32)
    centres = places[rng.integers(VOXELS, size=REGIONS)]
    distance = np.linalg.norm(places - centres[:, None], axis=2)
    regions = distance < rng.uniform(10, 25, (REGIONS, 1))
    soft = rng.random((COMPONENTS, VOXELS)).astype(np.float32)
    # One mask lies on a region of the last block.
    soft[2] = regions[-1]
    mask: dict[str, Any] = {"masks": store.put({"soft": soft}).model_dump(), "threshold": 0.5}
    side = np.where(places[:, 2] > 0, 1, -1).astype(np.int8)
    arrays = {"native": places, "side": side, "regions": regions.astype("uint8")}
    tables = store.put(arrays).model_dump()
    found = join_blocks(
        [
            place_regions.function("subj", mask, tables, first, 99, 7)
            for first in range(0, REGIONS, BLOCK)
        ]
    )
    together = region_test(soft.T, regions, places, permutations=99, seed=7, side=side)
    for name in ("auc", "dice", "p"):
        assert found[name].shape == (COMPONENTS, REGIONS)
        np.testing.assert_array_equal(found[name], getattr(together, name))
    assert found["auc"][2, -1] == pytest.approx(1)
    assert found["dice"][2, -1] == pytest.approx(1)
    assert found["p"][2, -1] < 0.05

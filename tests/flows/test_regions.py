from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.store import Artefact, ArtefactStore
from flows.regions import BLOCK, interval_regions, join_blocks, place_regions
from flows.science.metrics import auc
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
    tables = store.put({"native": places, "regions": regions.astype("uint8")}).model_dump()
    found = join_blocks(
        [
            place_regions.function("subj", mask, tables, first, 99, 7)
            for first in range(0, REGIONS, BLOCK)
        ]
    )
    together = region_test(soft.T, regions, places, permutations=99, seed=7, threshold=0.5)
    for name in ("auc", "dice", "p"):
        assert found[name].shape == (COMPONENTS, REGIONS)
        np.testing.assert_array_equal(found[name], getattr(together, name))
    assert found["auc"][2, -1] == pytest.approx(1)
    assert found["dice"][2, -1] == pytest.approx(1)
    assert found["p"][2, -1] < 0.05


def test_intervals_are_of_the_partners_masks_that_further_seeds_fitted(
    store: ArtefactStore,
) -> None:
    rng = np.random.default_rng(1)
    regions = rng.random((3, VOXELS)) < 0.2
    regions[2] = False
    repeats = [rng.random((4, VOXELS)).astype(np.float32) for _ in range(5)]
    # The third component has no partner in the last seed; of the last kind are clusters' bits.
    partner = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0], [3, 2, 1], [0, 2, -1]])
    masks: list[dict[str, Any]] = [
        {"masks": store.put({"soft": soft}).model_dump(), "threshold": 0.5} for soft in repeats[:4]
    ]
    members = repeats[4] > 0.5
    masks.append(store.put({"members": np.packbits(members, axis=1)}).model_dump())
    told = interval_regions.function(
        "subj",
        masks,
        store.put({"partner": partner}).model_dump(),
        store.put({"regions": regions.astype("uint8")}).model_dump(),
    )
    found = store.get(Artefact.model_validate(told["interval"]))
    maps = [*repeats[:4], members.astype(float)]
    for component in (0, 1):
        for region in (0, 1):
            areas = [
                auc(soft[own[component]][:, None], regions[region])[0]
                for soft, own in zip(maps, partner, strict=True)
            ]
            ends = [found[name][component, region] for name in ("auc_low", "auc_high")]
            np.testing.assert_allclose(ends, np.quantile(areas, [0.025, 0.975]), atol=1e-6)
    for name in ("auc_low", "auc_high"):
        assert np.isnan(found[name][2]).all()
        assert np.isnan(found[name][:, 2]).all()

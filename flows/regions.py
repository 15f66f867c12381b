"""Stage after c: masks held against regions, a block of regions at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.store import Artefact
from flows.science.statistics import Floats, region_test
from flows.stages import gather, get_store, stage

Json = dict[str, Any]

# Regions that one task places. A region's placements depend on the run's seed and the region alone,
# so that the division into blocks decides nothing.
BLOCK = 8


def compare_with_regions(
    labels: Sequence[str],
    masks: Sequence[Json],
    tables: Sequence[Json],
    counts: Sequence[int],
    permutations: int,
    seed: int,
) -> list[list[Json]]:
    """Hold all participants' masks against all their regions, where tasks run.

    Parameters
    ----------
    labels : sequence of str
        S participants.
    masks, tables : sequence of dict
        As `place_regions` takes them.
    counts : sequence of int
        How many regions each participant has.

    Returns
    -------
    list of list of dict
        A participant each, what `place_regions` returned of its blocks in their order.
    """
    started = [
        [
            place_regions.submit(label, mask, table, first, permutations, seed)
            for first in range(0, count, BLOCK)
        ]
        for label, mask, table, count in zip(labels, masks, tables, counts, strict=True)
    ]
    return [gather(blocks) for blocks in started]


@stage("place-regions", "label")
def place_regions(
    label: str, mask: Json, tables: Json, first: int, permutations: int, seed: int
) -> Json:
    """Hold one participant's masks against a block of regions, and against these placed elsewhere.

    Parameters
    ----------
    mask : dict
        What `flows.locate.locate_subject` returned.
    tables : dict
        Reference to ``native`` (V, 3) mm, ``side`` (V,) and ``regions`` (R, V).
    first : int
        The block's first region.

    Returns
    -------
    dict
        Reference to ``auc``, ``dice`` and ``p`` (K, B) of up to `BLOCK` regions (`region_test`).
    """
    store = get_store()
    place = store.get(Artefact.model_validate(tables))
    found = region_test(
        store.get(Artefact.model_validate(mask["masks"]))["soft"].T,
        place["regions"][first : first + BLOCK].astype(bool),
        place["native"],
        permutations=permutations,
        seed=seed,
        side=place["side"],
        threshold=mask["threshold"],
    )
    return {"overlap": store.put({"auc": found.auc, "dice": found.dice, "p": found.p}).model_dump()}


def join_blocks(blocks: Sequence[Json]) -> dict[str, Floats]:
    """``auc``, ``dice`` and ``p`` (K, R) of all regions of a participant who has some."""
    store = get_store()
    parts = [store.get(Artefact.model_validate(block["overlap"])) for block in blocks]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

"""Stage after c: masks held against regions, a block of regions at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.store import Artefact
from flows.mask import soft_masks
from flows.science.statistics import Floats, region_test
from flows.science.stats.intervals import auc_interval
from flows.stages import gather, get_store, stage

Json = dict[str, Any]

# Regions that one task places. A region's placements depend on the run's seed and the region alone,
# so that the division into blocks decides nothing.
BLOCK = 8

# Draws of stimuli that an interval needs.
FEWEST_DRAWS = 2


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
        What `flows.mask.mask_subject` returned.
    tables : dict
        Reference to ``native`` (V, 3) mm and ``regions`` (R, V).
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
        threshold=mask["threshold"],
    )
    return {"overlap": store.put({"auc": found.auc, "dice": found.dice, "p": found.p}).model_dump()}


@stage("interval-regions", "label")
def interval_regions(label: str, masks: list[Json], stability: Json, tables: Json) -> Json:
    """How the areas of one participant's masks vary over draws of the stimuli.

    Further seeds fit masks anew on stimuli that are drawn with replacement: a bootstrap of as many
    draws as there are further seeds.

    Parameters
    ----------
    masks : list of dict
        The participant's masks of each further seed, in the order of `stability`; at least 2.
    stability : dict
        Reference to ``partner`` (B, K).
    tables : dict
        Reference to ``regions`` (R, V).

    Returns
    -------
    dict
        Reference to ``auc_low`` and ``auc_high`` (K, R) of `auc_interval`; NaN of a component that
        a further seed did not find.
    """
    store = get_store()
    partner = store.get(Artefact.model_validate(stability))["partner"]
    regions = store.get(Artefact.model_validate(tables))["regions"].astype(bool)
    maps = np.full((len(masks), regions.shape[1], partner.shape[1]), np.nan)
    for draw, (mask, own) in enumerate(zip(masks, partner, strict=True)):
        found = own >= 0
        maps[draw][:, found] = soft_masks(mask, regions.shape[1])[own[found]].T
    low, high = (np.full((partner.shape[1], len(regions)), np.nan) for _ in range(2))
    known = np.isfinite(maps).all(axis=(0, 1))
    for column, region in enumerate(regions):
        low[known, column], high[known, column] = auc_interval(maps[:, :, known], region)
    return {"interval": store.put({"auc_low": low, "auc_high": high}).model_dump()}


def join_blocks(blocks: Sequence[Json]) -> dict[str, Floats]:
    """``auc``, ``dice`` and ``p`` (K, R) of all regions of a participant who has some."""
    store = get_store()
    parts = [store.get(Artefact.model_validate(block["overlap"])) for block in blocks]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

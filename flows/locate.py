"""Stage after c: which voxels respond to each component, and in which direction.

A decoder's weights are a filter: a voxel may have weight because it takes off what others have in
common with it, and of two that respond alike one may have none. Which voxels a decoder needs tells
that a component is carried; where it is carried is told by what responds to it (Haufe et al. 2014,
NeuroImage 87, 96).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.masks.response import MEMBER
from app.store import Artefact
from flows.mask import hard_masks, peaks, soft_masks
from flows.progress import report, steps_of
from flows.responses import load_mean_responses
from flows.science.mask_path import INFEASIBLE
from flows.science.response_maps import DRAWS, area_interval, find_responding_voxels
from flows.science.statistics import Floats
from flows.stages import get_store, stage
from flows.train import development_folds

Json = dict[str, Any]

# Share of the voxels that a component is said to lie in where none stands out and it could not be
# told how many are needed: stimuli had too few distinct vectors.
RESPONDING_AT_LEAST = 0.05


@stage("locate-subject", "label")
def locate_subject(
    label: str,
    artefacts: Json,
    tables: Json,
    vectors: Json,
    components: Json,
    folds: list[str],
    mask: Json | None,
) -> Json:
    """Where one participant's brain responds to each component.

    Parameters
    ----------
    tables : dict
        Reference to ``native`` (V, 3) mm and ``regions`` (R, V).
    components : dict
        Reference to ``components`` (K, D).
    folds : list of str
        Mean responses to the stimuli of train and validation are used.
    mask : dict, optional
        What `flows.mask.mask_subject` returned: which voxels the decoder needs. A component of
        which no voxel stands out is said to lie in as many voxels as are needed, those that
        respond most. Where that is not known, it is said to lie in the `RESPONDING_AT_LEAST` of
        all that respond most, or nowhere if no voxels told it of stimuli that were held out.

    Returns
    -------
    dict
        ``masks``, a reference to ``soft`` (K, V) weights in [0, 1) in the order of the responses,
        from ``threshold`` in voxels that stand out; ``sign`` (K,) 1 where they respond more to the
        component and -1 where less; ``peak`` (K,) and ``peak_region`` (K, R); and, where there is
        a mask, ``needed`` (K, V), its weights. Then the mask's ``reasons``, and why they are of
        the ``whole`` brain.
    """
    store = get_store()
    place = store.get(Artefact.model_validate(tables))
    rows = store.get(Artefact.model_validate(components))["components"]
    scores, responses = _scores_and_responses(artefacts, vectors, rows, folds)
    found = find_responding_voxels(scores, responses, place["native"])
    soft = np.asarray(found.soft, dtype=np.float32)
    arrays = {"sign": found.sign.astype(np.float32)}
    reasons: list[str | None] = [None] * len(rows)
    whole: list[str | None] = [None] * len(rows)
    if mask is not None:
        reasons, whole = mask["reasons"], mask["whole"]
        soft = _at_least_as_needed(soft, _needed(hard_masks(mask), whole))
        arrays["needed"] = soft_masks(mask, soft.shape[1])
    arrays |= {
        "soft": soft,
        "peak": peaks(soft, soft >= MEMBER, np.ones((1, soft.shape[1]), dtype=bool))[:, 0],
        "peak_region": peaks(soft, soft >= MEMBER, place["regions"].astype(bool)),
    }
    report(f"locating {label}", 1, 1)
    return {
        "masks": store.put(
            {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
        ).model_dump(),
        "reasons": reasons,
        "whole": whole,
        "threshold": MEMBER,
    }


@stage("interval-regions", "label")
def interval_regions(
    label: str,
    artefacts: Json,
    tables: Json,
    vectors: Json,
    components: Json,
    folds: list[str],
    located: Json,
    seed: int,
) -> Json:
    """How the areas of one participant's masks vary over draws of the stimuli.

    Returns
    -------
    dict
        ``interval``: reference to ``auc_low`` and ``auc_high`` (K, R), the 95 % bootstrap interval
        of `area_interval`.
    """
    store = get_store()
    place = store.get(Artefact.model_validate(tables))
    rows = store.get(Artefact.model_validate(components))["components"]
    scores, responses = _scores_and_responses(artefacts, vectors, rows, folds)
    low, high = area_interval(
        scores,
        responses,
        place["native"],
        store.get(Artefact.model_validate(located["masks"]))["sign"],
        place["regions"].astype(bool),
        seed=seed,
        on_progress=steps_of(f"areas of {label}"),
    )
    report(f"areas of {label}", DRAWS, DRAWS)
    return {"interval": store.put({"auc_low": low, "auc_high": high}).model_dump()}


def _scores_and_responses(
    artefacts: Json, vectors: Json, rows: NDArray[np.float32], folds: list[str]
) -> tuple[Floats, NDArray[np.floating]]:
    """(I, K) scores of the stimuli that are not test, and (I, V) mean responses to them."""
    store = get_store()
    x, shown = load_mean_responses(store, artefacts, development_folds(folds), "development")
    y = store.get(Artefact.model_validate(vectors))["vectors"]
    return y[shown] @ rows.T, x


def _needed(members: NDArray[np.bool_], whole: list[str | None]) -> NDArray[np.int64]:
    """(K,) voxels that each component is to lie in at least; see `locate_subject`."""
    needed = members.sum(axis=1)
    share = max(1, round(RESPONDING_AT_LEAST * members.shape[1]))
    for component, why in enumerate(whole):
        if why is not None:
            needed[component] = 0 if why == INFEASIBLE else share
    return np.asarray(needed, dtype=np.int64)


def _at_least_as_needed(
    soft: NDArray[np.float32], needed: NDArray[np.integer]
) -> NDArray[np.float32]:
    """The weights; where no voxel stands out, those of the most responsive reach one half.

    In a small part of the brain most voxels may respond to a component, and none stands out from
    the bulk of them.
    """
    soft = soft.copy()
    for component in np.flatnonzero(~(soft >= MEMBER).any(axis=1) & (needed > 0)):
        own = soft[component]
        middle = np.sort(own)[-needed[component]]
        if middle > 0:
            soft[component] = own / (own + middle)
    return soft

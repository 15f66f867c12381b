"""Stage after c: each participant's masks held against the localisers' regions and t-maps."""

from typing import Any

import numpy as np

from app.store import Artefact
from flows.science.localiser import atlas_unions, rank_correlation
from flows.science.statistics import region_test
from flows.stages import get_store, stage

Json = dict[str, Any]

MAP_ATLASES = {
    "floc_facestval": "floc-faces",
    "floc_bodiestval": "floc-bodies",
    "floc_placestval": "floc-places",
    "floc_wordtval": "floc-words",
}
"""The atlas that was drawn on each of NSD's t-maps; another map goes with the atlas of its name."""


@stage("validate-subject", "label")
def validate_subject(
    label: str,
    mask: Json,
    tables: Json,
    atlases: list[str],
    maps: Json | None,
    permutations: int,
    seed: int,
) -> Json:
    """Hold all of one participant's masks against every atlas, and against every t-map.

    A t-map that goes with no region stands as an atlas of its own, of no voxels. No prompt is
    read here: what is measured cannot depend on which component a prompt will choose.

    Parameters
    ----------
    mask : dict
        What `flows.locate.locate_subject` returned.
    tables : dict
        Reference to ``native`` (V, 3) mm, ``side`` (V,) and ``regions`` (R, V).
    atlases : list of str
        Atlas of each of the R regions.
    maps : dict, optional
        Reference to the localiser maps, (V,) each.

    Returns
    -------
    dict
        ``atlases`` (A names) with ``maps`` (the t-map of each, or None), and a reference to
        ``auc``, ``dice``, ``p`` (K, A) of the masks against an atlas's regions together, ``rho``
        (K, A) of the soft masks with its t-map, ``inside`` (K, A) members of the hard mask in
        these regions, and ``size`` (A,) voxels of them. NaN where there is nothing to compare.
    """
    store = get_store()
    soft = store.get(Artefact.model_validate(mask["masks"]))["soft"]
    place = store.get(Artefact.model_validate(tables))
    t_maps = store.get(Artefact.model_validate(maps)) if maps else {}
    map_of = {MAP_ATLASES.get(name, name): name for name in sorted(t_maps)}
    told = list(dict.fromkeys([*atlases, *map_of]))
    unions = atlas_unions(place["regions"].astype(bool), atlases, told)
    overlap = region_test(
        soft.T,
        unions,
        place["native"],
        permutations=permutations,
        seed=seed,
        side=place["side"],
        threshold=mask["threshold"],
    )
    rho = np.full(overlap.auc.shape, np.nan)
    for column, atlas in enumerate(told):
        if atlas in map_of:
            rho[:, column] = rank_correlation(soft.T, t_maps[map_of[atlas]])
    members = (soft >= mask["threshold"]).astype(np.int64)
    return {
        "atlases": told,
        "maps": [map_of.get(atlas) for atlas in told],
        "overlap": store.put(
            {
                "auc": overlap.auc,
                "dice": overlap.dice,
                "p": overlap.p,
                "rho": rho,
                "inside": members @ unions.T.astype(np.int64),
                "size": unions.sum(axis=1),
            }
        ).model_dump(),
    }

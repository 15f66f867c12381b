"""Stages of the 2025 way: clusters of all participants' voxels, then each one's share of them."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.store import Artefact
from flows.mask import describe_masks, soft_masks
from flows.progress import report, steps_of
from flows.refusals import NothingFoundError
from flows.science.cluster_radius import GRID
from flows.science.participants import participant_names
from flows.science.voxel_clusters import ClusterConfig, cluster_voxels, mean_weights
from flows.stages import get_store, stage
from flows.train import load_decoder

Json = dict[str, Any]

# Members have weight 1 and all others 0, so that any threshold between says the same.
THRESHOLD = 0.5

REMEDY = "lower clusters.min_neighbours, or use method masks"
WIDER = "raise clusters.eps, lower clusters.min_neighbours, or use method masks"


def require_participants(slug: str, participants: int, config: ClusterConfig) -> None:
    """Refuse a dataset of too few participants for any cluster, before anything is computed.

    Raises
    ------
    InputError
        There are no more than `min_neighbours` participants.
    """
    if participants <= config.min_neighbours:
        raise InputError(
            f"{slug} has {participants} participants, and clusters of voxels with neighbours in "
            f"{config.min_neighbours} others (clusters.min_neighbours) need at least "
            f"{config.min_neighbours + 1}",
            hint="lower clusters.min_neighbours, or use method masks",
        )


def require_clusters(count: int, config: ClusterConfig) -> None:
    """Refuse to go on without a cluster.

    Raises
    ------
    NothingFoundError
        `count` is 0, and the data chose the radius.
    InputError
        `count` is 0, and the radius was given: it may be too small.
    """
    if count == 0:
        refusal = NothingFoundError if config.eps is None else InputError
        raise refusal(
            f"there is no cluster: no voxel's {_named(config)} have others {_within(config)} in "
            f"clusters.min_neighbours {config.min_neighbours} other participants",
            # Where the data choose the radius there is none to raise.
            hint=REMEDY if config.eps is None else WIDER,
        )


def _named(config: ClusterConfig) -> str:
    return "decoder weights" if config.vectors == "weights" else "patterns"


def _within(config: ClusterConfig) -> str:
    if config.eps is None:
        tried = f"{GRID[0]:g} to {GRID[-1]:g}"
        return f"within any clusters.eps of {tried} more often than unrelated ones would"
    return f"within clusters.eps {config.eps:g}"


@stage("find-clusters")
def find_clusters(
    decoders: list[list[Json]],
    voxels: list[Json],
    config: Json,
    seed: int,
    device: str,
    labels: list[str] | None = None,
) -> Json:
    """Cluster all participants' voxels by patterns, or by their decoders' weights (METHOD.md d).

    A voxel whose pattern or weights are zero has no direction, and one of a noise ceiling too low
    says little: neither is in a cluster.

    Parameters
    ----------
    decoders : list of list of dict
        For each participant the decoders whose patterns or weights are averaged, as
        `flows.train.load_decoder` takes them; where patterns are clustered, each with a reference
        ``patterns`` to ``patterns`` (V, D).
    voxels : list of dict
        A participant each, reference to ``noise_ceiling`` (V,) percent.
    config : dict
    seed : int
        Of nothing that is drawn here; results of different runs are kept apart by it.
    labels : list of str, optional
        The participants, as errors name them.

    Returns
    -------
    dict
        Reference to ``components``, (K, D) unit rows, the clusters' centroids; ``members``, a
        reference for each participant to ``members``, bits (K, V / 8); their ``count`` K, which may
        be 0; the ``eps`` that was given or chosen, and the ``curve`` that it was chosen from.
    """
    store = get_store()
    settings = ClusterConfig(**config)
    weights = [mean_weights([_vectors(each, settings) for each in own]) for own in decoders]
    usable = [
        own.any(axis=1) & _above(store.get(Artefact.model_validate(each)), settings.noise_ceiling)
        for own, each in zip(weights, voxels, strict=True)
    ]
    for name, own in zip(participant_names(labels, len(usable)), usable, strict=True):
        if not own.any():
            raise InputError(
                f"{name}: no voxel to cluster: none with {_named(settings)} has a noise ceiling "
                f"above clusters.noise_ceiling {settings.noise_ceiling:g} %",
                hint="lower clusters.noise_ceiling, or use method masks",
            )
    try:
        found = cluster_voxels(
            weights,
            settings,
            device=device,
            usable=usable,
            on_progress=steps_of("clustering voxels"),
            labels=labels,
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    report("clustering voxels", 1, 1)
    return {
        "components": store.put({"components": found.centroids}).model_dump(),
        "members": [
            store.put({"members": np.packbits(own, axis=1)}).model_dump() for own in found.members
        ],
        "count": len(found.centroids),
        "eps": found.eps,
        "curve": [asdict(point) for point in found.curve],
    }


def _vectors(decoder: Json, config: ClusterConfig) -> NDArray[np.floating]:
    """(V, D) what of a decoder's voxels is compared."""
    if config.vectors == "weights":
        return load_decoder(decoder).voxel_vectors()
    if decoder.get("patterns") is None:
        raise InputError(
            "these decoders were stored without patterns, which clusters.vectors patterns needs",
            hint="train them again, or set clusters.vectors to weights",
        )
    return np.asarray(get_store().get(Artefact.model_validate(decoder["patterns"]))["patterns"])


def _above(voxels: dict[str, NDArray[Any]], noise_ceiling: float) -> NDArray[np.bool_]:
    """Voxels whose noise ceiling is above a threshold, or not known."""
    return np.asarray(~(voxels["noise_ceiling"] <= noise_ceiling))


@stage("cover-members", "label")
def cover_members(
    label: str,
    tables: Json,
    decoder: Json,
    components: Json,
    members: Json,
    partner: list[int] | None = None,
) -> Json:
    """One participant's members of each cluster as masks.

    Members are the mask of their cluster, so that everything that is said of masks is said of
    them: a weight is 1 or 0, and soft and hard mask are the same.

    Parameters
    ----------
    tables : dict
        Reference to ``regions`` (R, V).
    decoder : dict
        What `flows.train.train_subject` returned.
    members : dict
        The participant's reference of what `find_clusters` returned.
    partner : list of int, optional
        (K,) the cluster that stands for each component, -1 for none; the clusters in their order
        where not given.

    Returns
    -------
    dict
        What `flows.mask.mask_subject` returns; ``lam`` is NaN.
    """
    store = get_store()
    rows = store.get(Artefact.model_validate(components))["components"]
    model = load_decoder(decoder)
    count = model.n_voxels
    found = soft_masks(members, count) > 0
    of = np.arange(len(rows)) if partner is None else np.array(partner, dtype=np.int64)
    member = np.zeros((len(rows), count), dtype=bool)
    member[of >= 0] = found[of[of >= 0]]
    reasons = [_reason(int(size), count) for size in member.sum(axis=1)]
    usable = np.array([reason is None for reason in reasons], dtype=bool)
    return describe_masks(
        tables,
        model,
        rows,
        None,
        soft=(member & usable[:, None]).astype(np.float32),
        lam=np.full(len(rows), np.nan),
        reasons=reasons,
        threshold=THRESHOLD,
    )


def _reason(size: int, voxels: int) -> str | None:
    """Why a participant's share of a cluster says nothing of where it lies."""
    if size == 0:
        return "none of this participant's voxels is in the cluster"
    if size == voxels:
        return "all of this participant's voxels are in the cluster"
    return None

"""Stages of the 2025 way: clusters of all participants' voxels, then each one's share of them."""

from typing import Any

import numpy as np

from app.errors import InputError
from app.store import Artefact
from flows.mask import measure_masks
from flows.progress import report, steps_of
from flows.science.voxel_clusters import ClusterConfig, cluster_voxels
from flows.stages import get_store, stage
from flows.train import load_decoder

Json = dict[str, Any]

# Members have weight 1 and all others 0, so that any threshold between says the same.
THRESHOLD = 0.5

REMEDY = "lower clusters.min_neighbours, raise clusters.eps, or use method masks"


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
    InputError
        `count` is 0.
    """
    if count == 0:
        raise InputError(
            f"there is no cluster: no voxel's decoder weights have others within clusters.eps "
            f"{config.eps:g} in clusters.min_neighbours {config.min_neighbours} other "
            "participants",
            hint=REMEDY,
        )


@stage("find-clusters")
def find_clusters(
    decoders: list[Json], config: Json, device: str, labels: list[str] | None = None
) -> Json:
    """Cluster the weights that all participants' decoders have for their voxels (METHOD.md d).

    A voxel of weight zero has no direction, and belongs to no cluster.

    Parameters
    ----------
    decoders : list of dict
        References and kinds, as `flows.train.load_decoder` takes them.
    labels : list of str, optional
        The participants, as errors name them.

    Returns
    -------
    dict
        Reference to ``components``, (K, D) unit rows, the clusters' centroids; ``members``, a
        reference for each participant to ``cluster`` (V,), -1 where a voxel is in none; and
        their ``count`` K, which may be 0.
    """
    store = get_store()
    settings = ClusterConfig(**config)
    weights = [load_decoder(decoder).voxel_vectors() for decoder in decoders]
    pointing = [own.any(axis=1) for own in weights]
    try:
        found = cluster_voxels(
            [own[kept] for own, kept in zip(weights, pointing, strict=True)],
            settings,
            device=device,
            on_progress=steps_of("clustering voxels"),
            labels=labels,
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    report("clustering voxels", 1, 1)
    members = []
    for own, kept, label in zip(weights, pointing, found.label, strict=True):
        cluster = np.full(len(own), -1)
        cluster[kept] = label
        members.append(store.put({"cluster": cluster}).model_dump())
    return {
        "components": store.put({"components": found.centroids}).model_dump(),
        "members": members,
        "count": len(found.centroids),
    }


@stage("measure-members", "label")
def measure_members(
    label: str,
    artefacts: Json,
    tables: Json,
    decoder: Json,
    vectors: Json,
    components: Json,
    members: Json,
    folds: list[str],
    permutations: int,
    seed: int,
    device: str,
) -> Json:
    """Measure on test trials what one participant's members of each cluster carry.

    Members are the mask of their cluster, so that everything that is said of masks is said of
    them: a weight is 1 or 0, and soft and hard mask are the same.

    Parameters
    ----------
    members : dict
        The participant's reference of what `find_clusters` returned.

    Returns
    -------
    dict
        What `flows.mask.mask_subject` returns; ``lam`` is NaN.
    """
    store = get_store()
    rows = store.get(Artefact.model_validate(components))["components"]
    cluster = store.get(Artefact.model_validate(members))["cluster"]
    member = cluster == np.arange(len(rows))[:, None]
    reasons = [_reason(int(size), len(cluster)) for size in member.sum(axis=1)]
    usable = np.array([reason is None for reason in reasons])
    return measure_masks(
        label,
        artefacts,
        tables,
        load_decoder(decoder),
        vectors,
        rows,
        folds,
        permutations,
        seed,
        device,
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

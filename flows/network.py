"""Each participant's semantic network: components that overlap or mean alike, in communities."""

from typing import Any

import networkx as nx
import numpy as np
from networkx.algorithms.community import louvain_communities, modularity
from numpy.typing import NDArray

from app.store import Artefact
from flows.science.network import NetworkConfig, compare_pairs
from flows.stages import get_store, stage

Json = dict[str, Any]

# Louvain ends where its random order of nodes leads it; the best of some orders counts.
STARTS = 10


@stage("link-subject", "label")
def link_subject(
    label: str, components: Json, mask: Json, config: Json, level: float, seed: int
) -> Json:
    """Link the components that one participant has masks of, and find their communities.

    Parameters
    ----------
    mask : dict
        What `flows.locate.locate_subject` returned. A component without a usable mask is no part of
        the participant's network.

    Returns
    -------
    dict
        Reference to ``node`` (N,) indices of components with ``community`` and ``strength``
        (N,), and to ``first``, ``second`` (E,) indices of linked components with ``dice``,
        ``p``, ``q``, ``cosine`` and ``weight`` (E,).
    """
    store = get_store()
    settings = NetworkConfig(**config)
    rows = store.get(Artefact.model_validate(components))["components"]
    usable = np.array([reason is None for reason in mask["reasons"]], dtype=bool)
    soft = store.get(Artefact.model_validate(mask["masks"]))["soft"]
    members = (soft >= mask["threshold"]) & usable[:, None]
    node = np.flatnonzero(members.any(axis=1))
    pairs = compare_pairs(rows[node], members[node])
    linked = pairs.linked(level, settings.cosine)
    first, second, weight = pairs.first[linked], pairs.second[linked], pairs.weight[linked]
    community = find_communities(len(node), first, second, weight, seed=seed)
    arrays = {
        "node": node,
        "community": community,
        "strength": inner_strength(community, first, second, weight),
        "first": node[first],
        "second": node[second],
        "dice": pairs.dice[linked],
        "p": pairs.p[linked],
        "q": pairs.q[linked],
        "cosine": pairs.cosine[linked],
        "weight": weight,
    }
    return {"network": store.put(arrays).model_dump()}


def find_communities(
    count: int,
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    weight: NDArray[np.floating],
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Communities of a weighted network, by Louvain's method.

    Parameters
    ----------
    count : int
        N nodes.
    first, second : ndarray
        (E,) the nodes that each edge joins.
    weight : ndarray
        (E,) above 0.
    seed : int
        The same network and seed give the same communities.

    Returns
    -------
    ndarray
        (N,) numbers from 1, larger communities first; a node without an edge is alone in its own.

    References
    ----------
    Blondel et al. 2008, J. Stat. Mech. P10008.
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_weighted_edges_from(
        zip(first.tolist(), second.tolist(), weight.tolist(), strict=True)
    )
    groups = [{node} for node in range(count)]
    # Without an edge there is no modularity to gain.
    if len(first):
        starts = [louvain_communities(graph, seed=seed + start) for start in range(STARTS)]
        groups = max(starts, key=lambda found: float(modularity(graph, found)))
    community = np.zeros(count, dtype=np.int64)
    for number, group in enumerate(sorted(groups, key=lambda each: (-len(each), min(each))), 1):
        community[sorted(group)] = number
    return community


def inner_strength(
    community: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    weight: NDArray[np.floating],
) -> NDArray[np.float64]:
    """(N,) how firmly each node belongs: the weights of its edges to its own community, summed."""
    inside = community[first] == community[second]
    strength = np.zeros(len(community))
    for end in (first, second):
        np.add.at(strength, end[inside], weight[inside])
    return strength

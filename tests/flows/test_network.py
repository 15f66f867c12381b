"""The stage that links a participant's components, on planted masks in a store."""

from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Component, ComponentVoxel, Subject, Voxel
from app.networks.service import network
from app.settings import get_settings
from app.store import Artefact
from flows.network import STARTS, find_communities, inner_strength, link_subject
from flows.science.network import NetworkConfig
from flows.stages import get_store

# Components of each group, among others whose masks count for nothing.
GROUPS = ([0, 2, 5], [1, 6, 7, 8])
NO_MASK = {3: "empty", 4: "full"}


@pytest.fixture
def planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, object], dict[str, object]]:
    """References to components and to masks in which two groups overlap."""
    monkeypatch.setenv("SDC_HOME", str(tmp_path))
    get_settings.cache_clear()
    rng = np.random.default_rng(0)
    soft = rng.uniform(0, 0.49, (9, 600)).astype(np.float32)
    for group, start in zip(GROUPS, (100, 400), strict=True):
        for component in group:
            soft[component, start + rng.choice(60, 40, replace=False)] = 0.9
    soft[4] = 1
    components = rng.normal(size=(9, 64)).astype(np.float32)
    store = get_store()
    yield (
        store.put({"components": components}).model_dump(),
        {
            "masks": store.put({"soft": soft}).model_dump(),
            "reasons": [NO_MASK.get(component) for component in range(9)],
            "threshold": 0.5,
        },
    )
    get_settings.cache_clear()


def assert_network_is_that_of_the_masks(subject: str) -> None:
    """The published network of a participant is what the published masks and vectors tell."""
    with open_session() as session:
        told = network(session, subject)
        vectors = {
            node.id: np.asarray(session.get_one(Component, node.id).vector) for node in told.nodes
        }
        rows = session.execute(
            select(ComponentVoxel.component_id, ComponentVoxel.voxel_id)
            .join(Voxel, Voxel.id == ComponentVoxel.voxel_id)
            .join(Subject, Subject.id == Voxel.subject_id)
            .join(Component, Component.id == ComponentVoxel.component_id)
            .where(Subject.label == subject, Component.run_id == told.run)
        ).all()
    masks: dict[int, set[int]] = {}
    for component, voxel in rows:
        masks.setdefault(component, set()).add(voxel)
    assert {node.id: node.n_voxels for node in told.nodes} == {
        component: len(mask) for component, mask in masks.items()
    }
    edges = {(edge.source, edge.target): edge for edge in told.edges}
    bound = NetworkConfig().cosine
    for a, b in combinations(sorted(masks), 2):
        cosine = float(vectors[a] @ vectors[b])
        assert ((a, b) in edges) or cosine < bound
        if edge := edges.pop((a, b), None):
            both = len(masks[a] & masks[b])
            assert edge.dice == pytest.approx(2 * both / (len(masks[a]) + len(masks[b])))
            assert edge.cosine == pytest.approx(cosine, abs=1e-5)
            assert edge.weight == pytest.approx((edge.dice + max(cosine, 0)) / 2, abs=1e-5)
            assert edge.q_value <= 0.05 or cosine >= bound
    assert not edges


def link(components: object, mask: object) -> dict[str, np.ndarray]:
    """What the stage finds, by itself, remembered by nobody."""
    result = link_subject.function("subj01", components, mask, {"cosine": 0.5}, 0.05, 3)
    return get_store().get(Artefact.model_validate(result["network"]))


def test_planted_groups_are_the_communities(planted: tuple) -> None:
    found = link(*planted)
    assert found["node"].tolist() == [0, 1, 2, 5, 6, 7, 8]
    community = dict(zip(found["node"].tolist(), found["community"].tolist(), strict=True))
    # The larger group has the smaller number.
    assert community == dict.fromkeys(GROUPS[1], 1) | dict.fromkeys(GROUPS[0], 2)
    edges = set(zip(found["first"].tolist(), found["second"].tolist(), strict=True))
    assert edges == {(a, b) for group in GROUPS for a in group for b in group if a < b}
    assert (found["q"] <= 0.05).all()
    hard = get_store().get(Artefact.model_validate(planted[1]["masks"]))["soft"] >= 0.5
    for a, b, dice, weight, cosine in zip(
        *(found[name] for name in ("first", "second", "dice", "weight", "cosine")), strict=True
    ):
        assert dice == pytest.approx(2 * (hard[a] & hard[b]).sum() / hard[[a, b]].sum())
        assert weight == pytest.approx((dice + max(cosine, 0)) / 2)
    for node, strength in zip(found["node"], found["strength"], strict=True):
        own = found["weight"][(found["first"] == node) | (found["second"] == node)]
        assert strength == pytest.approx(own.sum())


def test_a_participant_without_masks_has_an_empty_network(planted: tuple) -> None:
    components, mask = planted
    found = link(components, mask | {"reasons": ["empty"] * 9})
    assert {name: len(array) for name, array in found.items()} == dict.fromkeys(found, 0)


def test_the_same_seed_gives_the_same_communities() -> None:
    rng = np.random.default_rng(1)
    first, second = np.triu_indices(40, k=1)
    kept = rng.random(len(first)) < 0.3
    edges = (first[kept], second[kept], rng.random(kept.sum()))
    once = find_communities(40, *edges, seed=5)
    assert np.array_equal(once, find_communities(40, *edges, seed=5))
    assert once.min() == 1
    sizes = np.bincount(once)[1:]
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()


def test_of_several_orders_the_best_counts() -> None:
    graph = nx.gnp_random_graph(60, 0.15, seed=1)
    first, second = np.array(graph.edges()).T
    found = find_communities(60, first, second, np.ones(len(first)), seed=5)
    groups = [set(np.flatnonzero(found == number).tolist()) for number in np.unique(found)]
    each = [
        nx.community.modularity(graph, nx.community.louvain_communities(graph, seed=5 + start))
        for start in range(STARTS)
    ]
    assert min(each) < max(each) - 1e-3
    assert nx.community.modularity(graph, groups) == pytest.approx(max(each))


def test_communities_of_a_known_network_are_near_the_best_known() -> None:
    # Zachary's karate club: 0.4198 is the largest modularity there is, unweighted.
    club = nx.karate_club_graph()
    first, second = np.array(club.edges()).T
    found = find_communities(34, first, second, np.ones(len(first)), seed=0)
    groups = [set(np.flatnonzero(found == number).tolist()) for number in np.unique(found)]
    assert nx.community.modularity(club, groups, weight=None) > 0.415


def test_nodes_without_an_edge_are_alone() -> None:
    none = np.array([], dtype=np.int64)
    assert find_communities(3, none, none, np.array([]), seed=0).tolist() == [1, 2, 3]
    alone = find_communities(4, np.array([1]), np.array([3]), np.array([0.5]), seed=0)
    assert alone.tolist() == [2, 1, 3, 1]


def test_strength_counts_edges_inside_the_community_alone() -> None:
    strength = inner_strength(
        np.array([1, 1, 2, 3]), np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([0.5, 0.3, 0.2])
    )
    assert strength.tolist() == [0.5, 0.5, 0, 0]

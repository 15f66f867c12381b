from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from sqlalchemy.orm import Session

from app.errors import InputError
from app.networks.graph import write_graphml
from app.networks.schemas import NetworkAnswer, NetworkEdge, NetworkNode
from app.networks.service import network
from tests.app.published import Published


@pytest.fixture
def answer(session: Session, published: Published) -> NetworkAnswer:
    return network(session, "subj01")


def read(file: Path) -> NetworkAnswer:
    """A network's file, as the answer that it was written from."""
    graph = nx.read_graphml(file, node_type=int)
    told = {name: graph.graph[name] for name in NetworkAnswer.model_fields if name in graph.graph}
    return NetworkAnswer(
        nodes=[node_of(id_, data) for id_, data in graph.nodes(data=True)],
        edges=[NetworkEdge(source=a, target=b, **data) for a, b, data in graph.edges(data=True)],
        **told,
    )


def node_of(id_: int, data: dict[str, Any]) -> NetworkNode:
    """A node, of the single values that GraphML has; what is not there is null."""
    reasons = {
        name.removeprefix("reason_"): data.pop(name)
        for name in [*data]
        if name.startswith("reason_")
    }
    told = {name: data.pop(f"prevalence{name}", None) for name in ("", "_low", "_high")}
    prevalence = {"estimate": told[""], "low": told["_low"], "high": told["_high"]}
    absent = dict.fromkeys(NetworkNode.model_fields) | {"reasons": reasons}
    if told[""] is not None:
        absent["prevalence"] = prevalence
    return NetworkNode.model_validate(absent | data | {"id": id_})


def by_place(answer: NetworkAnswer) -> NetworkAnswer:
    """The answer with its edges in the order of their ends."""
    edges = sorted(answer.edges, key=lambda edge: (edge.source, edge.target))
    return answer.model_copy(update={"edges": edges})


def test_graphml_read_back_is_the_answer(answer: NetworkAnswer, tmp_path: Path) -> None:
    # Values that short decimals would change, and one that is barely above nothing.
    answer.edges[0].p_value = answer.edges[0].q_value = 2.2250738585072014e-308
    answer.edges[1].cosine = 1 / 3
    write_graphml(answer, tmp_path / "network.graphml")
    assert by_place(read(tmp_path / "network.graphml")) == by_place(answer)


def test_a_network_without_edges_keeps_its_nodes(answer: NetworkAnswer, tmp_path: Path) -> None:
    alone = answer.model_copy(update={"edges": []})
    write_graphml(alone, tmp_path / "network.graphml")
    assert read(tmp_path / "network.graphml") == alone


def test_labels_that_xml_cannot_hold(answer: NetworkAnswer, tmp_path: Path) -> None:
    answer.nodes[0].label = "a\x01 <b> & \"c\" 'd' \ufffe 𝔰𝔡𝔠"
    answer.subject = "subj\x1b01"
    write_graphml(answer, tmp_path / "network.graphml")
    back = read(tmp_path / "network.graphml")
    assert back.nodes[0].label == "a\ufffd <b> & \"c\" 'd' \ufffd 𝔰𝔡𝔠"
    assert back.subject == "subj\ufffd01"


def test_a_folder_that_does_not_exist(answer: NetworkAnswer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        write_graphml(answer, tmp_path / "nowhere" / "network.graphml")

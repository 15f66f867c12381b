"""A network as other programs read it: GraphML."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import networkx as nx

from app.files import write_file
from app.networks.schemas import NetworkAnswer, NetworkNode

# XML 1.0 has no place for these, not even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_graph(answer: NetworkAnswer) -> "nx.Graph[int]":
    """The network as a graph whose nodes are components' ids.

    Returns
    -------
    networkx.Graph
        Nodes, edges and the graph itself carry what the answer tells of them. GraphML has single
        values alone: the reasons of claims are attributes such as ``reason_stable``, and what is
        null is left out.
    """
    graph = nx.Graph(**answer.model_dump(exclude={"nodes", "edges"}))
    for node in answer.nodes:
        graph.add_node(node.id, **_attributes(node))
    for edge in answer.edges:
        graph.add_edge(edge.source, edge.target, **edge.model_dump(exclude={"source", "target"}))
    return graph


def write_graphml(answer: NetworkAnswer, file: Path) -> None:
    """Write the network as GraphML, which Gephi, Cytoscape, igraph and networkx read.

    Characters that XML does not have, such as control characters in a label, become U+FFFD.

    Raises
    ------
    InputError
        The file cannot be written.
    StorageError
        The disk is full.
    """
    graph = as_graph(answer)
    for attributes in (graph.graph, *(data for _, data in graph.nodes(data=True))):
        _make_xml_safe(attributes)
    content = BytesIO()
    nx.write_graphml(graph, content)
    write_file(file, content.getvalue())


def _attributes(node: NetworkNode) -> dict[str, Any]:
    told = node.model_dump(exclude={"id", "reasons", "prevalence"})
    told |= {f"reason_{claim}": why for claim, why in node.reasons.items()}
    if node.prevalence is not None:
        told |= {
            "prevalence": node.prevalence.estimate,
            "prevalence_low": node.prevalence.low,
            "prevalence_high": node.prevalence.high,
        }
    return {name: value for name, value in told.items() if value is not None}


def _make_xml_safe(attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if isinstance(value, str):
            attributes[name] = _NOT_IN_XML.sub("\ufffd", value)

"""A network drawn."""

import warnings
from io import BytesIO
from pathlib import Path

import networkx as nx

from app.files import require_png, write_file
from app.networks.graph import as_graph
from app.networks.schemas import NetworkAnswer, NetworkNode

Places = dict[int, tuple[float, float]]

# The layout starts from a random draw: the same network is to look the same.
SEED = 0
# Unlinked nodes stand in rows below the others, which a layout would push apart.
A_ROW = 10
ROW_HEIGHT = 0.12


def write_figure(answer: NetworkAnswer, file: Path) -> None:
    """Draw the network to a PNG file.

    Colours tell communities (grey: alone), sizes the masks' voxels, a black rim that participants
    share the concept, and lines' widths the weights.

    Raises
    ------
    InputError
        The file's name does not end in ``.png``, or it cannot be written.
    StorageError
        The disk is full.
    """
    require_png(file)
    write_file(file, _draw(answer))


def place_nodes(answer: NetworkAnswer) -> Places:
    """Where each node is drawn: near to what it is linked to, unlinked ones in rows below."""
    graph = as_graph(answer)
    unlinked = [node.id for node in answer.nodes if not graph.degree(node.id)]
    linked = graph.subgraph([node.id for node in answer.nodes if graph.degree(node.id)])
    places = {
        node: (float(x), float(y))
        for node, (x, y) in nx.spring_layout(linked, weight="weight", seed=SEED).items()
    }
    for index, node in enumerate(unlinked):
        row, column = divmod(index, A_ROW)
        places[node] = (-1 + 2 * column / (A_ROW - 1), -1 - ROW_HEIGHT * (row + 2))
    return places


def _draw(answer: NetworkAnswer) -> bytes:
    # Not pyplot, which would look for a display and keep every figure.
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    places = place_nodes(answer)
    figure = Figure(figsize=(12, 9), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    # A label with two dollar signs is no formula.
    axes.set_title(
        f"{answer.subject} in {answer.dataset}, run {answer.run}: colour is the community, "
        "size the voxels, a black rim a shared concept",
        fontsize=10,
        parse_math=False,
    )
    axes.add_collection(
        LineCollection(
            [(places[edge.source], places[edge.target]) for edge in answer.edges],
            linewidths=[0.3 + 4 * edge.weight for edge in answer.edges],
            colors="0.7",
            zorder=1,
        )
    )
    largest = max(node.n_voxels for node in answer.nodes)
    axes.scatter(
        [places[node.id][0] for node in answer.nodes],
        [places[node.id][1] for node in answer.nodes],
        s=[40 + 360 * node.n_voxels / largest for node in answer.nodes],
        c=_colours(answer.nodes),
        edgecolors=["black" if node.shared else "white" for node in answer.nodes],
        zorder=2,
    )
    for node in answer.nodes:
        axes.annotate(
            node.label.split(", ")[0],
            places[node.id],
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            parse_math=False,
        )
    content = BytesIO()
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _colours(nodes: list[NetworkNode]) -> list[tuple[float, float, float, float]]:
    from matplotlib import colormaps

    palette = colormaps["tab20"]
    communities = [node.community for node in nodes]
    return [
        palette((each - 1) % palette.N) if communities.count(each) > 1 else (0.8, 0.8, 0.8, 1.0)
        for each in communities
    ]

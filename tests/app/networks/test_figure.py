from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy.orm import Session

from app.concepts.claims import no_claims
from app.errors import InputError
from app.networks.figure import place_nodes, write_figure
from app.networks.schemas import NetworkAnswer, NetworkNode
from app.networks.service import network
from tests.app.published import Published


@pytest.fixture
def answer(session: Session, published: Published) -> NetworkAnswer:
    return network(session, "subj01")


def drawn(answer: NetworkAnswer, file: Path) -> np.ndarray:
    write_figure(answer, file)
    with Image.open(file) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_linked_nodes_lie_nearer_to_each_other(answer: NetworkAnswer) -> None:
    places = place_nodes(answer)
    assert sorted(places) == sorted(node.id for node in answer.nodes)
    assert places == place_nodes(answer)
    community = {node.id: node.community for node in answer.nodes}
    linked = {frozenset((edge.source, edge.target)) for edge in answer.edges}

    def distance(a: int, b: int) -> float:
        return float(np.hypot(*np.subtract(places[a], places[b])))

    near = [distance(*pair) for pair in linked]
    far = [distance(a, b) for a in places for b in places if {community[a], community[b]} == {1, 2}]
    assert max(near) < min(far)


def test_unlinked_nodes_stand_below_and_apart(answer: NetworkAnswer) -> None:
    answer.nodes += [
        NetworkNode(
            **no_claims(None),
            id=1000 + i,
            label="x",
            n_voxels=1,
            responds=None,
            community=4 + i,
            strength=0,
        )
        for i in range(12)
    ]
    ends = {end for edge in answer.edges for end in (edge.source, edge.target)}
    places = place_nodes(answer)
    below = [place for node, place in places.items() if node not in ends]
    assert len(set(below)) == len(below) == 13
    # The others fill the square from -1 to 1.
    assert max(y for _, y in below) < -1 <= min(places[node][1] for node in ends)


def test_a_network_without_edges_has_its_places(answer: NetworkAnswer) -> None:
    assert len(set(place_nodes(answer.model_copy(update={"edges": []})).values())) == 6


def test_the_figure_shows_the_network(answer: NetworkAnswer, tmp_path: Path) -> None:
    picture = drawn(answer, tmp_path / "network.png")
    assert min(picture.shape[:2]) > 500
    # A community's blue, a lone node's grey, and white around them.
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {(31, 119, 180), (204, 204, 204), (255, 255, 255)} <= colours
    assert np.array_equal(picture, drawn(answer, tmp_path / "again.PNG"))
    without = answer.model_copy(update={"edges": []})
    assert not np.array_equal(picture, drawn(without, tmp_path / "without.png"))
    assert {file.name for file in tmp_path.iterdir()} == {
        "network.png",
        "again.PNG",
        "without.png",
    }


def test_labels_are_no_formulas_and_may_lack_a_letter(
    answer: NetworkAnswer, tmp_path: Path
) -> None:
    answer.nodes[0].label = "$\\frac{$ money"
    answer.nodes[1].label = "顔"
    answer.subject = "$subj_{$"
    drawn(answer, tmp_path / "network.png")


def test_another_kind_of_file_is_refused(answer: NetworkAnswer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"network\.svg is no name of a PNG file"):
        write_figure(answer, tmp_path / "network.svg")
    assert list(tmp_path.iterdir()) == []

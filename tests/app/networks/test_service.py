import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.database.models import (
    ComponentCommunity,
    ComponentEdge,
    ComponentSubject,
    ComponentVoxel,
    Dataset,
    Encoder,
)
from app.errors import InputError, NotFoundError
from app.networks.service import network
from app.store import ArtefactStore
from tests.app.published import (
    COMMUNITIES,
    LINKS,
    REASONS,
    RESPONDS,
    SHARED,
    VERDICTS,
    Published,
    publish,
)


def test_a_network_is_told_as_it_was_published(session: Session, published: Published) -> None:
    answer = network(session, "subj02")
    assert (answer.subject, answer.dataset, answer.run) == ("subj02", "lab-a", published.run)
    assert (answer.encoder, answer.method) == (published.encoder, "masks")
    assert "Benjamini-Hochberg" in answer.q_family
    assert "smooth" in answer.q_family
    concept = {id_: name for name, id_ in published.components.items()}
    found = {
        number: {concept[node.id] for node in answer.nodes if node.community == number}
        for number in (1, 2, 3)
    }
    assert found == {number: set(names) for number, names in enumerate(COMMUNITIES, start=1)}
    assert {node.n_voxels for node in answer.nodes} == {5}
    assert {concept[node.id]: node.responds for node in answer.nodes} == RESPONDS
    for node in answer.nodes:
        claims = (node.decodable, node.specific, node.agreeing, node.stable)
        assert claims == VERDICTS[concept[node.id]]
        assert node.reasons == REASONS[concept[node.id]]
        assert (node.shared is True) == (concept[node.id] in SHARED)
    assert [node.label.split(", ")[0] for node in answer.nodes] == [
        concept[node.id] for node in answer.nodes
    ]
    assert {
        (concept[edge.source], concept[edge.target]): (
            *(edge.dice, edge.p_value, edge.q_value, edge.cosine),
        )
        for edge in answer.edges
    } == LINKS


def test_nodes_and_edges_come_in_order(session: Session, published: Published) -> None:
    answer = network(session, "subj01")
    order = [(node.community, -node.strength, node.id) for node in answer.nodes]
    assert order == sorted(order)
    assert [node.strength for node in answer.nodes] == pytest.approx([0.7, 0.4, 0.3, 0.1, 0.1, 0])
    assert [edge.weight for edge in answer.edges] == pytest.approx([0.4, 0.3, 0.1])


def test_a_network_is_of_one_participant_and_one_run(
    session: Session, published: Published, store: ArtefactStore
) -> None:
    spec = session.get_one(Encoder, 1).spec
    other = publish(session, spec, store, slug="lab-b")
    session.execute(
        delete(ComponentEdge).where(ComponentEdge.subject_id == other.subjects["subj01"])
    )
    assert len(network(session, "subj01", dataset="lab-a").edges) == len(LINKS)
    assert network(session, "subj01", dataset="lab-b").edges == []
    assert len(network(session, "subj02", dataset="lab-b").edges) == len(LINKS)
    assert network(session, "subj01", run=other.run).dataset == "lab-b"
    with pytest.raises(InputError, match="several datasets"):
        network(session, "subj01")
    with pytest.raises(InputError, match=f"run {other.run} is of the dataset lab-b"):
        network(session, "subj01", dataset="lab-a", run=other.run)


def test_an_older_run_answers_by_its_id(session: Session, published: Published) -> None:
    session.get_one(Dataset, 1).current_run_id = None
    session.flush()
    assert len(network(session, "subj01", run=published.run).nodes) == 6
    with pytest.raises(
        NotFoundError, match="lab-a has no current run: its last run is not current"
    ):
        network(session, "subj01")


def test_an_unknown_participant(session: Session, published: Published) -> None:
    with pytest.raises(NotFoundError, match="no subject 'subj9'") as caught:
        network(session, "subj9")
    assert caught.value.hint == "known: subj01, subj02"


def test_a_run_without_masks_of_the_participant(session: Session, published: Published) -> None:
    own = published.subjects["subj01"]
    session.execute(delete(ComponentCommunity).where(ComponentCommunity.subject_id == own))
    session.execute(delete(ComponentVoxel))
    session.execute(
        update(ComponentSubject).where(ComponentSubject.subject_id == own).values(n_voxels=0)
    )
    with pytest.raises(NotFoundError, match=f"run {published.run} has no masks of subj01"):
        network(session, "subj01")
    assert len(network(session, "subj02").nodes) == 6


def test_a_run_that_was_published_without_networks(session: Session, published: Published) -> None:
    session.execute(delete(ComponentCommunity))
    with pytest.raises(NotFoundError, match="published without networks") as caught:
        network(session, "subj01")
    assert caught.value.hint == "run again: sdc run lab-a"

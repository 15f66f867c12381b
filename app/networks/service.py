"""One participant's semantic network."""

from sqlalchemy.orm import Session

from app.concepts.claims import claims_of
from app.errors import NotFoundError
from app.masks.response import response_of
from app.networks import repository
from app.networks.schemas import NetworkAnswer, NetworkEdge, NetworkNode
from app.runs.service import ChosenRun, choose_run, require_subject

EDGE_FAMILY = (
    "edge q: Benjamini-Hochberg over all pairs of the participant's masks in the run; "
    "hypergeometric p, which ignores that masks are smooth"
)


def network(
    session: Session, subject: str, *, dataset: str | None = None, run: int | None = None
) -> NetworkAnswer:
    """Which concepts belong together in one participant.

    Parameters
    ----------
    session : Session
    subject : str
        The participant's label.
    dataset : str, optional
        Needed where several datasets have a current run.
    run : int, optional
        An older run's id, instead of the dataset's current one.

    Returns
    -------
    NetworkAnswer
        Nodes are the concepts that the participant has a mask of. An edge joins two whose masks
        overlap beyond chance (q at most the run's ``statistics.level``) or whose directions have
        at least the cosine of the run's ``network.cosine``.

    Raises
    ------
    NotFoundError
        There is no such dataset, run or participant, or the run has no masks or no network of
        the participant.
    InputError
        Several datasets could answer, or the run is another dataset's.
    """
    chosen = choose_run(session, dataset, run)
    require_subject(session, chosen.dataset, subject)
    nodes = [
        NetworkNode(
            id=component.id,
            label=component.label,
            **claims_of(component),
            n_voxels=mask.n_voxels,
            responds=response_of(mask.response_sign),
            community=place.community,
            strength=place.strength,
        )
        for component, place, mask in repository.nodes(session, chosen.run.id, subject)
    ]
    if not nodes:
        raise _missing(session, chosen, subject)
    return NetworkAnswer(
        subject=subject,
        **chosen.names,
        q_family=EDGE_FAMILY,
        nodes=nodes,
        edges=[
            NetworkEdge(
                source=edge.component_a_id,
                target=edge.component_b_id,
                dice=edge.dice,
                cosine=edge.cosine,
                weight=edge.weight,
                p_value=edge.p_value,
                q_value=edge.q_value,
            )
            for edge in repository.edges(session, chosen.run.id, subject)
        ],
    )


def _missing(session: Session, chosen: ChosenRun, subject: str) -> NotFoundError:
    if repository.count_masks(session, chosen.run.id, subject):
        return NotFoundError(
            f"run {chosen.run.id} was published without networks",
            hint=f"run again: sdc run {chosen.dataset.slug}",
        )
    return NotFoundError(
        f"run {chosen.run.id} has no masks of {subject}",
        hint="`sdc show CONCEPT` tells why a mask counts for nothing",
    )

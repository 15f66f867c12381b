"""The regions that carry what is asked, be it a text or a concept."""

from sqlalchemy.orm import Session

from app.concepts.service import check_k, require_component
from app.errors import InputError
from app.places.peaks import peak_places
from app.regions.repository import list_overlaps
from app.regions.service import REGION_FAMILY, level_of, require_atlas
from app.runs.service import choose_run, require_subject
from app.search.schemas import RegionsAnswer
from app.search.service import region_fields, search

NO_PROMPT = "a concept was asked for, and no prompt"


def find_regions(
    session: Session,
    *,
    prompt: str | None = None,
    component: int | None = None,
    dataset: str | None = None,
    subject: str | None = None,
    atlas: str | None = None,
    k: int = 10,
) -> RegionsAnswer:
    """Each participant's regions that carry a text or a concept, best first.

    Parameters
    ----------
    session : Session
    prompt : str, optional
        A text: its regions are those that `app.search.service.search` tells.
    component : int, optional
        A concept's id, instead: its similarity with itself is 1.
    dataset : str, optional
        Needed for a text where several datasets have a current run.
    subject, atlas : str, optional
        Tell regions of this participant, of this atlas alone.
    k : int
        How many at most, of those that carry it and of the others.

    Raises
    ------
    InputError
        Neither or both are asked for, k or the text cannot be used, or the component is another
        dataset's.
    NotFoundError
        There is no such component, dataset, participant or atlas.
    """
    if prompt is None and component is None:
        raise InputError("neither a prompt nor a component is given", hint="give one of them")
    if prompt is not None and component is not None:
        raise InputError("both a prompt and a component are given", hint="give one of them")
    if prompt is not None:
        found = search(session, prompt, dataset=dataset, subject=subject, atlas=atlas, k=k)
        return RegionsAnswer(
            query=found.query,
            component=None,
            label=None,
            dataset=found.dataset,
            run=found.run,
            encoder=found.encoder,
            method=found.method,
            q_family=REGION_FAMILY,
            match=found.match,
            match_reason=found.match_reason,
            warnings=found.warnings,
            regions=found.regions,
            weaker_regions=found.weaker_regions,
            place=found.place,
        )
    check_k(k)
    concept = require_component(session, component or 0)
    chosen = choose_run(session, dataset, concept.run_id)
    if subject is not None:
        require_subject(session, chosen.dataset, subject)
    if atlas is not None:
        require_atlas(session, chosen.dataset, atlas)
    overlaps = list_overlaps(session, [concept.id], subject=subject, atlas=atlas)
    return RegionsAnswer(
        query=None,
        component=concept.id,
        label=concept.label,
        **chosen.names,
        q_family=REGION_FAMILY,
        match=None,
        match_reason=NO_PROMPT,
        **region_fields(
            overlaps,
            {concept.id: 1.0},
            level_of(chosen.run),
            k,
            peak_places(session, [concept.id], subject).get(concept.id),
        ),
    )

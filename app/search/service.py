"""Search: a prompt's nearest concepts, and the regions that carry them."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.concepts.repository import decoding_subjects, nearest_to_vector
from app.concepts.service import CONCEPT_FAMILY, check_k, hit_fields
from app.embedding.prompts import AS_TYPED
from app.regions.repository import Overlap, list_overlaps
from app.regions.service import (
    REGION_FAMILY,
    best_regions,
    rank_overlaps,
    region_answer,
    require_atlas,
)
from app.runs.service import choose_run, require_subject
from app.search.schemas import FoundConcept, SearchAnswer
from app.terms.prompts import check_templates, clean_text, prompt_direction

REGIONS_PER_CONCEPT = 5


def search(
    session: Session,
    text: str,
    *,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    atlas: str | None = None,
    k: int = 10,
    templates: Sequence[str] = AS_TYPED,
) -> SearchAnswer:
    """Ask a run in words.

    A prompt without a vector is embedded and stored; the caller commits.

    Parameters
    ----------
    session : Session
    text : str
        What was typed.
    dataset : str, optional
        Needed where several datasets have a current run.
    run : int, optional
        An older run's id, instead of the dataset's current one.
    subject, atlas : str, optional
        Tell regions of this participant, of this atlas alone.
    k : int
        How many concepts, and how many regions at most. The regions are those that carry the
        concepts told.
    templates : sequence of str
        Ways to say the text, see `app.embedding.prompts`.

    Returns
    -------
    SearchAnswer
        A concept's similarity is the cosine of its vector with the prompt's, the texts' mean
        taken off; its own regions are the five that say most of it, in every participant.

    Raises
    ------
    InputError
        Text, k or a template cannot be used, or several datasets could answer.
    NotFoundError
        There is no such dataset, run, participant or atlas, or a table does not hold the text.
    ConflictError
        The encoder's weights are not those of the stored vectors.
    UnavailableError
        The encoder's weights cannot be had.
    """
    check_k(k)
    query, templates = clean_text(text), check_templates(templates)
    chosen = choose_run(session, dataset, run)
    if subject is not None:
        require_subject(session, chosen.dataset, subject)
    if atlas is not None:
        require_atlas(session, chosen.dataset, atlas)
    direction = prompt_direction(session, chosen.encoder, query, templates)
    hits = nearest_to_vector(session, chosen.run.id, direction, k)
    similarity = {component.id: value for component, value in hits}
    subjects = decoding_subjects(session, list(similarity))
    overlaps: dict[int, list[Overlap]] = defaultdict(list)
    for overlap in list_overlaps(session, list(similarity), subject=subject, atlas=atlas):
        overlaps[overlap.component].append(overlap)
    return SearchAnswer(
        query=query,
        encoder=chosen.encoder.name,
        run=chosen.run.id,
        dataset=chosen.dataset.slug,
        method=chosen.run.method,
        prompt=list(templates),
        q_family=f"{CONCEPT_FAMILY}; {REGION_FAMILY}",
        concepts=[
            FoundConcept(
                **hit_fields(component, value, subjects.get(component.id, [])),
                regions=[
                    region_answer(each, value * (2 * each.auc - 1))
                    for each in rank_overlaps(overlaps[component.id], REGIONS_PER_CONCEPT)
                ],
            )
            for component, value in hits
        ],
        regions=best_regions((each for rows in overlaps.values() for each in rows), similarity)[:k],
    )

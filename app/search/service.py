"""Search: a prompt's nearest concepts, and the regions that carry them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.concepts.repository import decoding_subjects, nearest_to_vector
from app.concepts.service import CONCEPT_FAMILY, check_k, hit_fields
from app.embedding.centring import centre
from app.embedding.prompts import AS_TYPED
from app.encoders.stored import load_stored_encoder
from app.errors import ConflictError
from app.observing.traces import traced
from app.pictures import read_picture
from app.places.peaks import peak_places
from app.regions.repository import Overlap, list_overlaps
from app.regions.schemas import PeakPlace, RegionAnswer
from app.regions.service import (
    REGION_FAMILY,
    apart_by_level,
    best_regions,
    level_of,
    rank_overlaps,
    region_answer,
    require_atlas,
)
from app.runs.service import ChosenRun, choose_run_for
from app.search.matching import OF_PICTURES, match_fields
from app.search.schemas import FoundConcept, SearchAnswer
from app.terms.prompts import check_templates, clean_text, sum_of_directions
from app.upload_memory import upload_work

REGIONS_PER_CONCEPT = 5


@traced
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
    plus: Sequence[str] = (),
    minus: Sequence[str] = (),
    negate: bool = False,
) -> SearchAnswer:
    """Ask a run in words.

    A prompt without a vector is embedded, see `app.terms.prompts.prompt_direction`; the caller
    commits.

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
        concepts told, and as many of those that do not.
    templates : sequence of str
        Ways to say the text, see `app.embedding.prompts`.
    plus, minus : sequence of str
        Further prompts, whose directions are added to the text's, or taken off it.
    negate : bool
        Ask for what is least like it.

    Returns
    -------
    SearchAnswer
        A concept's similarity is the cosine of its vector with the prompt's, the texts' mean
        taken off; its own regions are the five that carry it best, in every participant, and five
        that do not carry it beside them. `match` tells whether any concept is near at all.

    Raises
    ------
    InputError
        Text, k or a template cannot be used, the prompts cancel each other, or several datasets
        could answer.
    NotFoundError
        There is no such dataset, run, participant or atlas, or a table does not hold the text.
    ConflictError
        The encoder's weights are not those of the stored vectors.
    UnavailableError
        The encoder's weights cannot be had.
    """
    check_k(k)
    query, templates = clean_text(text), check_templates(templates)
    chosen = _choose(session, dataset, run, subject, atlas)
    added, taken = [clean_text(each) for each in plus], [clean_text(each) for each in minus]
    asked = sum_of_directions(session, chosen.encoder, [query, *added], taken, templates)
    direction = -asked.vector if negate else asked.vector
    return _answer(
        session,
        chosen,
        direction,
        match_fields(session, [chosen], direction, [query, *added, *taken]),
        subject=subject,
        atlas=atlas,
        k=k,
        query=query,
        plus=added,
        minus=taken,
        negated=negate,
        prompt=list(templates),
        warnings=asked.warnings,
    )


@traced
def search_picture(
    session: Session,
    file: BinaryIO,
    name: str,
    *,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    atlas: str | None = None,
    k: int = 10,
) -> SearchAnswer:
    """Ask a run by a picture; parameters and answer are those of `search`.

    Parameters
    ----------
    file : file
        See `app.pictures.read_picture`; not opened before it is known that the encoder reads
        pictures.
    name : str
        What the answer calls it.

    Returns
    -------
    SearchAnswer
        Similarities are cosines with the picture's vector, the stimuli's mean taken off. Whether
        any concept is near is not told: what it is measured against are words.

    Raises
    ------
    ConflictError
        The run's encoder reads text alone, or its weights are not those of the stored vectors.
    InputError, NotFoundError, UnavailableError
        As `search`; or it is no picture.
    TooLargeError, BusyError
        There is no memory for it, see `app.upload_memory`.
    """
    check_k(k)
    chosen = _choose(session, dataset, run, subject, atlas)
    encoder = chosen.encoder
    if not encoder.sees_images or encoder.stimulus_mean is None:
        raise ConflictError(
            f"the encoder {encoder.name} reads no pictures", hint="ask in words instead"
        )
    loaded = load_stored_encoder(encoder)
    with upload_work() as work:
        picture = read_picture(file, name, work=work)
        vector = loaded.encode_images([picture.pixels])
    direction = centre(vector, np.asarray(encoder.stimulus_mean))[0]
    match = {"match": None, "match_reason": OF_PICTURES}
    warnings = [f"{name} has transparent parts, which are read as mid grey"]
    return _answer(
        session,
        chosen,
        direction,
        match,
        subject=subject,
        atlas=atlas,
        k=k,
        query=name,
        warnings=warnings if picture.transparent else [],
    )


def _choose(
    session: Session, dataset: str | None, run: int | None, subject: str | None, atlas: str | None
) -> ChosenRun:
    chosen = choose_run_for(session, dataset, run, subject)
    if atlas is not None:
        require_atlas(session, chosen.dataset, atlas)
    return chosen


def _answer(
    session: Session,
    chosen: ChosenRun,
    direction: NDArray[np.float32],
    match: dict[str, Any],
    *,
    subject: str | None,
    atlas: str | None,
    k: int,
    **asked: Any,
) -> SearchAnswer:
    hits = nearest_to_vector(session, chosen.run.id, direction, k)
    similarity = {component.id: value for component, value in hits}
    subjects = decoding_subjects(session, list(similarity))
    overlaps: dict[int, list[Overlap]] = defaultdict(list)
    for overlap in list_overlaps(session, list(similarity), subject=subject, atlas=atlas):
        overlaps[overlap.component].append(overlap)
    level = level_of(chosen.run)
    apart = {
        component: apart_by_level(rank_overlaps(overlaps[component]), level, REGIONS_PER_CONCEPT)
        for component in similarity
    }
    unplaced = [component for component, (carrying, _) in apart.items() if not carrying]
    places = peak_places(session, unplaced, subject)
    concepts = [
        FoundConcept(
            **hit_fields(component, value, subjects.get(component.id, [])),
            regions=_scored(apart[component.id][0], value),
            weaker_regions=_scored(apart[component.id][1], value),
            place=places.get(component.id),
        )
        for component, value in hits
    ]
    return SearchAnswer(
        **asked,
        **chosen.names,
        q_family=f"{CONCEPT_FAMILY}; {REGION_FAMILY}",
        **match,
        concepts=concepts,
        **region_fields(
            [each for rows in overlaps.values() for each in rows],
            similarity,
            level,
            k,
            next((each.place for each in concepts if each.place is not None), None),
        ),
    )


def region_fields(
    overlaps: Sequence[Overlap],
    similarity: Mapping[int, float],
    level: float,
    k: int,
    place: PeakPlace | None,
) -> dict[str, Any]:
    """The fields `regions`, `weaker_regions` and `place` of an answer.

    Parameters
    ----------
    overlaps : sequence of Overlap
    similarity : mapping of int to float
        Of each component with what was asked.
    level : float
        The q up to which a region carries a concept.
    k : int
        How many regions at most, of those that carry one and of the others.
    place : PeakPlace or None
        Told where none carries one.
    """
    carrying, weaker = apart_by_level(overlaps, level)
    regions = best_regions(carrying, similarity)
    named = {(each.subject, each.atlas, each.region) for each in regions}
    # A region that carries one concept is not told of another that it does not carry.
    others = [
        each
        for each in best_regions(weaker, similarity)
        if (each.subject, each.atlas, each.region) not in named
    ]
    return {
        "regions": regions[:k],
        "weaker_regions": others[:k],
        "place": None if regions else place,
    }


def _scored(overlaps: Sequence[Overlap], similarity: float) -> list[RegionAnswer]:
    return [region_answer(each, similarity * (2 * each.auc - 1)) for each in overlaps]

"""One concept, and what lies near to it."""

from typing import Any, Unpack

import numpy as np
from sqlalchemy.orm import Session

from app.concepts import repository
from app.concepts.claims import claims_of
from app.concepts.filters import ClaimFilter
from app.concepts.schemas import (
    ConceptAnswer,
    ConceptSummary,
    ConceptTermsAnswer,
    Example,
    FarStimulus,
    NearTerm,
    Negation,
    SimilarAnswer,
    SimilarConcept,
    Stability,
    StabilityChance,
    SubjectStatistics,
)
from app.database.models import Component, Run
from app.errors import ConflictError, InputError, NotFoundError
from app.masks.response import response_of
from app.observing.traces import traced
from app.paging import PAGE, Page, check_limit, page_of, read_cursor
from app.regions.repository import list_overlaps, peak_of
from app.regions.service import REGION_FAMILY, rank_overlaps, region_overlap
from app.runs.service import ChosenRun, choose_run, require_dataset, require_subject
from app.settings import get_settings
from app.terms.prompts import clean_text
from app.terms.repository import nearest_terms

CONCEPT_FAMILY = (
    "concept q: Benjamini-Hochberg over all components of the run; participant q: over all "
    "components x participants of the run"
)


# Of a row of ``component_subject``, as it is told.
_OF_SUBJECT = (
    *("decodes", "r_unmasked", "r_soft", "r_hard", "r_low", "r_high", "r_normalised"),
    *("p_unmasked", "p_soft", "p_value", "q_value", "specific_p"),
    *("replication_r", "replication_p", "penalty", "n_voxels", "n_needed", "reason"),
)


def check_k(k: int) -> None:
    """Refuse a number of answers that cannot be given.

    Raises
    ------
    InputError
        `k` is below 1 or above the setting ``k_limit``.
    """
    most = get_settings().k_limit
    if not 1 <= k <= most:
        raise InputError(
            f"k is {k}", hint=f"ask for 1 to {most:,} answers, the setting SDC_K_LIMIT"
        )


def require_component(session: Session, component_id: int) -> Component:
    """A component by its id, of a current or an older run.

    Raises
    ------
    NotFoundError
        There is none.
    """
    # PostgreSQL's integers end here, and no component can have an id beyond.
    inside = 0 < component_id < 2**31
    component = repository.find_component(session, component_id) if inside else None
    if component is None:
        raise NotFoundError(
            f"there is no component {component_id}", hint="`sdc search TEXT` tells their ids"
        )
    return component


@traced
def list_concepts(
    session: Session,
    *,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    text: str | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    **claims: Unpack[ClaimFilter],
) -> Page[ConceptSummary]:
    """The concepts of current runs, or of one run, by id.

    Parameters
    ----------
    session : Session
    dataset : str, optional
        Of this dataset alone.
    run : int, optional
        Of this run, current or not.
    subject : str, optional
        Decoded by the voxels that this participant's decoder needs.
    text : str, optional
        Part of the label or of the nearest terms, in any case.
    cursor : str, optional
        Where the page before ended.
    limit : int
        Concepts a page.
    shared, decodable, specific, agreeing, stable : bool, optional
        Of which this holds, or does not; where it was not measured it does neither.

    Raises
    ------
    NotFoundError
        There is no such dataset or run.
    InputError
        `limit`, cursor or text cannot be used, or the run is another dataset's.
    """
    check_limit(limit)
    after = read_cursor(cursor)
    wanted = None if text is None else clean_text(text, "the text")
    if run is not None:
        choose_run(session, dataset, run)
    elif dataset is not None:
        require_dataset(session, dataset)
    rows, total = repository.list_components(
        session,
        dataset=dataset,
        run=run,
        claims={name: value for name, value in claims.items() if isinstance(value, bool)},
        subject=subject,
        text=wanted,
        after=after,
        limit=limit + 1,
    )
    subjects = repository.decoding_subjects(session, [row.Component.id for row in rows])
    items = [
        ConceptSummary(
            id=row.Component.id,
            label=row.Component.label,
            terms=row.Component.terms,
            dataset=row.slug,
            run=row.Component.run_id,
            encoder=row.encoder,
            method=row.method,
            **claims_of(row.Component),
            subjects=subjects.get(row.Component.id, []),
            p_value=row.Component.p_value,
            q_value=row.Component.q_value,
            stability=_stability(row.Component),
        )
        for row in rows
    ]
    return page_of(items, [item.id for item in items], total, limit)


@traced
def show_concept(session: Session, component_id: int) -> ConceptAnswer:
    """Everything that is known of one concept.

    Raises
    ------
    NotFoundError
        There is no such component.
    """
    component = require_component(session, component_id)
    chosen = choose_run(session, run=component.run_id)
    statistics = [
        SubjectStatistics(
            subject=label,
            **{name: getattr(row, name) for name in _OF_SUBJECT},
            responds=response_of(row.response_sign),
            **dict(peak_of(voxel)),
        )
        for row, label, voxel in repository.subject_statistics(session, component.id)
    ]
    ranked = [
        (row.rank, Example(stimulus=stimulus.key, captions=stimulus.captions, score=row.score))
        for row, stimulus in repository.examples(session, component.id)
    ]
    return ConceptAnswer(
        id=component.id,
        label=component.label,
        terms=component.terms,
        **chosen.names,
        current=chosen.current,
        index=component.index,
        **claims_of(component),
        subjects=[each.subject for each in statistics if each.decodes],
        p_value=component.p_value,
        q_value=component.q_value,
        specific_p=component.specific_p,
        specific_q=component.specific_q,
        agreement=component.agreement,
        agreement_p=component.agreement_p,
        agreement_q=component.agreement_q,
        replicated=component.replicated,
        start_cosine=component.start_cosine,
        stability=_stability(component),
        stability_chance=_stability_chance(chosen.run),
        q_family=f"{CONCEPT_FAMILY}; {REGION_FAMILY}",
        statistics=statistics,
        regions=[
            region_overlap(overlap)
            for overlap in rank_overlaps(list_overlaps(session, [component.id]))
        ],
        best=[example for rank, example in ranked if rank > 0],
        worst=[example for rank, example in reversed(ranked) if rank < 0],
        negation=Negation(
            terms=component.negations,
            stimuli=[
                FarStimulus(
                    stimulus=stimulus.key, captions=stimulus.captions, similarity=row.similarity
                )
                for row, stimulus in repository.negations(session, component.id)
            ],
        ),
    )


def concept_terms(session: Session, component_id: int, *, k: int = 10) -> ConceptTermsAnswer:
    """The words of its encoder's vocabulary that lie nearest to a concept.

    ``catalog.nearest_terms`` tells the same of a current run's.

    Parameters
    ----------
    session : Session
    component_id : int
    k : int
        How many.

    Raises
    ------
    NotFoundError
        There is no such component.
    InputError
        `k` is out of range.
    """
    check_k(k)
    component = require_component(session, component_id)
    chosen = choose_run(session, run=component.run_id)
    vector = np.asarray(component.vector, np.float32)
    rows = nearest_terms(session, component.encoder_id, vector, k)
    return ConceptTermsAnswer(
        id=component.id,
        label=component.label,
        **chosen.names,
        terms=[NearTerm(term=row.text, similarity=row.similarity) for row in rows],
    )


@traced
def similar_concepts(
    session: Session,
    component_id: int,
    *,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    k: int = 10,
) -> SimilarAnswer:
    """The concepts nearest to one, among its own run's and current runs' of the same encoder.

    Parameters
    ----------
    session : Session
    component_id : int
    dataset : str, optional
        Look in this dataset alone.
    run : int, optional
        Look in this run alone, current or not.
    subject : str, optional
        Look among those that this participant's brain decodes.
    k : int
        How many.

    Raises
    ------
    NotFoundError
        There is no such component, dataset or run, or the one that is named has no such
        participant.
    InputError
        `k` is out of range, or the run is another dataset's.
    ConflictError
        The dataset or the run that is named is of another encoder.
    """
    check_k(k)
    component = require_component(session, component_id)
    own = choose_run(session, run=component.run_id)
    where = None if dataset is None else require_dataset(session, dataset)
    if run is not None:
        other = choose_run(session, dataset, run)
        _require_comparable(own, other)
        where = other.dataset
    elif where is not None and where.id != own.dataset.id and where.current_run_id is not None:
        _require_comparable(own, choose_run(session, dataset))
    if subject is not None and where is not None:
        require_subject(session, where, subject)
    rows = repository.nearest_to_component(
        session, component, dataset=dataset, run=run, subject=subject, k=k
    )
    subjects = repository.decoding_subjects(session, [row.Component.id for row in rows])
    return SimilarAnswer(
        id=component.id,
        label=component.label,
        **own.names,
        concepts=[
            SimilarConcept(
                dataset=row.slug,
                run=row.Component.run_id,
                method=row.method,
                **hit_fields(row.Component, row.similarity, subjects.get(row.Component.id, [])),
            )
            for row in rows
        ],
    )


def hit_fields(component: Component, similarity: float, subjects: list[str]) -> dict[str, Any]:
    """The fields of a `ConceptHit`."""
    return {
        "id": component.id,
        "label": component.label,
        "similarity": similarity,
        "direction": "positive" if similarity >= 0 else "negative",
        **claims_of(component),
        "subjects": subjects,
        "p_value": component.p_value,
        "q_value": component.q_value,
        "stability": _stability(component),
    }


def _require_comparable(own: ChosenRun, other: ChosenRun) -> None:
    """Refuse a run whose concepts lie in another space than those of a concept's own run."""
    if other.encoder.id != own.encoder.id:
        raise ConflictError(
            f"the concepts of run {other.run.id} ({other.dataset.slug}) lie in the space of "
            f"{other.encoder.name}, and those of run {own.run.id} ({own.dataset.slug}) in that of "
            f"{own.encoder.name}",
            hint="spaces of two encoders cannot be compared; ask both in the same words",
        )


def _stability(component: Component) -> Stability | None:
    if component.stability_seeds is None:
        return None
    return Stability(
        cosine=component.stability_cosine,
        dice=component.stability_dice,
        seeds=component.stability_seeds,
        chance=component.stability_chance,
    )


def _stability_chance(run: Run) -> StabilityChance | None:
    measured = run.metrics.get("stability")
    if measured is None:
        return None
    return StabilityChance(cosine=measured["cosine"]["runner_up"], dice=measured["dice"]["others"])

"""Queries on components."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.orm import Session

from app.database.models import (
    Component,
    ComponentNegation,
    ComponentStimulus,
    ComponentSubject,
    Dataset,
    Encoder,
    Run,
    Stimulus,
    Subject,
    Voxel,
)
from app.search.similarity import cosine_similarity


def find_component(session: Session, component_id: int) -> Component | None:
    """A component by its id."""
    # By way of its dataset, which may be hidden from this session.
    return session.scalar(
        select(Component)
        .join(Run, Run.id == Component.run_id)
        .join(Dataset, Dataset.id == Run.dataset_id)
        .where(Component.id == component_id)
    )


def list_components(
    session: Session,
    *,
    dataset: str | None,
    run: int | None,
    claims: Mapping[str, bool],
    subject: str | None,
    text: str | None,
    after: int,
    limit: int,
) -> tuple[Sequence[Row[Component, str, str, str]], int]:
    """Components by id behind one, with dataset and encoder, and how many there are in all.

    Those of current runs, or of one run; `claims` hold or do not, by the columns' names; `subject`
    decodes them, label or terms contain `text`.
    """
    query = (
        select(Component, Dataset.slug, Encoder.name.label("encoder"), Run.method)
        .join(Run, Run.id == Component.run_id)
        .join(Dataset, Dataset.id == Run.dataset_id)
        .join(Encoder, Encoder.id == Run.encoder_id)
        .where(Dataset.current_run_id == Run.id if run is None else Run.id == run)
    )
    if dataset is not None:
        query = query.where(Dataset.slug == dataset)
    for name, value in claims.items():
        query = query.where(getattr(Component, name) == value)
    if subject is not None:
        query = query.where(Component.id.in_(_decoded_by(subject)))
    if text is not None:
        said = func.array_to_string(Component.terms, ", ")
        query = query.where(
            or_(
                Component.label.icontains(text, autoescape=True),
                said.icontains(text, autoescape=True),
            )
        )
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.where(Component.id > after).order_by(Component.id).limit(limit)
    return session.execute(page).all(), total


def nearest_to_vector(
    session: Session, run_id: int, vector: NDArray[np.float32], k: int
) -> Sequence[Row[Component, float]]:
    """The k components of a run nearest to a vector, with their similarity, best first."""
    similarity = cosine_similarity(Component.vector, vector)
    return session.execute(
        select(Component, similarity.label("similarity"))
        .where(Component.run_id == run_id)
        .order_by(similarity.desc(), Component.id)
        .limit(k)
    ).all()


def run_vectors(session: Session, run_id: int) -> NDArray[np.float32]:
    """Vectors (K, D) of a run's components, by id; empty where it has none."""
    rows = session.scalars(
        select(Component.vector).where(Component.run_id == run_id).order_by(Component.id)
    ).all()
    return np.array(rows, dtype=np.float32)


def nearest_to_component(
    session: Session,
    component: Component,
    *,
    dataset: str | None,
    run: int | None,
    subject: str | None,
    k: int,
) -> Sequence[Row[Component, float, str, str]]:
    """The k components nearest to one, of its own run and of current runs of its encoder.

    Or of one run, current or not; of one dataset alone; `subject` decodes them.
    """
    similarity = cosine_similarity(Component.vector, component.vector)
    told = or_(Component.run_id == component.run_id, Dataset.current_run_id == Run.id)
    query = (
        select(Component, similarity.label("similarity"), Dataset.slug, Run.method)
        .join(Run, Run.id == Component.run_id)
        .join(Dataset, Dataset.id == Run.dataset_id)
        .where(
            Component.encoder_id == component.encoder_id,
            Component.id != component.id,
            told if run is None else Run.id == run,
        )
        .order_by(similarity.desc(), Component.id)
        .limit(k)
    )
    if dataset is not None:
        query = query.where(Dataset.slug == dataset)
    if subject is not None:
        query = query.where(Component.id.in_(_decoded_by(subject)))
    return session.execute(query).all()


def decoding_subjects(session: Session, components: Sequence[int]) -> dict[int, list[str]]:
    """Labels of the participants that decode each component, by the component's id."""
    found: dict[int, list[str]] = defaultdict(list)
    for component, label in session.execute(
        select(ComponentSubject.component_id, Subject.label)
        .join(Subject, Subject.id == ComponentSubject.subject_id)
        .where(ComponentSubject.component_id.in_(components), ComponentSubject.decodes.is_(True))
        .order_by(Subject.label)
    ):
        found[component].append(label)
    return found


def masks_by_subject(
    session: Session, components: Sequence[int]
) -> dict[int, dict[str, ComponentSubject]]:
    """How participants carry each component, by its id and by their labels."""
    found: dict[int, dict[str, ComponentSubject]] = defaultdict(dict)
    for mask, label in session.execute(
        select(ComponentSubject, Subject.label)
        .join(Subject, Subject.id == ComponentSubject.subject_id)
        .where(ComponentSubject.component_id.in_(components))
        .order_by(Subject.label)
    ):
        found[mask.component_id][label] = mask
    return found


def subject_statistics(
    session: Session, component_id: int
) -> Sequence[Row[ComponentSubject, str, Voxel]]:
    """Every participant's statistics of a component, with label and peak voxel (or None)."""
    return session.execute(
        select(ComponentSubject, Subject.label, Voxel)
        .join(Subject, Subject.id == ComponentSubject.subject_id)
        .outerjoin(Voxel, Voxel.id == ComponentSubject.peak_voxel_id)
        .where(ComponentSubject.component_id == component_id)
        .order_by(Subject.label)
    ).all()


def examples(session: Session, component_id: int) -> Sequence[Row[ComponentStimulus, Stimulus]]:
    """A component's best and worst stimuli, by their rank's distance from none."""
    return session.execute(
        select(ComponentStimulus, Stimulus)
        .join(Stimulus, Stimulus.id == ComponentStimulus.stimulus_id)
        .where(ComponentStimulus.component_id == component_id)
        .order_by(ComponentStimulus.rank)
    ).all()


def negations(session: Session, component_id: int) -> Sequence[Row[ComponentNegation, Stimulus]]:
    """The stimuli farthest from a component, the farthest first."""
    return session.execute(
        select(ComponentNegation, Stimulus)
        .join(Stimulus, Stimulus.id == ComponentNegation.stimulus_id)
        .where(ComponentNegation.component_id == component_id)
        .order_by(ComponentNegation.rank)
    ).all()


def _decoded_by(subject: str) -> Select[int]:
    """Ids of the components that participants of this label decode."""
    return (
        select(ComponentSubject.component_id)
        .join(Subject, Subject.id == ComponentSubject.subject_id)
        .where(Subject.label == subject, ComponentSubject.decodes.is_(True))
    )

"""Queries on datasets' runs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from app.database.models import (
    Component,
    ComponentSubject,
    Dataset,
    Decoder,
    Encoder,
    Run,
    Subject,
)


def find_dataset(session: Session, slug: str) -> Dataset | None:
    """The dataset of this name."""
    return session.scalar(select(Dataset).where(Dataset.slug == slug))


def datasets_with_runs(session: Session) -> list[str]:
    """Names of the datasets that have a run, current or not."""
    return list(
        session.scalars(
            select(Dataset.slug)
            .where(Dataset.id.in_(select(Run.dataset_id)))
            .order_by(Dataset.slug)
        )
    )


def dataset_slugs(session: Session, *, published: bool = False) -> list[str]:
    """Names of all datasets, or of those that have a current run."""
    query = select(Dataset.slug).order_by(Dataset.slug)
    if published:
        query = query.where(Dataset.current_run_id.is_not(None))
    return list(session.scalars(query))


def find_run(session: Session, run_id: int) -> tuple[Run, Dataset, Encoder] | None:
    """A run by its id, with its dataset and its encoder."""
    row = session.execute(
        select(Run, Dataset, Encoder)
        .join(Dataset, Dataset.id == Run.dataset_id)
        .join(Encoder, Encoder.id == Run.encoder_id)
        .where(Run.id == run_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def list_runs(session: Session, slug: str | None) -> Sequence[Row[Any]]:
    """Runs with dataset, encoder and components counted, all, shared and unknown; newest first."""
    counted = (
        select(
            Component.run_id,
            func.count().label("components"),
            func.count().filter(Component.shared.is_(True)).label("shared"),
            func.count().filter(Component.shared.is_(None)).label("not_measured"),
        )
        .group_by(Component.run_id)
        .subquery()
    )
    query = (
        select(
            Run,
            Dataset.slug,
            (Dataset.current_run_id == Run.id).label("current"),
            Encoder.name.label("encoder"),
            func.coalesce(counted.c.components, 0).label("components"),
            func.coalesce(counted.c.shared, 0).label("shared"),
            func.coalesce(counted.c.not_measured, 0).label("not_measured"),
        )
        .join(Dataset, Dataset.id == Run.dataset_id)
        .join(Encoder, Encoder.id == Run.encoder_id)
        .outerjoin(counted, counted.c.run_id == Run.id)
        .order_by(Dataset.slug, Run.id.desc())
    )
    if slug is not None:
        query = query.where(Dataset.slug == slug)
    return session.execute(query).all()


def subject_labels(session: Session, dataset_id: int) -> list[str]:
    """Labels of a dataset's participants."""
    return list(
        session.scalars(
            select(Subject.label).where(Subject.dataset_id == dataset_id).order_by(Subject.label)
        )
    )


def newest_run(session: Session, dataset_id: int) -> Run | None:
    """The run of a dataset that was published last."""
    return session.scalar(
        select(Run).where(Run.dataset_id == dataset_id).order_by(Run.id.desc()).limit(1)
    )


def components_of(session: Session, run_id: int) -> Sequence[Component]:
    """A run's components, by their index."""
    return session.scalars(
        select(Component).where(Component.run_id == run_id).order_by(Component.index)
    ).all()


def masks_of(session: Session, run_id: int) -> Sequence[ComponentSubject]:
    """What is known of a run's components in each participant."""
    return session.scalars(
        select(ComponentSubject)
        .join(Component, Component.id == ComponentSubject.component_id)
        .where(Component.run_id == run_id)
        .order_by(ComponentSubject.subject_id, Component.index)
    ).all()


def decoders_of(session: Session, run_id: int) -> list[tuple[str, Decoder]]:
    """A run's decoders, by their participants' labels."""
    rows = session.execute(
        select(Subject.label, Decoder)
        .join(Subject, Subject.id == Decoder.subject_id)
        .where(Decoder.run_id == run_id)
        .order_by(Subject.label)
    )
    return [(label, decoder) for label, decoder in rows]

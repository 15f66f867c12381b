"""Queries on datasets."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from app.database.models import Dataset, Encoder, Region, Run, Stimulus, Subject


def list_datasets(session: Session) -> Sequence[Row[Any]]:
    """Datasets with participants, stimuli, atlases, and encoder and method of their current run."""
    subjects = (
        select(func.array_agg(aggregate_order_by(Subject.label, Subject.label)))
        .where(Subject.dataset_id == Dataset.id)
        .scalar_subquery()
    )
    atlases = (
        select(func.array_agg(aggregate_order_by(Region.atlas.distinct(), Region.atlas)))
        .where(Region.dataset_id == Dataset.id)
        .scalar_subquery()
    )
    stimuli = select(func.count()).where(Stimulus.dataset_id == Dataset.id).scalar_subquery()
    return session.execute(
        select(
            Dataset,
            subjects.label("subjects"),
            atlases.label("atlases"),
            stimuli.label("stimuli"),
            Encoder.name.label("encoder"),
            Run.method,
        )
        .outerjoin(Run, Run.id == Dataset.current_run_id)
        .outerjoin(Encoder, Encoder.id == Run.encoder_id)
        .order_by(Dataset.slug)
    ).all()

"""Queries on places."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session

from app.database.models import (
    Component,
    ComponentSubject,
    ComponentVoxel,
    Decoder,
    Subject,
    Voxel,
)
from app.regions.schemas import Space

Point = tuple[float, float, float]


def voxels_in_ball(
    session: Session, run_id: int, centre: Point, radius: float, space: Space, subject: str | None
) -> dict[str, int]:
    """How many voxels of each participant of a run lie in a ball; those who have some."""
    rows = session.execute(
        _of_run(select(Subject.label, func.count().label("voxels")), run_id, subject)
        .where(_distance(centre, space) <= radius)
        .group_by(Subject.label)
        .order_by(Subject.label)
    )
    return {row.label: row.voxels for row in rows}


def masks_in_ball(
    session: Session, run_id: int, centre: Point, radius: float, space: Space, subject: str | None
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Component, participant, sign, members inside, their weights' sum, nearest one's mm."""
    distance = _distance(centre, space)
    query = (
        select(
            Component,
            Subject.label,
            ComponentSubject.response_sign,
            func.count().label("n_voxels"),
            func.sum(ComponentVoxel.weight).label("weight"),
            func.min(distance).label("nearest"),
        )
        .select_from(ComponentVoxel)
        .join(Component, Component.id == ComponentVoxel.component_id)
        .join(Voxel, Voxel.id == ComponentVoxel.voxel_id)
        .join(Subject, Subject.id == Voxel.subject_id)
        .outerjoin(
            ComponentSubject,
            (ComponentSubject.component_id == Component.id)
            & (ComponentSubject.subject_id == Subject.id),
        )
        .where(Component.run_id == run_id, distance <= radius)
        .group_by(Component.id, Subject.label, ComponentSubject.response_sign)
        .order_by(Component.id, Subject.label)
    )
    if subject is not None:
        query = query.where(Subject.label == subject)
    return session.execute(query).all()


def mask_peaks(
    session: Session, components: Sequence[int], subject: str | None
) -> Sequence[Row[ComponentSubject, str, Voxel]]:
    """Components' statistics in each participant, or in one, whose mask has a peak, with label."""
    query = (
        select(ComponentSubject, Subject.label, Voxel)
        .join(Subject, Subject.id == ComponentSubject.subject_id)
        .join(Voxel, Voxel.id == ComponentSubject.peak_voxel_id)
        .where(ComponentSubject.component_id.in_(components))
    )
    if subject is not None:
        query = query.where(Subject.label == subject)
    return session.execute(query).all()


def run_components(session: Session, run_id: int) -> dict[int, Component]:
    """A run's components, by id."""
    rows = session.scalars(select(Component).where(Component.run_id == run_id))
    return {row.id: row for row in rows}


def _of_run(query: Any, run_id: int, subject: str | None) -> Any:
    query = (
        query.select_from(Voxel)
        .join(Subject, Subject.id == Voxel.subject_id)
        .join(Decoder, Decoder.subject_id == Subject.id)
        .where(Decoder.run_id == run_id)
    )
    return query if subject is None else query.where(Subject.label == subject)


def _distance(centre: Point, space: Space) -> ColumnElement[float]:
    # A voxel without MNI coordinates is at no distance, and in no ball.
    places = (
        (Voxel.mni_x, Voxel.mni_y, Voxel.mni_z) if space == "MNI" else (Voxel.x, Voxel.y, Voxel.z)
    )
    return func.sqrt(
        sum(func.power(place - value, 2) for place, value in zip(places, centre, strict=True))
    )

"""Queries on everything that a run has."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from app.database.models import (
    Component,
    ComponentRegion,
    ComponentSubject,
    Region,
    Subject,
    Voxel,
)

VIEWS = (
    *("concepts", "concept_subjects", "concept_regions", "concept_voxels"),
    *("voxels", "subjects", "runs", "concept_maps"),
)


def list_components(session: Session, run_id: int) -> Sequence[Component]:
    """A run's components, in their order."""
    return session.scalars(
        select(Component).where(Component.run_id == run_id).order_by(Component.index)
    ).all()


def list_subjects(session: Session, dataset_id: int) -> Sequence[Row[Subject, bool]]:
    """Participants, and whether it is known where their voxels lie in MNI space."""
    known = (
        select(func.count(Voxel.mni_x) > 0).where(Voxel.subject_id == Subject.id).scalar_subquery()
    )
    return session.execute(
        select(Subject, known.label("mni"))
        .where(Subject.dataset_id == dataset_id)
        .order_by(Subject.label)
    ).all()


def list_masks(session: Session, run_id: int) -> Sequence[Row[ComponentSubject, Component, str]]:
    """Statistics of every mask that has a voxel, with component and participant's label."""
    return session.execute(
        select(ComponentSubject, Component, Subject.label)
        .join(Component, Component.id == ComponentSubject.component_id)
        .join(Subject, Subject.id == ComponentSubject.subject_id)
        .where(Component.run_id == run_id, ComponentSubject.n_voxels > 0)
        .order_by(Subject.label, Component.index)
    ).all()


def view_columns(session: Session, view: str) -> dict[str, str]:
    """A view's columns and PostgreSQL's names of their types, in order."""
    rows = session.execute(
        text(
            "SELECT column_name, udt_name FROM information_schema.columns"
            " WHERE table_schema = 'catalog' AND table_name = :view ORDER BY ordinal_position"
        ),
        {"view": view},
    )
    return {row.column_name: row.udt_name for row in rows}


def view_rows(session: Session, view: str, dataset: str, size: int) -> Iterator[Sequence[Row[Any]]]:
    """A dataset's rows of a view, one of `VIEWS`, ordered by their first columns.

    Parameters
    ----------
    session : Session
    view, dataset : str
    size : int
        Rows that are in memory at once.

    Yields
    ------
    sequence of Row
        Once at least, and then none where there are none.
    """
    if view not in VIEWS:
        raise ValueError(f"{view} is no view to export")
    rows = session.execute(
        text(f"SELECT * FROM catalog.{view} WHERE dataset = :dataset ORDER BY 1, 2, 3, 4, 5, 6"),  # noqa: S608
        {"dataset": dataset},
        execution_options={"yield_per": size},
    )
    yield rows.fetchmany(size)
    while part := rows.fetchmany(size):
        yield part


def list_overlaps(session: Session, component_id: int, label: str) -> list[dict[str, Any]]:
    """A participant's regions, and how a component's mask lies in each, by atlas and name."""
    rows = session.execute(
        select(ComponentRegion, Region.atlas, Region.name)
        .join(Region, Region.id == ComponentRegion.region_id)
        .join(Subject, Subject.id == ComponentRegion.subject_id)
        .where(ComponentRegion.component_id == component_id, Subject.label == label)
    ).all()
    told = [
        {
            "Atlas": row.atlas,
            "Region": row.name,
            "AUC": row.ComponentRegion.auc,
            "AUCInterval95": [row.ComponentRegion.auc_low, row.ComponentRegion.auc_high],
            "Dice": row.ComponentRegion.dice,
            "PValue": row.ComponentRegion.p_value,
            "QValue": row.ComponentRegion.q_value,
        }
        for row in rows
    ]
    return sorted(told, key=lambda each: (each["Atlas"], each["Region"]))

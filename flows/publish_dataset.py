"""Publication of an ingested dataset: tables and voxels, in one transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, REAL, BigInteger, cast, delete, func, select, true, tuple_, update
from sqlalchemy.orm import Session

from app.database.copying import copy_rows
from app.database.engine import open_session
from app.database.models import Dataset, Ingestion, Region, Run, Stimulus, Subject, Voxel
from app.database.models import VoxelRegion as VoxelRegionRow
from app.errors import ConflictError
from flows.dataset_growth import grid_columns, what_differs
from flows.ingested import IngestedSubject, Json
from flows.sources.base import Description, Source
from flows.stored_voxels import (
    StoredVoxels,
    stored_members,
    stored_voxels,
    voxels_of_dataset,
)


def publish_dataset(
    source: Source,
    subjects: list[IngestedSubject],
    folds: Mapping[str, str],
    *,
    fingerprint: str,
    configuration: Json,
    started: datetime,
    replace: bool,
    rotation: Mapping[str, int] | None = None,
) -> None:
    """Write an ingested dataset, all of it or nothing; one that is there already stays as it is.

    One that only grew (`flows.dataset_growth.what_differs`) keeps its rows and its runs, and voxels
    that these were computed on stay where new data do not keep them. `rotation` has the group of
    every stimulus where folds rotate.

    Raises
    ------
    ConflictError
        A dataset of that name has other content and published runs, and `replace` is false.
    """
    described = source.description
    with open_session() as session, session.begin():
        dataset = session.scalar(
            select(Dataset).where(Dataset.slug == described.slug).with_for_update()
        )
        if dataset is not None and dataset.fingerprint == fingerprint:
            return
        embargoed = dataset is not None and dataset.embargoed
        voxels: dict[int, StoredVoxels] = {}
        if dataset is not None:
            voxels = voxels_of_dataset(session, dataset.id)
            difference = what_differs(
                session, dataset, source, subjects, folds, voxels, rotation=rotation
            )
            if not _may_grow(session, dataset, difference, replace):
                session.execute(delete(Dataset).where(Dataset.id == dataset.id))
                session.expire_all()
                dataset, voxels = None, {}
        if dataset is None:
            # The successor of an embargoed dataset is embargoed too.
            dataset = Dataset(slug=described.slug, embargoed=embargoed)
            session.add(dataset)
        _describe(dataset, described)
        dataset.fingerprint = fingerprint
        dataset.configuration = configuration
        dataset.ingested_at = func.now()
        session.flush()
        _write_stimuli(session, dataset.id, source, folds, rotation or {})
        for subject in subjects:
            _write_subject(session, dataset.id, source, subject, voxels)
        if not _count_runs(session, dataset.id):
            subjects_of = select(Subject.id).where(Subject.dataset_id == dataset.id)
            session.execute(delete(Voxel).where(~Voxel.kept, Voxel.subject_id.in_(subjects_of)))
        session.add(
            Ingestion(
                dataset_id=dataset.id,
                source_uri=described.uri,
                fingerprint=fingerprint,
                report={subject.label: subject.report for subject in subjects},
                started_at=started,
            )
        )


def describe_dataset(described: Description) -> None:
    """Let the catalog tell of a dataset what its source does now: place, title and licence."""
    with open_session() as session, session.begin():
        dataset = session.scalar(select(Dataset).where(Dataset.slug == described.slug))
        if dataset is not None:
            _describe(dataset, described)


def _describe(dataset: Dataset, described: Description) -> None:
    dataset.title = described.title
    dataset.layout = described.layout
    dataset.source_uri = described.uri
    dataset.licence = described.licence
    dataset.citation = described.citation


def _may_grow(session: Session, dataset: Dataset, difference: str | None, replace: bool) -> bool:
    """Whether rows can stay; where they cannot and there are runs, `replace` has to allow it."""
    if difference is None:
        return True
    runs = _count_runs(session, dataset.id)
    if runs and not replace:
        raise ConflictError(
            f"the catalog has another {dataset.slug}, with {runs} published run{'s' * (runs > 1)}: "
            f"{difference}",
            hint="give the new data a slug of its own, or pass --replace to delete old and runs",
        )
    return False


def _count_runs(session: Session, dataset_id: int) -> int:
    return session.scalar(select(func.count(Run.id)).where(Run.dataset_id == dataset_id)) or 0


def _write_stimuli(
    session: Session,
    dataset_id: int,
    source: Source,
    folds: Mapping[str, str],
    rotation: Mapping[str, int],
) -> None:
    stored = {
        row.key: row
        for row in session.scalars(select(Stimulus).where(Stimulus.dataset_id == dataset_id))
    }
    for stimulus in source.stimuli():
        if stimulus.key in stored:
            stored[stimulus.key].shared = stimulus.shared
            stored[stimulus.key].captions = list(stimulus.captions)
        else:
            session.add(
                Stimulus(
                    dataset_id=dataset_id,
                    key=stimulus.key,
                    shared=stimulus.shared,
                    fold=folds[stimulus.key],
                    rotation=rotation.get(stimulus.key),
                    captions=list(stimulus.captions),
                )
            )


def _write_subject(
    session: Session,
    dataset_id: int,
    source: Source,
    ingested: IngestedSubject,
    voxels: Mapping[int, StoredVoxels],
) -> None:
    trials = source.trials(ingested.label)
    subject = session.scalar(
        select(Subject).where(Subject.dataset_id == dataset_id, Subject.label == ingested.label)
    )
    if subject is None:
        subject = Subject(
            dataset_id=dataset_id,
            label=ingested.label,
            **grid_columns(source.grid(ingested.label)),
        )
        session.add(subject)
    subject.n_trials = len(trials.stimulus)
    subject.n_sessions = len(np.unique(trials.session))
    subject.report = ingested.report
    subject.artefacts = ingested.artefacts
    session.flush()
    stored = voxels.get(subject.id) or stored_voxels(session, subject.id)
    _write_voxels(session, subject, source, ingested, stored)
    _write_members(session, subject, source)


def _write_voxels(
    session: Session,
    subject: Subject,
    source: Source,
    ingested: IngestedSubject,
    stored: StoredVoxels,
) -> None:
    shape = tuple(subject.grid)
    before = np.ravel_multi_index(tuple(stored.coordinates.T), shape)
    now = np.ravel_multi_index(tuple(ingested.coordinates.T), shape)
    new = ~np.isin(now, before)
    i, j, k = ingested.coordinates.T
    native = source.grid(subject.label).places(ingested.coordinates)
    warp = source.mni(subject.label)
    mni = np.full((len(now), 3), np.nan, np.float32) if warp is None else warp[i, j, k]
    if len(before):
        _, old, again = np.intersect1d(before, now, assume_unique=True, return_indices=True)
        _set_aside(session, subject.id, np.delete(stored.ids, old))
        _update_voxels(
            session,
            stored.ids[old],
            {"noise_ceiling": ingested.noise_ceiling[again]}
            | {f"mni_{axis}": mni[again, n] for n, axis in enumerate("xyz")},
        )
    if not new.any():
        return
    # An index is a voxel's for good: vectors of runs are found by it.
    first = session.scalar(
        select(func.coalesce(func.max(Voxel.index) + 1, 0)).where(Voxel.subject_id == subject.id)
    )
    assert first is not None  # noqa: S101 - coalesce
    columns: Json = {axis: native[new, n] for n, axis in enumerate("xyz")}
    columns |= {f"mni_{axis}": nullable(mni[new, n]) for n, axis in enumerate("xyz")}
    copy_rows(
        session,
        Voxel,
        {
            "subject_id": subject.id,
            "index": first + np.arange(new.sum()),
            **{axis: ingested.coordinates[new, n] for n, axis in enumerate("ijk")},
        }
        | columns
        | {"noise_ceiling": nullable(ingested.noise_ceiling[new])},
    )


def _update_voxels(
    session: Session, ids: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
) -> None:
    """Set columns of voxels that newest data keep; what is as it was is not written again."""
    known = [cast(nullable(values), ARRAY(REAL)) for values in columns.values()]
    new = (
        func.unnest(cast(ids.tolist(), ARRAY(BigInteger)), *known)
        .table_valued("id", *columns)
        .render_derived("new")
    )
    before = tuple_(*(getattr(Voxel, name) for name in columns), Voxel.kept)
    after = tuple_(*(new.c[name] for name in columns), true())
    session.execute(
        update(Voxel)
        .where(Voxel.id == new.c.id, before.is_distinct_from(after))
        .values(kept=True, **{name: new.c[name] for name in columns}),
        execution_options={"synchronize_session": False},
    )


def _set_aside(session: Session, subject_id: int, ids: NDArray[np.int64]) -> None:
    """Mark voxels that newest data do not keep, and runs may have been computed on."""
    session.execute(
        update(Voxel)
        .where(
            Voxel.subject_id == subject_id,
            Voxel.id == func.any(cast(ids.tolist(), ARRAY(BigInteger))),
        )
        .values(kept=False),
        execution_options={"synchronize_session": False},
    )


def _write_members(session: Session, subject: Subject, source: Source) -> None:
    """Write which voxels lie in each region, where that is not written yet."""
    masks = source.regions(subject.label)
    if not masks:
        return
    voxels = stored_voxels(session, subject.id)
    i, j, k = voxels.coordinates.T
    stored = stored_members(session, subject.id)
    for mask in masks:
        inside = np.sort(voxels.ids[mask.members[i, j, k]])
        new = np.setdiff1d(inside, stored.get((mask.atlas, mask.name), []), assume_unique=True)
        region = _region_id(session, subject.dataset_id, mask.atlas, mask.name)
        if len(new):
            copy_rows(session, VoxelRegionRow, {"voxel_id": new, "region_id": region})


def _region_id(session: Session, dataset_id: int, atlas: str, name: str) -> int:
    region = session.scalar(
        select(Region).where(
            Region.dataset_id == dataset_id, Region.atlas == atlas, Region.name == name
        )
    )
    if region is None:
        region = Region(dataset_id=dataset_id, atlas=atlas, name=name)
        session.add(region)
        session.flush()
    return region.id


def nullable(values: NDArray[Any]) -> list[float | None]:
    """Values as the database knows them: what is not finite is not known."""
    return [float(value) if np.isfinite(value) else None for value in values]

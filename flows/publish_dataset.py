"""Publication of an ingested dataset: tables and voxels, in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.database.copying import copy_rows
from app.database.engine import open_session
from app.database.models import Dataset, Ingestion, Region, Run, Stimulus, Subject, Voxel
from app.database.models import VoxelRegion as VoxelRegionRow
from app.errors import ConflictError
from flows.sources.base import Source, Surface

Json = dict[str, Any]


@dataclass(frozen=True)
class IngestedSubject:
    """What ingestion found out about a participant.

    Attributes
    ----------
    label : str
    coordinates : ndarray
        (V, 3) voxel indices i, j, k of the voxels kept.
    noise_ceiling : ndarray
        (V,) percent, NaN where it could not be estimated.
    report : dict
        Counts of voxels read, dropped and kept.
    artefacts : dict
        References to the sessions' betas, to the voxels kept, and, where there are some, to the
        localiser maps at these voxels.
    """

    label: str
    coordinates: NDArray[np.int64]
    noise_ceiling: NDArray[np.float32]
    report: Json
    artefacts: Json


def publish_dataset(
    source: Source,
    subjects: list[IngestedSubject],
    folds: Mapping[str, str],
    *,
    fingerprint: str,
    configuration: Json,
    started: datetime,
    replace: bool,
) -> None:
    """Write an ingested dataset, all of it or nothing; one that is there already stays as it is.

    Raises
    ------
    ConflictError
        A dataset of that name has other content and published runs, and `replace` is false.
    """
    described = source.description
    with open_session() as session, session.begin():
        stored = session.scalar(
            select(Dataset).where(Dataset.slug == described.slug).with_for_update()
        )
        if stored is not None and stored.fingerprint == fingerprint:
            return
        # The successor of an embargoed dataset is embargoed too.
        embargoed = stored is not None and stored.embargoed
        if stored is not None:
            _make_room(session, stored, replace)
        dataset = Dataset(
            slug=described.slug,
            title=described.title,
            layout=described.layout,
            source_uri=described.uri,
            licence=described.licence,
            citation=described.citation,
            fingerprint=fingerprint,
            configuration=configuration,
            embargoed=embargoed,
        )
        session.add(dataset)
        session.flush()
        stimuli = source.stimuli()
        session.add_all(
            Stimulus(
                dataset_id=dataset.id,
                key=stimulus.key,
                shared=stimulus.shared,
                fold=folds[stimulus.key],
                captions=list(stimulus.captions),
            )
            for stimulus in stimuli
        )
        regions: dict[tuple[str, str], int] = {}
        for subject in subjects:
            _write_subject(session, dataset.id, source, subject, regions)
        session.add(
            Ingestion(
                dataset_id=dataset.id,
                source_uri=described.uri,
                fingerprint=fingerprint,
                report={subject.label: subject.report for subject in subjects},
                started_at=started,
            )
        )


def _make_room(session: Session, dataset: Dataset, replace: bool) -> None:
    """Remove a dataset and its runs, which `replace` has to allow where there are some."""
    runs = session.scalar(select(func.count(Run.id)).where(Run.dataset_id == dataset.id)) or 0
    if runs and not replace:
        raise ConflictError(
            f"the catalog has another {dataset.slug}, with {runs} published run{'s' * (runs > 1)}",
            hint="give the new data a slug of its own, or pass --replace to delete old and runs",
        )
    session.execute(delete(Dataset).where(Dataset.id == dataset.id))
    session.flush()


def _write_subject(
    session: Session,
    dataset_id: int,
    source: Source,
    ingested: IngestedSubject,
    regions: dict[tuple[str, str], int],
) -> None:
    grid = source.grid(ingested.label)
    trials = source.trials(ingested.label)
    subject = Subject(
        dataset_id=dataset_id,
        label=ingested.label,
        grid=list(grid.shape),
        affine=None if isinstance(grid, Surface) else grid.affine.astype(float).ravel().tolist(),
        surface=grid.name if isinstance(grid, Surface) else None,
        n_trials=len(trials.stimulus),
        n_sessions=len(np.unique(trials.session)),
        report=ingested.report,
        artefacts=ingested.artefacts,
    )
    session.add(subject)
    session.flush()
    i, j, k = ingested.coordinates.T
    native = grid.places(ingested.coordinates)
    warp = source.mni(ingested.label)
    mni = np.full((len(i), 3), np.nan) if warp is None else warp[i, j, k]
    columns: Json = {"x": native[:, 0], "y": native[:, 1], "z": native[:, 2]}
    columns |= {f"mni_{axis}": nullable(mni[:, n]) for n, axis in enumerate("xyz")}
    copy_rows(
        session,
        Voxel,
        {"subject_id": subject.id, "index": np.arange(len(i)), "i": i, "j": j, "k": k}
        | columns
        | {"noise_ceiling": nullable(ingested.noise_ceiling)},
    )
    ids = voxel_ids(session, subject.id)
    for mask in source.regions(ingested.label):
        inside = ids[mask.members[i, j, k]]
        name = (mask.atlas, mask.name)
        if name not in regions:
            region = Region(dataset_id=dataset_id, atlas=mask.atlas, name=mask.name)
            session.add(region)
            session.flush()
            regions[name] = region.id
        if len(inside):
            copy_rows(session, VoxelRegionRow, {"voxel_id": inside, "region_id": regions[name]})


def voxel_ids(session: Session, subject_id: int) -> NDArray[np.int64]:
    """(V,) row ids of a subject's voxels, in the order of its artefacts."""
    return np.array(
        session.scalars(
            select(Voxel.id).where(Voxel.subject_id == subject_id).order_by(Voxel.index)
        ).all(),
        dtype=np.int64,
    )


def nullable(values: NDArray[Any]) -> list[float | None]:
    """Values as the database knows them: what is not finite is not known."""
    return [float(value) if np.isfinite(value) else None for value in values]

"""Whether a dataset only grew: what published runs rest on is still there, and the same."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.models import Dataset, Stimulus, Subject
from app.store import Artefact
from flows.caching import still_there
from flows.ingested import IngestedSubject, Json
from flows.sources.base import Grid, Source, Surface
from flows.stages import get_store
from flows.stored_voxels import StoredVoxels, stored_members


def grid_columns(grid: Grid | Surface) -> Json:
    """Columns of a participant that say where its voxels or vertices are."""
    return {
        "grid": list(grid.shape),
        "affine": None if isinstance(grid, Surface) else grid.affine.astype(float).ravel().tolist(),
        "surface": grid.name if isinstance(grid, Surface) else None,
    }


def what_differs(
    session: Session,
    dataset: Dataset,
    source: Source,
    subjects: list[IngestedSubject],
    folds: Mapping[str, str],
    voxels: Mapping[int, StoredVoxels],
    *,
    rotation: Mapping[str, int] | None = None,
) -> str | None:
    """What the catalog has of a dataset and newly ingested data have not, or have otherwise.

    Data grow by sessions, participants, stimuli, regions, localiser maps, places in MNI space, and
    captions of stimuli that had none.
    Runs of what was there before stay true then, of the data that they are of.

    Returns
    -------
    str or None
        The first difference that is no growth, in words; None where there is none.
    """
    return next(
        _differences(session, dataset, source, subjects, folds, voxels, rotation or {}), None
    )


def _differences(
    session: Session,
    dataset: Dataset,
    source: Source,
    subjects: list[IngestedSubject],
    folds: Mapping[str, str],
    voxels: Mapping[int, StoredVoxels],
    rotation: Mapping[str, int],
) -> Iterator[str]:
    known = session.execute(
        select(Stimulus.key, Stimulus.fold, Stimulus.rotation, Stimulus.captions).where(
            Stimulus.dataset_id == dataset.id
        )
    ).all()
    captions = {stimulus.key: list(stimulus.captions) for stimulus in source.stimuli()}
    for key, fold, group, told in known:
        if key not in captions:
            yield f"the stimulus {key} is not in it"
        elif (group is None) != (key not in rotation):
            yield "its folds rotate" if group is None else "its folds no longer rotate"
        elif group is not None and rotation[key] != group:
            yield (
                f"the stimulus {key} is tested with group {rotation[key]} and no longer with "
                f"group {group}"
            )
        elif folds[key] != fold:
            yield f"the stimulus {key} is for {folds[key]} and no longer for {fold}"
        elif told and captions[key] != told:
            yield f"the stimulus {key} has other captions"
    # Artefacts number stimuli in the order of their keys.
    keys_before, keys = sorted(key for key, *_ in known), sorted(captions)
    ingested = {subject.label: subject for subject in subjects}
    stored = session.scalars(
        select(Subject).where(Subject.dataset_id == dataset.id).order_by(Subject.label)
    )
    for subject in stored:
        found = ingested.get(subject.label)
        if found is None:
            yield f"the participant {subject.label} is not in it"
            continue
        columns = grid_columns(source.grid(subject.label))
        if columns != {name: getattr(subject, name) for name in columns}:
            yield f"{subject.label} lies on another grid"
            continue
        if not still_there(get_store(), subject.artefacts):
            yield f"what was ingested of {subject.label} is not in the store"
            continue
        read = set(_sessions(found.artefacts, keys))
        for number, one in enumerate(_sessions(subject.artefacts, keys_before), 1):
            if one not in read:
                yield f"session {number} of {subject.label} has other responses or trials"
        yield from _maps_differ(subject, found, voxels[subject.id])
        yield from _places_differ(session, subject, source, voxels[subject.id])


def _sessions(artefacts: Json, keys: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each session's betas, by their checksum, and the stimuli of its trials."""
    image = get_store().get(Artefact.model_validate(artefacts["voxels"]))["image"]
    first = 0
    for reference in artefacts["sessions"]:
        artefact = Artefact.model_validate(reference)
        with get_store().open(artefact) as arrays:
            trials = arrays.get_slice("betas").get_shape()[1]
        yield artefact.sha256, tuple(keys[one] for one in image[first : first + trials])
        first += trials


def _maps_differ(subject: Subject, found: IngestedSubject, voxels: StoredVoxels) -> Iterator[str]:
    before, after = _maps(subject.artefacts), _maps(found.artefacts)
    shape = tuple(subject.grid)
    _, old, new = np.intersect1d(
        _numbers(voxels.coordinates[voxels.kept], shape),
        _numbers(found.coordinates, shape),
        assume_unique=True,
        return_indices=True,
    )
    for name, values in before.items():
        if name not in after or not np.array_equal(values[old], after[name][new], equal_nan=True):
            yield f"the localiser map {name} of {subject.label} is another or gone"


def _maps(artefacts: Json) -> dict[str, NDArray[np.float32]]:
    maps = artefacts.get("maps")
    return get_store().get(Artefact.model_validate(maps)) if maps else {}


def _places_differ(
    session: Session, subject: Subject, source: Source, voxels: StoredVoxels
) -> Iterator[str]:
    i, j, k = voxels.coordinates.T
    native = source.grid(subject.label).places(voxels.coordinates)
    if not np.array_equal(native.astype(np.float32), voxels.native):
        yield f"the surface of {subject.label} is another"
    known = np.isfinite(voxels.mni).all(axis=1)
    warp = source.mni(subject.label)
    if known.any() and (
        warp is None
        or not np.array_equal(warp[i, j, k][known].astype(np.float32), voxels.mni[known])
    ):
        yield f"{subject.label} lies elsewhere in MNI space"
    members = {
        (mask.atlas, mask.name): mask.members[i, j, k] for mask in source.regions(subject.label)
    }
    for name, inside in stored_members(session, subject.id).items():
        if name not in members or not np.array_equal(np.sort(voxels.ids[members[name]]), inside):
            yield f"the region {':'.join(name)} of {subject.label} has other voxels"


def _numbers(coordinates: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.ravel_multi_index(tuple(coordinates.T), shape)
    return numbers

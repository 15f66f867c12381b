"""Ingestion: a source's tables into the catalog, its betas into the store, a session at a time."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from prefect import flow
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Dataset, Stimulus
from app.errors import InputError
from app.garbage.service import works
from app.observing.context import bind
from app.store import Artefact, ArtefactStore
from flows.caching import digest
from flows.catalog import dataset_is_current
from flows.config import IngestConfig
from flows.ingested import IngestedSubject
from flows.progress import report
from flows.publish_dataset import describe_dataset, publish_dataset
from flows.retries import persevere
from flows.science.noise import noise_ceiling, zscore
from flows.science.splits import split_by_image
from flows.sources import check_source, open_source
from flows.sources.base import Source
from flows.stages import get_store, stage
from flows.telling import tell_failure

# Voxels worked on at once, of one session and of all: few, as an allocator gives large arrays back
# to the operating system, and to get one again can cost more than to fill it.
SESSION_BLOCK, VOXEL_BLOCK = 512, 1024
# Blocks that are worked on at once: so many, and no more, are in memory.
AT_ONCE = 2

Json = dict[str, Any]


@flow(name="ingest", persist_result=False, on_failure=[tell_failure("path")])
@works
def ingest_dataset(
    path: str, options: IngestConfig | None = None, *, replace: bool = False
) -> Json:
    """Ingest the dataset at a path.

    Parameters
    ----------
    path : str
        What `flows.sources.open_source` opens.
    options : IngestConfig or dict of its values, optional
    replace : bool
        Whether a dataset of the same name with other content, and its runs, may be replaced.

    Returns
    -------
    dict
        ``dataset``, ``changed`` and the report of what was read, kept and dropped.

    Raises
    ------
    InputError
        The source is at fault; the catalog is as before.
    ConflictError
        A dataset of that name has other content and runs.
    """
    config = options or IngestConfig()
    started = datetime.now(UTC)
    _opened.cache_clear()
    options_text = json.dumps(config.source, sort_keys=True)
    source = _opened(path, options_text)
    check_source(source)
    slug = source.description.slug
    bind(dataset=slug)
    folds = assign_folds(source, config, known_folds(slug, config))
    fingerprint = digest(
        [
            # What is kept is told by the folds themselves.
            config.model_dump(exclude={"keep_folds"}),
            folds,
            {
                participant: [
                    source.fingerprint(participant, session)
                    for session in _sessions(source, participant)
                ]
                for participant in source.participants()
            },
            # Data without these keep the fingerprint that they had before it told of them.
            *filter(
                None,
                [_maps_fingerprint(source), _places_fingerprint(source), _captions(source)],
            ),
        ]
    )
    if dataset_is_current(slug, fingerprint):
        describe_dataset(source.description)
        return {"dataset": slug, "changed": False, "report": {}}
    subjects = [
        ingest_subject(path, participant, source, folds, config)
        for participant in source.participants()
    ]
    summary = {subject.label: subject.report for subject in subjects}
    persevere(
        "publish-dataset",
        lambda: publish_dataset(
            source,
            subjects,
            folds,
            fingerprint=fingerprint,
            configuration=config.model_dump(),
            started=started,
            replace=replace,
        ),
    )
    return {"dataset": slug, "changed": True, "report": summary}


def ingest_subject(
    path: str, participant: str, source: Source, folds: dict[str, str], config: IngestConfig
) -> IngestedSubject:
    """Read one participant, session by session, and choose the voxels to keep."""
    trials = source.trials(participant)
    training = np.array([folds[key] == "train" for key in trials.stimulus])
    sessions = _sessions(source, participant)
    read = []
    for done, session in enumerate(sessions):
        report(f"reading {participant}", done, len(sessions))
        of_session = trials.session == session
        read.append(
            read_session(
                path,
                json.dumps(config.source, sort_keys=True),
                participant,
                session,
                source.fingerprint(participant, session),
                training[of_session].astype(int).tolist(),
                config.zscore,
            )
        )
    report(f"reading {participant}", len(sessions), len(sessions))
    position = {stimulus.key: index for index, stimulus in enumerate(source.stimuli())}
    image = [position[key] for key in trials.stimulus]
    chosen = choose_voxels(
        participant,
        [session["betas"] for session in read],
        image,
        training.astype(int).tolist(),
        config.noise_ceiling,
    )
    mask = source.mask(participant)
    kept = get_store().get(Artefact.model_validate(chosen["voxels"]))
    coordinates = np.argwhere(mask)[kept["kept"]]
    maps = read_maps(source, participant, coordinates)
    return IngestedSubject(
        label=participant,
        coordinates=coordinates,
        noise_ceiling=kept["noise_ceiling"],
        report=chosen["report"] | {"zscored_by_all": sum(s["zscored_by_all"] for s in read)},
        artefacts={
            "sessions": [session["betas"] for session in read],
            "voxels": chosen["voxels"],
        }
        | ({"maps": maps} if maps else {}),
    )


def read_maps(source: Source, participant: str, coordinates: NDArray[np.int64]) -> Json | None:
    """A participant's localiser t-maps at the voxels kept, as an artefact of one (V,) array each.

    What is not finite stays so: a voxel that a localiser tells nothing of has no t.

    Parameters
    ----------
    coordinates : ndarray
        (V, 3) voxel indices.

    Returns
    -------
    dict or None
        The artefact's reference; None where the source has no maps.
    """
    i, j, k = coordinates.T
    values = {name: volume[i, j, k] for name, volume in source.maps(participant).items()}
    return get_store().put(values).model_dump() if values else None


@stage("read-session", "path")
def read_session(
    path: str,
    options: str,
    participant: str,
    session: int,
    fingerprint: str,
    training: list[int],
    zscored: str,
) -> Json:
    """Betas of one session, standardised by its training trials, as an artefact (V, T) float16.

    A session without two training trials is standardised by all its trials, and says so.

    Raises
    ------
    InputError
        Every beta of the session is NaN, or the session does not hold the trials it should.
    """
    betas = _opened(path, options).betas(participant, session)
    if len(betas) != len(training):
        raise InputError(
            f"{participant} session {session} holds {len(betas)} betas and {len(training)} trials",
            hint="mend the trial table or the beta file",
        )
    reference = np.array(training, dtype=bool)
    by_all = zscored == "all" or reference.sum() < 2
    if by_all:
        reference = np.ones(len(betas), dtype=bool)
    standardised, finite, constant = _standardise(betas, reference)
    if not finite.any():
        raise InputError(
            f"{participant} session {session}: every voxel has NaN betas",
            hint="make the session's betas again, or leave the session out",
        )
    artefact = get_store().put({"betas": standardised, "not_finite": ~finite, "constant": constant})
    return {"betas": artefact.model_dump(), "zscored_by_all": bool(by_all and zscored != "all")}


def _standardise(
    betas: NDArray[np.floating], reference: NDArray[np.bool_]
) -> tuple[NDArray[np.float16], NDArray[np.bool_], NDArray[np.bool_]]:
    """Betas (T, V) standardised, (V, T); which voxels are finite; which of these are constant.

    A few voxels at a time, so that no other array of a session's size is in memory.
    """
    standardised = np.empty(betas.shape[::-1], dtype=np.float16)
    finite, constant = (np.empty(betas.shape[1], dtype=bool) for _ in range(2))

    def of_block(start: int) -> None:
        block = slice(start, start + SESSION_BLOCK)
        finite[block] = np.isfinite(betas[:, block]).all(axis=0)
        scored = zscore(betas[:, block], reference)
        constant[block] = finite[block] & np.isnan(scored).any(axis=0)
        standardised[block] = torch.from_numpy(scored).to(torch.float16).T.numpy()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(of_block, range(0, betas.shape[1], SESSION_BLOCK)))
    return standardised, finite, constant


@stage("choose-voxels")
def choose_voxels(
    participant: str,
    sessions: list[Json],
    image: list[int],
    training: list[int],
    threshold: float,
) -> Json:
    """Voxels that are usable in all sessions and whose noise ceiling passes a threshold.

    Where no image has three training repeats the noise ceiling cannot be estimated: then every
    usable voxel is kept, with a noise ceiling of NaN, and the report says so.

    Raises
    ------
    InputError
        No voxel is left.
    """
    trains, images = np.array(training, dtype=bool), np.array(image)
    estimated = np.bincount(images[trains]).max(initial=0) >= 3
    artefacts = [Artefact.model_validate(session) for session in sessions]
    flags = [_flags(artefact) for artefact in artefacts]
    not_finite = np.any([flag["not_finite"] for flag in flags], axis=0)
    constant = np.any([flag["constant"] for flag in flags], axis=0) & ~not_finite
    usable = ~not_finite & ~constant
    if not usable.any():
        raise InputError(
            f"{participant}: no voxel of {len(usable)} is usable: {int(constant.sum())} are "
            f"constant over the trials of a session, {int(not_finite.sum())} are not finite",
            hint="check the beta files: all trials of a session may be one and the same",
        )
    ceiling = np.full(len(usable), np.nan, dtype=np.float32)
    if estimated:
        for start, found in _noise_ceilings(artefacts, usable, images, trains):
            report(f"noise ceiling {participant}", start, len(usable))
            ceiling[start : start + len(found)] = found
        report(f"noise ceiling {participant}", len(usable), len(usable))
    kept = usable & (np.nan_to_num(ceiling) > threshold) if estimated else usable
    if not kept.any():
        raise InputError(
            f"{participant}: no voxel of {len(usable)} has a noise ceiling above {threshold:g} %",
            hint="check that trials and betas belong together, or lower noise_ceiling",
        )
    voxels = get_store().put(
        {"kept": np.flatnonzero(kept), "noise_ceiling": ceiling[kept], "image": images}
    )
    return {
        "voxels": voxels.model_dump(),
        "report": {
            "in_mask": len(usable),
            "not_finite": int(not_finite.sum()),
            "constant": int(constant.sum()),
            "below_threshold": int((usable & ~kept).sum()),
            "kept": int(kept.sum()),
            "voxel_rule": f"noise ceiling > {threshold:g} %"
            if estimated
            else "all usable voxels: no image has three training repeats",
        },
    }


def _noise_ceilings(
    sessions: Sequence[Artefact],
    usable: NDArray[np.bool_],
    images: NDArray[np.int64],
    training: NDArray[np.bool_],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Noise ceilings a block of voxels, from the first; NaN where a voxel is not usable."""
    store = get_store()

    def of_block(start: int) -> tuple[int, NDArray[np.float32]]:
        inside = usable[start : start + VOXEL_BLOCK]
        ceiling = np.full(len(inside), np.nan, dtype=np.float32)
        if inside.any():
            betas = _voxel_block(store, sessions, slice(start, start + len(inside)))
            ceiling[inside] = noise_ceiling(betas[:, inside], images, training)
        return start, ceiling

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(of_block, range(0, len(usable), VOXEL_BLOCK))


def _voxel_block(
    store: ArtefactStore, sessions: Sequence[Artefact], block: slice
) -> NDArray[np.float16]:
    """(trials of all sessions, voxels of the block); what is mapped of files is let go of."""
    parts = []
    for session in sessions:
        with store.open(session) as arrays:
            parts.append(arrays.get_slice("betas")[block.start : block.stop])
    return np.concatenate(parts, axis=1).T


def _flags(session: Artefact) -> dict[str, NDArray[np.bool_]]:
    with get_store().open(session) as arrays:
        return {name: arrays.get_tensor(name) for name in ("not_finite", "constant")}


def known_folds(slug: str, config: IngestConfig) -> dict[str, str]:
    """Folds that the catalog's stimuli of a dataset were drawn into with these settings."""
    if not config.keep_folds:
        return {}
    drawn = {name: getattr(config, name) for name in ("n_test", "n_validation", "seed")}
    with open_session() as session:
        dataset = session.scalar(select(Dataset).where(Dataset.slug == slug))
        if dataset is None or not drawn.items() <= dataset.configuration.items():
            return {}
        rows = session.execute(
            select(Stimulus.key, Stimulus.fold).where(Stimulus.dataset_id == dataset.id)
        )
        return {key: fold for key, fold in rows}  # noqa: C416


def assign_folds(
    source: Source, config: IngestConfig, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Fold of every stimulus: the dataset's own where it names them, else drawn by image.

    Parameters
    ----------
    source : Source
    config : IngestConfig
    known : mapping of str to str, optional
        Folds of stimuli that are not drawn again.

    Raises
    ------
    InputError
        Some stimuli have a fold and others do not, or too few images are left for training.
    """
    stimuli = source.stimuli()
    own = {stimulus.key: stimulus.fold for stimulus in stimuli if stimulus.fold is not None}
    if own and len(own) != len(stimuli):
        raise InputError(
            f"{len(stimuli) - len(own)} of {len(stimuli)} stimuli have no fold",
            hint="give every stimulus a fold, or none",
        )
    if own:
        return {key: str(fold) for key, fold in own.items()}
    position = {stimulus.key: index for index, stimulus in enumerate(stimuli)}
    participants = source.participants()
    exposures: NDArray[np.int64] = np.zeros((len(participants), len(stimuli)), dtype=np.int64)
    for row, participant in enumerate(participants):
        for key in source.trials(participant).stimulus:
            exposures[row, position[key]] += 1
    shared = np.array([stimulus.shared for stimulus in stimuli])
    try:
        folds = split_by_image(
            exposures,
            shared,
            n_test=config.n_test,
            n_validation=config.n_validation,
            seed=config.seed,
            settled=np.array([(known or {}).get(stimulus.key, "") for stimulus in stimuli]),
        )
    except ValueError as error:
        raise InputError(str(error), hint="lower n_test or n_validation") from error
    return {stimulus.key: str(fold) for stimulus, fold in zip(stimuli, folds, strict=True)}


def _sessions(source: Source, participant: str) -> list[int]:
    return [int(session) for session in np.unique(source.trials(participant).session)]


def _maps_fingerprint(source: Source) -> dict[str, str]:
    """Checksum of the localiser maps of every participant that has some."""
    checksums = {}
    for participant in source.participants():
        if maps := source.maps(participant):
            checksum = hashlib.sha256()
            for name, volume in sorted(maps.items()):
                checksum.update(f"{name} {volume.shape} {volume.dtype}\n".encode())
                checksum.update(volume.tobytes())
            checksums[participant] = checksum.hexdigest()
    return checksums


def _captions(source: Source) -> dict[str, tuple[str, ...]]:
    return {stimulus.key: stimulus.captions for stimulus in source.stimuli() if stimulus.captions}


def _places_fingerprint(source: Source) -> dict[str, str]:
    """Checksum of where every participant's voxels lie: in which regions, and in MNI space."""
    checksums = {}
    for participant in source.participants():
        mask = source.mask(participant)
        regions, warp = source.regions(participant), source.mni(participant)
        if regions or warp is not None:
            checksum = hashlib.sha256()
            for region in sorted(regions, key=lambda region: (region.atlas, region.name)):
                checksum.update(f"{region.atlas}:{region.name}\n".encode())
                checksum.update(np.packbits(region.members[mask]).tobytes())
            if warp is not None:
                checksum.update(warp[mask].astype(np.float32).tobytes())
            checksums[participant] = checksum.hexdigest()
    return checksums


# A source reads its tables when it is opened: once for all stages of an ingestion.
@lru_cache(maxsize=4)
def _opened(path: str, options: str) -> Source:
    return open_source(path, **json.loads(options))

"""Ingestion: a source's tables into the catalog, its betas into the store, a session at a time."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from prefect import flow

from app.errors import InputError
from app.garbage.service import works
from app.observing.context import bind
from app.store import Artefact, ArtefactStore
from flows.caching import digest
from flows.catalog import dataset_is_current, ingestion_reports
from flows.choices import gather_choices, next_command
from flows.config import IngestConfig
from flows.folds import PUBLISHED, Folds, assign_folds, known_folds
from flows.ingested import IngestedSubject
from flows.progress import report
from flows.publish_dataset import describe_dataset, publish_dataset
from flows.retries import persevere
from flows.science.noise import noise_ceiling, zscore
from flows.sources import check_source, open_source
from flows.sources.base import Source
from flows.stages import get_store, stage
from flows.telling import tell_failure

# Voxels worked on at once, of one session and of all: few, as an allocator gives large arrays back
# to the operating system, and to get one again can cost more than to fill it.
SESSION_BLOCK, VOXEL_BLOCK = 512, 1024
# Blocks that are worked on at once: so many, and no more, are in memory.
AT_ONCE = 2

# Options of sources (`flows.sources.nsd_options` and others) that no session's responses depend on;
# which sessions and participants are read is told by these themselves.
NOT_OF_RESPONSES = frozenset(
    [
        *("captions", "atlases", "participants", "sessions"),
        *("slug", "title", "licence", "citation"),
    ]
)

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
        ``dataset``, ``changed``, ``folds`` (one line), the report of what was read, kept and
        dropped (empty where nothing changed), ``choices`` (`flows.choices.gather_choices`),
        ``warnings`` (`flows.sources.check_source`) and ``next``, the command to type then.

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
    warnings = list(check_source(source).warnings)
    slug = source.description.slug
    bind(dataset=slug)
    folds = assign_folds(source, config, known_folds(slug, config))
    fingerprint = digest(
        [
            # What is kept, and whether folds rotate, is told by the folds themselves.
            config.model_dump(exclude={"keep_folds", "folds"}) | _numbers(folds, config),
            folds.fold,
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
                [
                    _maps_fingerprint(source),
                    _places_fingerprint(source),
                    _captions(source),
                    folds.rotation,
                ],
            ),
        ]
    )
    if dataset_is_current(slug, fingerprint):
        describe_dataset(source.description)
        choices = gather_choices(source, config, folds, ingestion_reports(slug))
        return {
            "dataset": slug,
            "changed": False,
            "folds": folds.told,
            "report": {},
            "choices": choices,
            "warnings": warnings,
            "next": next_command(source, None),
        }
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
            folds.fold,
            fingerprint=fingerprint,
            configuration=config.model_dump() | _resolved(folds),
            started=started,
            replace=replace,
            rotation=folds.rotation,
        ),
    )
    return {
        "dataset": slug,
        "changed": True,
        "folds": folds.told,
        "report": summary,
        "choices": gather_choices(source, config, folds, summary),
        "warnings": warnings,
        "next": next_command(source, None),
    }


def ingest_subject(
    path: str, participant: str, source: Source, folds: Folds, config: IngestConfig
) -> IngestedSubject:
    """Read one participant, session by session, and choose the voxels to keep.

    Where folds rotate, every trial is a test trial once: sessions are standardised by all their
    trials, which uses no label, and all usable voxels are kept.
    """
    trials = source.trials(participant)
    rotates = folds.rotation is not None
    training = np.array([rotates or folds.fold[key] == "train" for key in trials.stimulus])
    sessions = _sessions(source, participant)
    read = []
    for done, session in enumerate(sessions):
        report(f"reading {participant}", done, len(sessions))
        of_session = trials.session == session
        read.append(
            read_session(
                path,
                json.dumps(config.source, sort_keys=True),
                json.dumps(_of_responses(config.source), sort_keys=True),
                participant,
                session,
                source.fingerprint(participant, session),
                training[of_session].astype(int).tolist(),
                "all" if rotates else config.zscore,
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
        None if rotates else config.noise_ceiling,
        trials.session.tolist(),
    )
    mask = source.mask(participant)
    kept = get_store().get(Artefact.model_validate(chosen["voxels"]))
    coordinates = np.argwhere(mask)[kept["kept"]]
    maps = read_maps(source, participant, coordinates)
    return IngestedSubject(
        label=participant,
        coordinates=coordinates,
        noise_ceiling=kept["noise_ceiling"],
        report=chosen["report"]
        | {"zscored_by_all": sum(s["zscored_by_all"] for s in read), "folds": folds.told}
        | ({"zscore": "all trials of a session, since folds rotate"} if rotates else {}),
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


@stage("read-session", "path", "options")
def read_session(
    path: str,
    options: str,
    of_responses: str,
    participant: str,
    session: int,
    fingerprint: str,
    training: list[int],
    zscored: str,
) -> Json:
    """Betas of one session, standardised by its training trials, as an artefact (V, T) float16.

    A session without two training trials is standardised by all its trials, and says so.

    Parameters
    ----------
    options : str
        Of the source, JSON.
    of_responses : str
        Those of them that may change responses: a session that was read is not read again because
        captions come.

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
    threshold: float | None,
    session_of: list[int],
) -> Json:
    """Voxels that are usable in all sessions and whose noise ceiling passes a threshold.

    Where no image has three training repeats the noise ceiling cannot be estimated: then every
    usable voxel is kept, with a noise ceiling of NaN, and the report says so. Without a threshold
    the noise ceiling is told, and chooses nothing.

    Parameters
    ----------
    session_of : list of int
        The session of each trial.

    Returns
    -------
    dict
        Reference to ``kept`` (V,) places in the mask, their ``noise_ceiling``, and ``image`` and
        ``session`` (N,) of the trials in order of acquisition; and a report.

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
    kept, rule = usable, "all usable voxels: no image has three training repeats"
    if threshold is None:
        rule = "all usable voxels: folds rotate, and test trials may not choose voxels"
    elif estimated:
        kept = usable & (np.nan_to_num(ceiling) > threshold)
        rule = f"noise ceiling > {threshold:g} %"
    if not kept.any():
        raise InputError(
            f"{participant}: no voxel of {len(usable)} has a noise ceiling above {threshold:g} %",
            hint="check that trials and betas belong together, or lower noise_ceiling",
        )
    voxels = get_store().put(
        {
            "kept": np.flatnonzero(kept),
            "noise_ceiling": ceiling[kept],
            "image": images,
            "session": np.array(session_of, dtype=np.int64),
        }
    )
    return {
        "voxels": voxels.model_dump(),
        "report": {
            "in_mask": len(usable),
            "not_finite": int(not_finite.sum()),
            "constant": int(constant.sum()),
            "below_threshold": int((usable & ~kept).sum()),
            "kept": int(kept.sum()),
            "voxel_rule": rule,
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


def _of_responses(options: Json) -> Json:
    """Options of a source without those that no session's responses depend on."""
    return {name: value for name, value in options.items() if name not in NOT_OF_RESPONSES}


def _sessions(source: Source, participant: str) -> list[int]:
    return [int(session) for session in np.unique(source.trials(participant).session)]


def _numbers(folds: Folds, config: IngestConfig) -> Json:
    """What images were drawn by, as a fingerprint has it: of a fixed draw the numbers asked for.

    Data that had a fingerprint before numbers could be left out keep it.
    """
    asked = (folds.n_test or config.n_test, folds.n_validation or config.n_validation)
    names = ("n_test", "n_validation")
    return {
        name: number or published
        for name, number, published in zip(names, asked, PUBLISHED, strict=True)
    }


def _resolved(folds: Folds) -> Json:
    """What a dataset remembers of how its folds came about, in place of what was left open."""
    numbers = {"n_test": folds.n_test, "n_validation": folds.n_validation}
    return {"folds": folds.design} | ({} if folds.n_test is None else numbers)


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

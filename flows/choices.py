"""What was chosen for whoever brings a dataset: a line each of what and why, and what comes next.

A check and an ingestion tell the same of the same source. No betas are read for it: what an
ingestion found when it read them is passed on.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.config import IngestConfig
from flows.encoder_choice import ForeseenEncoder, foresee_encoder
from flows.folds import Folds
from flows.science.splits import rotated_folds
from flows.science.stats.orders import choose_order_scheme
from flows.sources.base import Source, Stimulus, Surface
from flows.sources.checks import REPEATS_FOR_CEILING

Json = dict[str, Any]
Ints = NDArray[np.int64]

# Words of captions by which stimuli are compared before an encoder has seen them.
_WORDS = 512
_SHUFFLES = 199
_AT_RANDOM = "as far as their captions tell, stimuli follow each other in random order"
_NOT_AT_RANDOM = "as far as their captions tell, stimuli do not follow each other in random order"


def gather_choices(
    source: Source, config: IngestConfig, folds: Folds, read: Mapping[str, Json] | None = None
) -> dict[str, str]:
    """What an ingestion and a first run choose for a source, by what is chosen.

    Parameters
    ----------
    source : Source
    config : IngestConfig
    folds : Folds
        What `flows.folds.assign_folds` made of the source.
    read : mapping, optional
        Reports of participants by label, as `flows.ingest.ingest_subject` gives them; None before
        betas have been read.

    Returns
    -------
    dict
        A line for each of ``folds``, ``repeats``, ``order``, ``mask``, ``voxels``,
        ``noise_ceiling``, ``standardised``, ``positions``, ``encoder`` and ``captions``. What is
        not the same for all participants is told for each of those that it is the same for.
    """
    labels = source.participants()
    image = _images(source)
    encoder = foresee_encoder(source)
    training = {label: _training_repeats(folds, image[label], source) for label in labels}
    return {
        "folds": folds.told,
        "repeats": _of_each({label: _repeats(image[label]) for label in labels}),
        "order": _of_each(_orders(source, folds, image)),
        # Files of participants mostly differ in the participant's name alone.
        "mask": _of_each({label: source.mask_rule(label).replace(label, "*") for label in labels}),
        "voxels": _of_each(
            {
                label: _voxels(source, label, config, folds, training[label])
                if read is None
                else _voxels_read(read[label])
                for label in labels
            }
        ),
        "noise_ceiling": _of_each(
            {label: _noise_ceiling(training[label], config, folds) for label in labels}
        ),
        "standardised": _standardised(config, folds),
        "positions": _of_each({label: _positions(source, label) for label in labels}),
        "encoder": encoder.told,
        "captions": _captions(source.stimuli(), encoder),
    }


def next_command(source: Source, place: str | None, options: Sequence[str] = ()) -> str:
    """What to type next.

    Parameters
    ----------
    source : Source
    place : str or None
        What to ingest; None where that is done, and the pipeline is to run.
    options : sequence of str
        Words that the ingestion is to be given, such as ``--set n_test=40``.
    """
    encoder = foresee_encoder(source)
    run = ["sdc", "run", source.description.slug]
    if encoder.option:
        run += ["--set", encoder.option]
    told = shlex.join(run)
    if place is not None:
        told = f"{shlex.join(['sdc', 'ingest', place, *options])}, then {told}"
    return f"{told} ({encoder.needs})" if encoder.needs else told


def _of_each(told: Mapping[str, str]) -> str:
    """What is told of participants: once where it is the same for all."""
    groups: dict[str, list[str]] = {}
    for label, line in told.items():
        groups.setdefault(line, []).append(label)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(labels)}: {line}" for line, labels in groups.items())


def _images(source: Source) -> dict[str, Ints]:
    """By participant the stimulus of each trial, a place among `source.stimuli`."""
    place = {stimulus.key: index for index, stimulus in enumerate(source.stimuli())}
    return {
        label: np.array([place[key] for key in source.trials(label).stimulus], dtype=np.int64)
        for label in source.participants()
    }


def _repeats(image: Ints) -> str:
    shown = np.bincount(image)
    counts = np.unique(shown[shown > 0], return_counts=True)
    told = [
        f"{number:,} shown {'once' if times == 1 else f'{times} times'}"
        for times, number in zip(*(each.tolist() for each in counts), strict=True)
    ]
    return f"{len(image):,} trials of {int((shown > 0).sum()):,} stimuli: {', '.join(told)}"


def _training_repeats(folds: Folds, image: Ints, source: Source) -> Ints:
    """How often each training stimulus was shown; where folds rotate, each stimulus."""
    keys = [stimulus.key for stimulus in source.stimuli()]
    trains = np.array([folds.rotation is not None or folds.fold[key] == "train" for key in keys])
    shown: Ints = np.bincount(image, minlength=len(keys))[trains]
    return shown


def _noise_ceiling(repeats: Ints, config: IngestConfig, folds: Folds) -> str:
    among = "stimulus" if folds.rotation is not None else "training stimulus"
    if (often := int((repeats >= REPEATS_FOR_CEILING).sum())) == 0:
        most = int(repeats.max(initial=0))
        return (
            f"none: no {among} was shown {REPEATS_FOR_CEILING} times (the most: {most}), so that "
            "it chooses no voxel"
        )
    told = f"from {often:,} {among.replace('us', 'i') if often > 1 else among} shown "
    told += f"{REPEATS_FOR_CEILING} times or more"
    if folds.rotation is not None:
        return f"{told}; it chooses no voxel, since folds rotate"
    return f"{told}; voxels above {config.noise_ceiling:g} % are kept"


def _voxels(source: Source, label: str, config: IngestConfig, folds: Folds, repeats: Ints) -> str:
    chooses = folds.rotation is None and (repeats >= REPEATS_FOR_CEILING).any()
    rule = (
        f"those whose noise ceiling is above {config.noise_ceiling:g} %"
        if chooses
        else "all that are finite and vary in every session"
    )
    return f"{int(source.mask(label).sum()):,} in the mask, of which {rule} will be kept"


def _voxels_read(report: Json) -> str:
    dropped = {
        "are not finite": report["not_finite"],
        "are constant over a session's trials": report["constant"],
        "fall below the noise ceiling": report["below_threshold"],
    }
    why = [f"{count:,} {what}" for what, count in dropped.items() if count]
    told = f"{report['kept']:,} of {report['in_mask']:,} kept ({report['voxel_rule']})"
    return "; ".join([told, *why])


def _standardised(config: IngestConfig, folds: Folds) -> str:
    if folds.rotation is not None:
        return "each session by all its trials, since folds rotate"
    if config.zscore == "all":
        return "each session by all its trials, as configured"
    return "each session by its training trials, or by all where it has fewer than two"


def _positions(source: Source, label: str) -> str:
    grid = source.grid(label)
    if isinstance(grid, Surface):
        told = f"vertices of {grid.name}"
    elif _made_up(grid.shape, grid.affine):
        told = "made up: the image's affine only counts voxels, so that left and right are not told"
    else:
        told = "mm by the image's affine"
    mni = source.mni(label)
    if mni is None:
        return f"{told}; none in MNI space, so that participants are not compared by place"
    known = float(np.isfinite(mni[source.mask(label)]).all(axis=1).mean())
    share = "all" if known == 1 else f"{known:.0%} of the"
    return f"{told}; MNI mm of {share} voxels"


def _made_up(shape: tuple[int, int, int], affine: NDArray[np.floating]) -> bool:
    """Whether an affine tells no more than the size of voxels, as of an image without a place."""
    size = np.diag(affine)[:3]
    if not np.allclose(affine[:3, :3], np.diag(size)):
        return False
    # Programs write either the corner or the middle of the grid as 0 mm where none is known.
    middle = -(np.array(shape) - 1) / 2 * size
    return bool(np.allclose(affine[:3, 3], 0) or np.allclose(affine[:3, 3], middle))


def _captions(stimuli: Sequence[Stimulus], encoder: ForeseenEncoder) -> str:
    bare = [stimulus.key for stimulus in stimuli if not stimulus.captions]
    if not bare:
        return f"every stimulus has some, {sum(len(one.captions) for one in stimuli):,} in all"
    told = f"{len(bare):,} of {len(stimuli):,} stimuli have none (the first: {bare[0]})"
    if encoder.spec is not None and encoder.spec.startswith("caption:"):
        return f"{told}, which the encoder needs"
    return f"{told}; encoders of captions cannot embed these"


def _orders(source: Source, folds: Folds, image: Mapping[str, Ints]) -> dict[str, str]:
    """By participant whether test stimuli are permuted freely, as the run would judge by words.

    The run judges by its encoder's vectors (`flows.measure.choose_order`); here stimuli are
    compared by the words of their captions.
    """
    stimuli = source.stimuli()
    if any(not stimulus.captions for stimulus in stimuli):
        unknown = "the run tells from its encoder's vectors; not every stimulus has a caption"
        return dict.fromkeys(image, unknown)
    vectors, row_of = _word_vectors(stimuli)
    told: dict[str, str] = {}
    for label, shown in image.items():
        tested, trained = _tested(folds, [stimulus.key for stimulus in stimuli], shown, row_of)
        session = source.trials(label).session
        scheme = choose_order_scheme(
            vectors,
            row_of[shown[tested]],
            session[tested],
            seed=0,
            training_image=trained,
            permutations=_SHUFFLES,
        )
        told[label] = {
            "free": f"random: {_AT_RANDOM}, and tests permute stimuli freely",
            "shift": f"blocked: {_NOT_AT_RANDOM}, and tests shift labels within a run",
            "within_run": "by category: every test category was trained on, and tests exchange "
            "labels within runs",
        }[scheme.kind]
    return told


def _tested(
    folds: Folds, keys: Sequence[str], shown: Ints, row_of: Ints
) -> tuple[NDArray[np.bool_], Ints]:
    """(N,) which trials are tested, and rows of stimuli that all decoders were fitted on."""
    if folds.rotation is None:
        fold = np.array([folds.fold[key] for key in keys])
        return fold[shown] == "test", np.unique(row_of[fold != "test"])
    groups = [folds.rotation[key] for key in keys]
    trained: set[int] | None = None
    for group in sorted(set(groups)):
        development = np.array(rotated_folds(groups, group)) != "test"
        seen = set(row_of[development].tolist())
        trained = seen if trained is None else trained & seen
    return np.ones(len(shown), dtype=bool), np.array(sorted(trained or ()), dtype=np.int64)


def _word_vectors(stimuli: Sequence[Stimulus]) -> tuple[NDArray[np.float64], Ints]:
    """(R, W) counts of the commonest words in distinct captions; (I,) row of each stimulus."""
    texts = [" ".join(stimulus.captions).lower().split() for stimulus in stimuli]
    row: dict[tuple[str, ...], int] = {}
    row_of = np.array([row.setdefault(tuple(words), len(row)) for words in texts])
    counted: dict[str, int] = {}
    for words in row:
        for word in set(words):
            counted[word] = counted.get(word, 0) + 1
    # A word that all or one alone have compares nobody.
    common = sorted(counted, key=lambda word: (-counted[word], word))[:_WORDS]
    column = {word: place for place, word in enumerate(common)}
    vectors = np.zeros((len(row), len(common)))
    for place, words in enumerate(row):
        for word in words:
            if word in column:
                vectors[place, column[word]] += 1
    return vectors, row_of

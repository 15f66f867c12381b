"""Folds of a dataset that is ingested: how many stimuli test, and whether folds rotate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Dataset, Stimulus
from app.errors import InputError
from flows.config import IngestConfig
from flows.science.splits import Rotation, rotated_folds, rotation_groups, split_by_image
from flows.sources.base import Source

# The published numbers of test and of validation images (docs/method.md, Data).
PUBLISHED = (1000, 1000)
# With fewer test stimuli a split says little: folds rotate.
FEWEST_TESTED = 30
# Where the published numbers do not fit: a quarter of the images, and an eighth.
SHARES = (0.25, 0.125)
KEPT = "as the catalog has them"
MORE_STIMULI = "show every participant more stimuli, or leave that participant out"

Design = Literal["single", "rotated"]


@dataclass(frozen=True)
class Folds:
    """Folds of every stimulus of a dataset, and how they came about.

    Attributes
    ----------
    fold : dict
        By key ``"train"``, ``"validation"`` or ``"test"``; of folds that rotate, those of the first
        rotation.
    rotation : dict or None
        By key the group that the stimulus is tested with, where folds rotate.
    n_test, n_validation : int or None
        Images per participant that were drawn; None where none were drawn by number.
    told : str
        One line for people.
    """

    fold: dict[str, str]
    rotation: dict[str, int] | None
    n_test: int | None
    n_validation: int | None
    told: str

    @property
    def design(self) -> Design:
        """Whether there is one split, or every stimulus is tested in turn."""
        return "single" if self.rotation is None else "rotated"


@dataclass(frozen=True)
class KnownFolds:
    """Folds that the catalog has of a dataset, which new data do not change.

    Attributes
    ----------
    fold, rotation
        As `Folds` has them.
    numbers : tuple of (int or None)
        What test and validation images were drawn by.
    """

    fold: dict[str, str]
    rotation: dict[str, int] | None
    numbers: tuple[int | None, int | None]

    @property
    def design(self) -> Design:
        """As `Folds.design`."""
        return "single" if self.rotation is None else "rotated"


@dataclass(frozen=True)
class _Seen:
    """Who saw what of a source, by number of participant, stimulus and session."""

    keys: list[str]
    labels: list[str]
    images: list[NDArray[np.int64]]
    sessions: list[NDArray[np.int64]]

    def exposures(self) -> NDArray[np.int64]:
        """(S, I) how often each participant saw each stimulus."""
        return np.array([np.bincount(shown, minlength=len(self.keys)) for shown in self.images])


def known_folds(slug: str, config: IngestConfig) -> KnownFolds | None:
    """Folds of the dataset of this name in the catalog, where they are to be kept.

    They are where `keep_folds` says so and nothing that was configured asks for others: the seed
    is the same, and so are the design and the numbers, as far as they are given.
    """
    if not config.keep_folds:
        return None
    with open_session() as session:
        dataset = session.scalar(select(Dataset).where(Dataset.slug == slug))
        if dataset is None:
            return None
        stored = dataset.configuration
        rows = session.execute(
            select(Stimulus.key, Stimulus.fold, Stimulus.rotation).where(
                Stimulus.dataset_id == dataset.id
            )
        ).all()
    groups = {row.key: row.rotation for row in rows if row.rotation is not None}
    known = KnownFolds(
        fold={row.key: row.fold for row in rows},
        rotation=groups or None,
        numbers=(stored.get("n_test"), stored.get("n_validation")),
    )
    if stored.get("seed") != config.seed or config.folds not in ("auto", known.design):
        return None
    if known.design == "rotated":
        return known if config.folds == "rotated" or config.n_test is None else None
    asked = (config.n_test, config.n_validation)
    alike = zip(asked, known.numbers, strict=True)
    return known if all(number in (None, before) for number, before in alike) else None


def assign_folds(source: Source, config: IngestConfig, known: KnownFolds | None = None) -> Folds:
    """Fold of every stimulus: the dataset's own where it names them, else drawn by image.

    What is known stays as it is. Else, where `config.folds` leaves it open and no number of test
    images is asked for, folds rotate where one split would test fewer than `FEWEST_TESTED` stimuli
    of some participant.

    Parameters
    ----------
    source : Source
    config : IngestConfig
    known : KnownFolds, optional
        What the catalog has, as `known_folds` found it.

    Raises
    ------
    InputError
        Some stimuli have a fold and others do not, or too few images are left for training, or to
        be tested in turn.
    """
    own = _own_folds(source)
    seen = _look(source)
    design = config.folds if known is None else known.design
    if design == "rotated":
        return _rotated(seen, config, known, "as configured" if known is None else KEPT)
    if design == "single" or (config.n_test is not None and not own):
        return _single(source, seen, own, config, known)
    try:
        single, fault = _single(source, seen, own, config, None), None
    except InputError as error:
        single, fault = None, error
    tested = 0 if single is None else min(_counts(seen, single.fold, "test"))
    if single is not None and tested >= FEWEST_TESTED:
        return single
    some = f"would test {tested} stimuli" if tested else "leaves too little"
    try:
        return _rotated(seen, config, None, f"since one split {some}")
    except InputError:
        if single is None:
            raise fault or InputError("there are no folds") from None
        return single


def _single(
    source: Source,
    seen: _Seen,
    own: dict[str, str],
    config: IngestConfig,
    known: KnownFolds | None,
) -> Folds:
    """One split: the dataset's own, else drawn."""
    if own:
        told = f"{_told_counts(seen, own, 'stimuli')} (the data set's own)"
        return Folds(own, None, None, None, told)
    n_test, n_validation, why = _numbers(seen, config, known)
    before = {} if known is None else known.fold
    shared = np.array([stimulus.shared for stimulus in source.stimuli()])
    try:
        drawn = split_by_image(
            seen.exposures(),
            shared,
            n_test=n_test,
            n_validation=n_validation,
            seed=config.seed,
            settled=np.array([before.get(key, "") for key in seen.keys]),
            labels=seen.labels,
        )
    except ValueError as error:
        raise InputError(
            str(error),
            hint=MORE_STIMULI
            if config.n_test is None and config.n_validation is None
            else "lower n_test or n_validation, or leave both out: shares serve then",
        ) from error
    fold = {key: str(each) for key, each in zip(seen.keys, drawn, strict=True)}
    told = f"{_told_counts(seen, fold, 'images')}{f' ({why})' if why else ''}"
    return Folds(fold, None, n_test, n_validation, told)


def _numbers(seen: _Seen, config: IngestConfig, known: KnownFolds | None) -> tuple[int, int, str]:
    """Test and validation images per participant, and why so many.

    Only those count who saw something new: for the others all is drawn already.
    """
    asked = (config.n_test, config.n_validation)
    before = (None, None) if known is None else known.numbers
    tested, validated = (
        next(number for number in numbers if number is not None)
        for numbers in zip(asked, before, PUBLISHED, strict=True)
    )
    old = np.array([known is not None and key in known.fold for key in seen.keys])
    counts = [len(np.unique(shown)) for shown in seen.images if not old[shown].all()]
    fewest = min(counts, default=0)
    if None not in asked:
        return tested, validated, "as configured"
    if not counts or fewest - tested - validated >= fewest / 2:
        return tested, validated, KEPT if None not in before else ""
    n_test, n_validation = (
        max(2, int(fewest * share + 0.5)) if given is None else given
        for given, share in zip(asked, SHARES, strict=True)
    )
    why = f"shares: {tested:,} and {validated:,} do not fit {fewest:,} images"
    return n_test, n_validation, why


def _rotated(seen: _Seen, config: IngestConfig, known: KnownFolds | None, why: str) -> Folds:
    """Every stimulus is tested in turn, with its group."""
    before = (known and known.rotation) or {}
    try:
        found = rotation_groups(
            seen.images,
            seen.sessions,
            len(seen.keys),
            seed=config.seed,
            settled=np.array([before.get(key, -1) for key in seen.keys]),
            labels=seen.labels,
        )
        first = rotated_folds(found.group.tolist(), int(found.group.min()))
    except ValueError as error:
        raise InputError(str(error), hint=MORE_STIMULI) from error
    return Folds(
        fold=dict(zip(seen.keys, first, strict=True)),
        rotation=dict(zip(seen.keys, found.group.tolist(), strict=True)),
        n_test=None,
        n_validation=None,
        told=f"rotated over {_told_groups(found)}, {why}",
    )


def _own_folds(source: Source) -> dict[str, str]:
    stimuli = source.stimuli()
    own = {stimulus.key: str(stimulus.fold) for stimulus in stimuli if stimulus.fold is not None}
    if own and len(own) != len(stimuli):
        raise InputError(
            f"{len(stimuli) - len(own)} of {len(stimuli)} stimuli have no fold",
            hint="give every stimulus a fold, or none",
        )
    return own


def _look(source: Source) -> _Seen:
    keys = [stimulus.key for stimulus in source.stimuli()]
    position = {key: index for index, key in enumerate(keys)}
    labels = source.participants()
    trials = [source.trials(label) for label in labels]
    return _Seen(
        keys,
        labels,
        images=[np.array([position[key] for key in one.stimulus]) for one in trials],
        sessions=[one.session.astype(np.int64) for one in trials],
    )


def _counts(seen: _Seen, fold: Mapping[str, str], name: str) -> list[int]:
    """Stimuli of a fold that each participant saw."""
    inside = np.array([fold[key] == name for key in seen.keys])
    return [int(inside[np.unique(shown)].sum()) for shown in seen.images]


def _told_counts(seen: _Seen, fold: Mapping[str, str], what: str) -> str:
    told = []
    for name, word in (("test", "test"), ("validation", "validation"), ("train", "training")):
        counts = _counts(seen, fold, name)
        low, high = min(counts), max(counts)
        told.append(f"{low:,} {word}" if low == high else f"{low:,} to {high:,} {word}")
    return f"{', '.join(told)} {what} a participant"


def _told_groups(found: Rotation) -> str:
    if found.unit == "images":
        return f"{found.count} groups of images"
    sessions = sum(map(len, found.runs))
    return f"{found.count} {'' if sessions == found.count else f'groups of {sessions} '}runs"

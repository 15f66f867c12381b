"""Which images train, validate and test: in one split, or in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flows.science.participants import participant_names

# Three showings are what the noise ceiling and the published protocols count on; a fourth
# makes an image no better a test image.
_ENOUGH = 3
# Rotation groups: of images as many as keep four fifths to fit on; of runs as many as an ordinary
# block design has, and no fewer than leave two to fit on, each told by a fit on the other.
_IMAGE_GROUPS = 5
_MOST_RUN_GROUPS = 12
_FEWEST_RUN_GROUPS = 3
# One group tests, one validates, one at least trains.
_FEWEST_GROUPS = 3
_UNSETTLED = -1


def split_by_image(
    exposures: NDArray[np.integer],
    shared: NDArray[np.bool_],
    *,
    n_test: int,
    n_validation: int,
    seed: int,
    settled: NDArray[np.str_] | None = None,
    labels: Sequence[str] | None = None,
) -> NDArray[np.str_]:
    """Assign every image to one fold, the same for all participants.

    Each participant gets `n_test` test images among those it saw, then `n_validation`
    validation images; all others train. Images seen at least three times come first (or the
    most repeated there are), among them the shared ones, and then by a seeded draw. Shared
    images that the most participants saw three times are settled before any other, so that
    the folds of different participants hold the same images where they can. What one
    participant's fold holds counts for every other who saw it: a participant can so meet
    test images that it saw less than three times, and, where participants overlap without
    being marked shared, a few images more than asked.

    Parameters
    ----------
    exposures : ndarray
        (S, I) integer, how often each participant saw each image. The images' order is part
        of the input: give them sorted by key.
    shared : ndarray
        (I,) bool, images meant for every participant.
    n_test, n_validation : int
        Images per participant and fold.
    seed : int
        Seed of the draw.
    settled : ndarray, optional
        (I,) folds that images have already and keep; an empty text where one is to be found.
        What they hold counts towards `n_test` and `n_validation`.
    labels : sequence of str, optional
        Names of the S participants, for errors.

    Returns
    -------
    ndarray
        (I,) of ``"train"``, ``"validation"`` or ``"test"``.

    Raises
    ------
    ValueError
        Where shapes do not match, a count is negative, or a participant keeps no image to
        train on.

    References
    ----------
    METHOD.md 0.
    """
    exposures = np.asarray(exposures)
    shared = np.asarray(shared, dtype=bool)
    if exposures.ndim != 2 or shared.shape != exposures.shape[1:]:
        raise ValueError(
            f"exposures of shape {exposures.shape} do not match {shared.shape} shared flags"
        )
    if min(n_test, n_validation) < 0 or exposures.min(initial=0) < 0:
        raise ValueError("numbers of images and of showings cannot be negative")
    draw = np.random.default_rng(seed).permutation(exposures.shape[1])
    fold = np.full(exposures.shape[1], "train", dtype="<U10")
    free = np.ones(len(fold), dtype=bool)
    if settled is not None:
        free = np.asarray(settled) == ""
        fold[~free] = settled[~free]
    for name, size in (("test", n_test), ("validation", n_validation)):
        _fill(fold, name, size, exposures, shared, draw, free)

    for name, seen in zip(participant_names(labels, len(exposures)), exposures > 0, strict=True):
        if not (seen & (fold == "train")).any():
            test, validation = (int((seen & (fold == f)).sum()) for f in ("test", "validation"))
            raise ValueError(
                f"{name} keeps no image to train on: of {int(seen.sum())} "
                f"images seen, {test} are test and {validation} validation "
                f"(asked for {n_test} and {n_validation})"
            )
    return fold


def _fill(
    fold: NDArray[np.str_],
    name: str,
    size: int,
    exposures: NDArray[np.integer],
    shared: NDArray[np.bool_],
    draw: NDArray[np.integer],
    free: NDArray[np.bool_],
) -> None:
    """Give every participant `size` images of the fold, in place, among those that are free."""
    complete = (exposures >= _ENOUGH).sum(axis=0)
    common = np.flatnonzero(shared & (complete > 0) & (fold == "train") & free)
    common = common[np.lexsort((draw[common], -complete[common]))]
    already = int((shared & (complete > 0) & (fold == name)).sum())
    fold[common[: max(0, size - already)]] = name

    seen = exposures > 0
    for participant in range(len(exposures)):
        held = (seen & (fold == name)).sum(axis=1)
        candidates = np.flatnonzero(seen[participant] & (fold == "train") & free)
        # An image that another participant with a full fold also saw would overfill that fold.
        crowded = seen[held >= size].any(axis=0)
        order = np.lexsort(
            (
                draw[candidates],
                ~shared[candidates],
                crowded[candidates],
                -np.minimum(exposures[participant, candidates], _ENOUGH),
            )
        )
        missing = max(0, size - int(held[participant]))
        fold[candidates[order[:missing]]] = name


@dataclass(frozen=True, eq=False)
class Rotation:
    """Groups of images that are tested in turn.

    Attributes
    ----------
    group : ndarray
        (I,) int, 0-based group of each image.
    count : int
        How many groups there are.
    unit : {"runs", "images"}
        Whether a group is all that some runs showed, or images that were drawn.
    runs : tuple of tuple of int
        Sessions of each group; empty where images were drawn.
    """

    group: NDArray[np.int64]
    count: int
    unit: Literal["runs", "images"]
    runs: tuple[tuple[int, ...], ...] = ()


def rotation_groups(
    images: Sequence[NDArray[np.integer]],
    sessions: Sequence[NDArray[np.integer]],
    n_images: int,
    *,
    seed: int,
    settled: NDArray[np.integer] | None = None,
    labels: Sequence[str] | None = None,
) -> Rotation:
    """Assign every image to a rotation group, the same for all participants.

    Where each image was shown in one session alone, the same for all participants, as in block
    designs, groups are consecutive sessions (at most 12 groups of about as many sessions), so
    that what a scanner run has of its own never tells a test trial from its neighbours. A group
    then holds sessions of every participant. Else, or where fewer than three such groups can be
    made, images are drawn into five groups that are balanced for each participant.

    Parameters
    ----------
    images, sessions : sequence of ndarray
        For each participant (N,) the image and the session of each trial.
    n_images : int
        I; the images' order is part of the input: give them sorted by key.
    seed : int
        Seed of the draw.
    settled : ndarray, optional
        (I,) groups that images have already and keep; -1 where one is to be found. A session that
        every participant has and of which nothing is settled becomes a group of its own while
        there are fewer than 12; else it goes to the group of the fewest images.
    labels : sequence of str, optional
        Names of the participants, for errors.

    Returns
    -------
    Rotation

    Raises
    ------
    ValueError
        An image was not shown, or a participant saw too few images to have some in every group;
        where some are settled, in three groups.
    """
    settled = np.full(n_images, _UNSETTLED) if settled is None else np.asarray(settled)
    names = participant_names(labels, len(images))
    session_of = _sessions_of_images(images, sessions, n_images)
    rotation = None
    if session_of is not None:
        rotation = _groups_of_runs(session_of, [np.unique(each) for each in sessions], settled)
    if rotation is None:
        seen = np.zeros((len(images), n_images), dtype=bool)
        for row, shown in enumerate(images):
            seen[row, shown] = True
        rotation = _groups_of_images(seen, settled, seed)
    fresh = bool((settled == _UNSETTLED).all())
    needed = rotation.count if fresh else _FEWEST_GROUPS
    for name, shown in zip(names, images, strict=True):
        held = len(np.unique(rotation.group[shown]))
        if held < needed:
            raise ValueError(
                f"{name} saw {len(np.unique(shown))} images, which fill {held} of the "
                f"{rotation.count} groups that are tested in turn: {needed} are needed"
            )
    return rotation


def rotated_folds(
    rotation: Sequence[int], group: int, validation_group: int | None = None
) -> list[str]:
    """Folds of one rotation: one group tests, one validates, all others train.

    Parameters
    ----------
    rotation : sequence of int
        Group of each of I stimuli, as `rotation_groups` and the catalog have it.
    group : int
        The group to test.
    validation_group : int, optional
        By default the next group that there is, after the last the first.

    Returns
    -------
    list of str
        I of ``"train"``, ``"validation"`` or ``"test"``.

    Raises
    ------
    ValueError
        There is no such group, the two are one, or there are fewer than three groups.
    """
    groups = sorted(set(rotation))
    if len(groups) < _FEWEST_GROUPS:
        raise ValueError(f"{len(groups)} rotation groups are too few: {_FEWEST_GROUPS} are needed")
    for wanted in (group, *([] if validation_group is None else [validation_group])):
        if wanted not in groups:
            raise ValueError(f"no stimulus is of rotation group {wanted}: there are {groups}")
    if validation_group is None:
        validation_group = groups[(groups.index(group) + 1) % len(groups)]
    if validation_group == group:
        raise ValueError(f"rotation group {group} cannot both test and validate")
    fold_of = {group: "test", validation_group: "validation"}
    return [fold_of.get(each, "train") for each in rotation]


def _sessions_of_images(
    images: Sequence[NDArray[np.integer]], sessions: Sequence[NDArray[np.integer]], n_images: int
) -> NDArray[np.int64] | None:
    """(I,) the one session that showed each image; None where some image has several."""
    shown, session = np.concatenate(images), np.concatenate(sessions)
    never = n_images - len(np.unique(shown))
    if never:
        raise ValueError(f"{never} of {n_images} images were shown to nobody")
    found = np.empty(n_images, dtype=np.int64)
    found[shown] = session
    return found if np.array_equal(found[shown], session) else None


def _groups_of_runs(
    session_of: NDArray[np.int64], present: list[NDArray[np.int64]], settled: NDArray[np.integer]
) -> Rotation | None:
    """Groups of consecutive sessions; None where too few can be made, or others are settled."""
    group_of: dict[int, int] = {}
    if (settled == _UNSETTLED).all():
        units = _units_of_all(present)
        if len(units) < _FEWEST_RUN_GROUPS:
            return None
        parts = np.array_split(np.arange(len(units)), min(len(units), _MOST_RUN_GROUPS))
        for group, part in enumerate(parts):
            group_of |= {session: group for unit in part for session in units[unit]}
    else:
        for session in np.unique(session_of[settled != _UNSETTLED]).tolist():
            of_session = np.unique(settled[(session_of == session) & (settled != _UNSETTLED)])
            if len(of_session) > 1:
                return None
            group_of[session] = int(of_session[0])
        if len(set(group_of.values())) < _FEWEST_RUN_GROUPS:
            return None
        size = np.bincount(settled[settled != _UNSETTLED]).tolist()
        for session in sorted(set(session_of.tolist()) - set(group_of)):
            of_all = all(session in each for each in present)
            if of_all and len(size) < _MOST_RUN_GROUPS:
                size.append(0)
                group_of[session] = len(size) - 1
            else:
                group_of[session] = int(np.argmin(size))
            size[group_of[session]] += int((session_of == session).sum())
    groups = np.array([group_of[session] for session in session_of.tolist()])
    count = int(groups.max()) + 1
    runs = tuple(
        tuple(sorted(session for session, of in group_of.items() if of == group))
        for group in range(count)
    )
    return Rotation(groups, count, "runs", runs)


def _units_of_all(present: list[NDArray[np.int64]]) -> list[list[int]]:
    """Consecutive sessions, as few together as hold some of every participant."""
    units: list[list[int]] = []
    unit: list[int] = []
    for session in np.unique(np.concatenate(present)).tolist():
        unit.append(session)
        if all(np.isin(unit, each).any() for each in present):
            units.append(unit)
            unit = []
    if units:
        units[-1] += unit
    return units


def _groups_of_images(seen: NDArray[np.bool_], settled: NDArray[np.integer], seed: int) -> Rotation:
    """Five groups of images, or as many as are settled, drawn so that each participant's fill."""
    count = max(_IMAGE_GROUPS, int(settled.max(initial=_UNSETTLED)) + 1)
    group = settled.astype(np.int64)
    held = np.array([(seen & (group == each)).sum(axis=1) for each in range(count)])
    size = np.array([(group == each).sum() for each in range(count)])
    for image in np.random.default_rng(seed).permutation(seen.shape[1]):
        if group[image] == _UNSETTLED:
            # First where those who saw it have the least, then where there is the least of all.
            least = int(np.lexsort((size, held[:, seen[:, image]].sum(axis=1)))[0])
            group[image] = least
            held[least] += seen[:, image]
            size[least] += 1
    return Rotation(group, count, "images")

"""Which orders of the stimuli a permutation test may draw, chosen from the order they came in."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import lgamma
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

# The order counts as not random where p is at most so much.
_LEVEL = 0.01
# Principal axes that likeness is measured along: what stimuli have in common lies on the first.
_AXES = 64
# Parts of a finding that are asked how likely they fall in their places by chance.
_MAX_PARTS = 5

Floats = NDArray[np.float64]
Kind = Literal["free", "shift", "within_run"]


@dataclass(frozen=True)
class OrderScheme:
    """How labels of trials are exchanged under the null hypothesis.

    Attributes
    ----------
    kind : {"free", "shift", "within_run"}
        Stimuli are permuted among each other, all trials of one together; each run's labels are
        shifted along it by a number of trials of its own, in a circle; or labels are permuted
        among what each run shows, all trials of a stimulus in the run together.
    reason : str
        Why, in one line.
    """

    kind: Kind
    reason: str


def choose_order_scheme(
    vectors: NDArray[np.floating],
    image: NDArray[np.integer],
    run: NDArray[np.integer],
    *,
    seed: int,
    training_image: NDArray[np.integer] | None = None,
    permutations: int = 199,
) -> OrderScheme:
    """How to permute a test fold, by what it shows and in which order.

    Responses of trials near each other in time are alike whatever is shown, and so are
    predictions. Where stimuli that follow each other are alike as well, both are smooth in time,
    and permuted stimuli, which are not, follow predictions less often than chance does: 0.10 to
    0.18 of p lie below 0.05. Shifted labels keep the order of stimuli, and with it their
    smoothness. Where stimuli come in random order no smoothness of the predictions matters, and
    free permutations, of which there are more, are used.

    Stimuli count as not in random order where, among trials of one run, those that follow each
    other are more alike (mean cosine of centred vectors, over pairs of different stimuli) than
    in shuffled orders of the run; or where the trials of one run are more alike than in shuffled
    orders of all trials, as when each run has a topic of its own.

    Where every test stimulus was trained on, as the categories of a block design are, and each
    run shows two of them or more, labels are exchanged within runs. Of 8 categories that are
    permuted as such, one that a component alone answers falls in its own place in 1 of 8 orders,
    so p could never be small; what repeats are the runs. With stimuli that were never trained on
    this would not be a test of what is asked: a brain may tell them apart, in every run, and the
    decoder still place them wrongly, which is what permuted stimuli allow for. A decoder that
    was trained on these very stimuli has no such freedom: its prediction follows the stimulus'
    own vector, or is flat along the component.

    Parameters
    ----------
    vectors : ndarray
        (I, D) vectors of distinct stimuli; stimuli of equal vectors count as one.
    image : ndarray
        (N,) row of `vectors` that each test trial showed, in the order of the trials.
    run : ndarray
        (N,) the trials' runs; trials of a run follow each other in time.
    seed : int
    training_image : ndarray, optional
        Rows of `vectors` that the decoder was trained on.
    permutations : int
        Shuffled orders, at least 99.

    Returns
    -------
    OrderScheme

    Raises
    ------
    ValueError
        Where shapes do not match, rows lie outside the vectors, or values are not finite.
    """
    vectors, image, run = np.asarray(vectors), np.asarray(image), np.asarray(run)
    _check(vectors, image, run)
    if permutations < 99:
        raise ValueError(f"permutations must be at least 99, not {permutations}")
    distinct, row_of = np.unique(vectors, axis=0, return_inverse=True)
    row_of = row_of.ravel()
    label = row_of[image]
    shown, label = np.unique(label, return_inverse=True)
    label = label.ravel()
    runs, run = np.unique(run, return_inverse=True)
    run = run.ravel()
    if training_image is not None:
        known = np.isin(shown, row_of[np.asarray(training_image)])
        together = np.zeros((len(runs), len(shown)), dtype=bool)
        together[run, label] = True
        if known.all() and (together.sum(axis=1) >= 2).all():
            return OrderScheme(
                "within_run",
                f"labels are exchanged within runs: all {len(shown)} test stimuli were trained "
                "on, as categories are",
            )
    unit = _on_axes(_unit(distinct[shown]))
    generator = np.random.default_rng(seed)
    following = _order_p(unit, label, run, permutations, generator)
    if following is not None and following <= _LEVEL:
        return OrderScheme(
            "shift",
            "labels are shifted within runs: stimuli that follow each other are more alike than "
            f"in random order (p = {following:.2g})",
        )
    grouped = _grouping_p(unit, label, run, permutations, generator)
    if grouped is not None and grouped <= _LEVEL:
        return OrderScheme(
            "shift",
            "labels are shifted within runs: stimuli of one run are more alike than those of "
            f"different runs (p = {grouped:.2g})",
        )
    if following is None and grouped is None:
        return OrderScheme(
            "free", "stimuli are permuted freely: runs are too short to tell their order"
        )
    likeness = {"of trials in a row": following, "of trials of a run": grouped}
    told = ", ".join(f"{what} {p:.2g}" for what, p in likeness.items() if p is not None)
    return OrderScheme(
        "free", f"stimuli are permuted freely: their order looks random (p of likeness {told})"
    )


def permuted_labels(
    scheme: OrderScheme,
    image: NDArray[np.integer],
    run: NDArray[np.integer],
    permutations: int,
    seed: int,
) -> Iterator[NDArray[np.int64]]:
    """Labels of the trials under the null hypothesis, one array for each permutation.

    Parameters
    ----------
    scheme : OrderScheme
    image : ndarray
        (N,) labels.
    run : ndarray
        (N,) the trials' runs, of no matter for "free".
    permutations : int
        P.
    seed : int

    Yields
    ------
    ndarray
        (N,) each label as often as in `image`, but "free" exchanges labels that differ in the
        number of their trials, and "within_run" those that differ in it within a run.
    """
    image, run = np.asarray(image, dtype=np.int64), np.asarray(run)
    if image.ndim != 1 or run.shape != image.shape:
        raise ValueError(f"images of shape {image.shape} and runs {run.shape} do not match")
    generator = np.random.default_rng(seed)
    if scheme.kind == "free":
        names, label = np.unique(image, return_inverse=True)
        for _ in range(permutations):
            yield names[generator.permutation(len(names))][label]
    elif scheme.kind == "shift":
        places = [np.flatnonzero(run == each) for each in np.unique(run)]
        for _ in range(permutations):
            labels = np.empty_like(image)
            for place in places:
                labels[place] = np.roll(image[place], generator.integers(len(place)))
            yield labels
    else:
        unit, unit_image, unit_run = units_within_runs(image, run)
        places = [np.flatnonzero(unit_run == each) for each in np.unique(unit_run)]
        for _ in range(permutations):
            labels = np.empty_like(unit_image)
            for place in places:
                labels[place] = unit_image[generator.permutation(place)]
            yield labels[unit]


def units_within_runs(
    image: NDArray[np.integer], run: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """What "within_run" exchanges: the trials of one label in one run.

    Returns
    -------
    unit : ndarray
        (N,) the unit of each trial.
    image, run : ndarray
        (U,) label and number of the run of each unit, runs in rising order.
    """
    numbered = np.unique(run, return_inverse=True)[1].ravel()
    pairs, unit = np.unique(np.stack([numbered, image], axis=1), axis=0, return_inverse=True)
    return unit.ravel().astype(np.int64), pairs[:, 1].astype(np.int64), pairs[:, 0].astype(np.int64)


def too_few_orders(
    scheme: OrderScheme, image: NDArray[np.integer], run: NDArray[np.integer], level: float
) -> str | None:
    """Why nothing can be found with so few orders; None where they are enough."""
    smallest = float(np.exp(-log_orders(scheme, image, run)))
    if smallest <= level * (1 + 1e-9):
        return None
    what = {
        "free": f"{len(np.unique(image))} distinct test images are too few",
        "shift": "test runs are too short to shift labels within them",
        "within_run": "test runs are too few to exchange labels within them",
    }[scheme.kind]
    return f"{what}: p cannot reach {level:g}"


def log_orders(scheme: OrderScheme, image: NDArray[np.integer], run: NDArray[np.integer]) -> float:
    """Natural logarithm of how many orders a scheme can draw: p cannot be below one over it."""
    if scheme.kind == "free":
        return lgamma(len(np.unique(image)) + 1)
    if scheme.kind == "shift":
        return float(np.log(np.unique(run, return_counts=True)[1]).sum())
    _, _, unit_run = units_within_runs(image, run)
    return sum(lgamma(count + 1) for count in np.bincount(unit_run).tolist())


def coincidence(parts: Floats, log_chance: Floats | None, r: Floats, deviation: Floats) -> Floats:
    """How likely a correlation is that rests on few of its parts falling in their places.

    A fitted tail sees the bulk of the null. Where a component answers one or two stimuli, the
    finding rests on these alone, and the null has an end that few permutations show: all in
    their places, by chance. With the m parts that add most to r in place, and the others
    anywhere, r is reached with the chance that a normal deviate exceeds what is missing; the
    product with the chance of the m places, the largest for m of 1 to 5, is a p that no fit
    should go below.

    Parameters
    ----------
    parts : ndarray
        (U, K) what each part adds to r.
    log_chance : ndarray or None
        (U,) logarithm of the chance that a part is in its place, parts apart from each other;
        None where U parts are permuted freely.
    r : ndarray
        (K,) sum of the parts.
    deviation : ndarray
        (K,) standard deviation of r under the null hypothesis.

    Returns
    -------
    ndarray
        (K,) in (0, 1]; NaN where r is.
    """
    count = min(_MAX_PARTS, len(parts))
    largest = np.argsort(-parts, axis=0, kind="stable")[:count]
    together = np.cumsum(np.take_along_axis(parts, largest, axis=0), axis=0)
    if log_chance is None:
        number = np.arange(1, count + 1)
        log_place = -np.array([_log_choose(len(parts), int(m)) for m in number])[:, None]
    else:
        log_place = np.cumsum(log_chance[largest], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        missing = (r - together) / deviation
    return np.asarray(np.exp((log_place + log_ndtr(-missing)).max(axis=0)))


def _log_choose(count: int, chosen: int) -> float:
    return lgamma(count + 1) - lgamma(chosen + 1) - lgamma(count - chosen + 1)


def _order_p(
    unit: Floats,
    label: NDArray[np.integer],
    run: NDArray[np.integer],
    permutations: int,
    generator: np.random.Generator,
) -> float | None:
    """p of the likeness of stimuli that follow each other, against orders shuffled within runs."""
    order = np.argsort(run, kind="stable")
    label, run = label[order], run[order]
    same_run = run[1:] == run[:-1]
    if np.bincount(run).max() < 3:
        return None

    def likeness(labels: NDArray[np.integer]) -> float:
        pairs = np.flatnonzero(same_run & (labels[1:] != labels[:-1]))
        if len(pairs) == 0:
            return np.nan
        first, second = unit[labels[pairs]], unit[labels[pairs + 1]]
        return float(np.einsum("pd,pd->", first, second) / len(pairs))

    def shuffled() -> NDArray[np.integer]:
        # Trials are ordered by run, and by a random key within it.
        return label[np.lexsort((generator.random(len(label)), run))]

    return _p_of(likeness(label), [likeness(shuffled()) for _ in range(permutations)])


def _grouping_p(
    unit: Floats,
    label: NDArray[np.integer],
    run: NDArray[np.integer],
    permutations: int,
    generator: np.random.Generator,
) -> float | None:
    """p of the likeness of stimuli within runs, against trials shuffled over all runs."""
    order = np.argsort(run, kind="stable")
    label, run = label[order], run[order]
    size = np.bincount(run)
    if len(size) < 2 or size.max() < 2:
        return None
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    square = np.einsum("id,id->i", unit, unit)

    def likeness(labels: NDArray[np.integer]) -> float:
        together = np.add.reduceat(unit[labels], first, axis=0)
        shown = np.zeros((len(size), len(unit)))
        np.add.at(shown, (run, labels), 1)
        pairs = float((size**2).sum() - (shown**2).sum())
        if pairs == 0:
            return np.nan
        return float((np.square(together).sum() - (shown**2 @ square).sum()) / pairs)

    nulls = [likeness(label[generator.permutation(len(label))]) for _ in range(permutations)]
    return _p_of(likeness(label), nulls)


def _p_of(observed: float, null: list[float]) -> float | None:
    """Counted p; None where there was nothing to compare."""
    values = np.array(null)
    if not np.isfinite(observed) or not np.isfinite(values).all():
        return None
    return float((1 + (values >= observed - 1e-9).sum()) / (1 + len(values)))


def _unit(rows: NDArray[np.floating]) -> Floats:
    """Rows less their mean, at length 1; one at the mean stays 0."""
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 0))


def _on_axes(unit: Floats) -> Floats:
    """Coordinates on the first principal axes, of which cosines are nearly the same."""
    if unit.shape[1] <= _AXES:
        return unit
    axes = np.linalg.eigh(unit.T @ unit)[1][:, -_AXES:]
    return np.asarray(unit @ axes)


def _check(
    vectors: NDArray[np.floating], image: NDArray[np.integer], run: NDArray[np.integer]
) -> None:
    if vectors.ndim != 2 or image.ndim != 1 or run.shape != image.shape or len(image) == 0:
        raise ValueError(
            f"vectors {vectors.shape}, images {image.shape} and runs {run.shape} do not match"
        )
    if image.min() < 0 or image.max() >= len(vectors):
        raise ValueError(f"images reach outside the {len(vectors)} vectors")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors hold values that are not finite")

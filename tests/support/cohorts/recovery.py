"""What was found, held against what was planted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.science.metrics import auc
from tests.support.cohorts.records import PlantedCohort
from tests.support.cohorts.stimuli import standard, unit

PLANTED_R = 0.8
"""Of scores over stimuli: a mixture of two in equal parts reaches 0.71."""
GOOD_AUC = 0.9
PARTICIPANTS = 0.75
_PENALTIES = 10.0 ** np.arange(-3, 3.1, 0.5)
_RANDOM = 1000


def carried_directions(cohort: PlantedCohort) -> NDArray[np.float64]:
    """(C, D) unit directions in which responses that carry the planted drives move predictions.

    Let Y be the centred targets and Z the planted drives over all stimuli. What can be predicted
    of Y from Z is Z B, with B (C, D) by least squares. Within the span of B the direction of
    concept c is the least-squares solution of Z B w = z_c: predictions along it are the drive of
    this concept and of no other. It is the one that decoders and components can find. The
    concept's anchor is not: targets of stimuli that show it differ also in what goes with it. The
    regression of z_c on Y alone (`regression_directions`) leans on dimensions of so little
    variance that no response tells them.
    """
    drive = standard(cohort.drive.astype(np.float64))
    pattern = np.linalg.lstsq(drive, _centred(cohort), rcond=None)[0]
    return unit(np.linalg.pinv(pattern, rcond=1e-8).T)


def regression_directions(cohort: PlantedCohort) -> NDArray[np.float64]:
    """(C, D) unit least-squares directions that tell each drive from the centred targets.

    With a ridge penalty for each concept, the best by leaving out one stimulus at a time: there
    are few stimuli for the dimensions.
    """
    drive = standard(cohort.drive.astype(np.float64))
    left, scale, right = np.linalg.svd(_centred(cohort), full_matrices=False)
    along = left.T @ drive
    best = np.full(drive.shape[1], np.inf)
    weights = np.zeros((drive.shape[1], right.shape[1]))
    for penalty in _PENALTIES:
        shrunk = scale**2 / (scale**2 + penalty)
        leverage = (left**2) @ shrunk + 1 / len(left)
        left_out = (drive - left @ (shrunk[:, None] * along)) / (1 - leverage)[:, None]
        error = (left_out**2).mean(axis=0)
        better = error < best
        best = np.minimum(best, error)
        # Of singular values of 0 nothing is known.
        inverse = np.divide(shrunk, scale, out=np.zeros_like(scale), where=scale > 1e-9 * scale[0])
        weights[better] = (right.T @ (inverse[:, None] * along)).T[better]
    return unit(weights)


def recovery(
    cohort: PlantedCohort,
    components: NDArray[np.floating],
    masks: Sequence[NDArray[np.floating]] | None = None,
) -> dict[str, Any]:
    """Judge components and their soft masks against the truth.

    A component is a planted concept where it puts the stimuli in nearly the order that the carried
    direction does: by the correlation of the stimuli's scores along both. Their cosine depends as
    much on dimensions in which stimuli hardly differ, of which no response tells anything.

    Cosines are taken in the space centred by the mean of the targets, so that a component's part
    along this mean, which is the same for all stimuli, is left out.

    Parameters
    ----------
    cohort : PlantedCohort
    components : ndarray
        (K, D) directions, of any length.
    masks : sequence of ndarray, optional
        For each participant (K, V), larger where a voxel is rather a member.

    Returns
    -------
    dict
        ``concepts``: for each concept ``name``, ``shared``, its nearest ``component``, ``cosine``
        (to the carried direction), ``cosine_regression`` and ``cosine_anchor`` of that component,
        ``score_r`` (correlation over stimuli of the scores along both, by which the nearest is
        the nearest), ``auc`` by participant (NaN for one who does not carry it), and ``found``:
        ``score_r`` at least 0.8 and an AUC of at least 0.9 in three quarters of the carriers (None
        without masks).
        ``components``: for each component ``concept`` (the nearest), ``score_r``, ``cosine``,
        ``cosine_anchor`` and ``planted``, whether ``score_r`` is at least 0.8.
        ``chance``: the 95th percentile of the largest cosine that random directions of the
        stimuli's covariance have to any concept.
    """
    mean = unit(cohort.vectors.astype(np.float64).mean(axis=0))
    found = _without(components.astype(np.float64), mean)
    to = {
        "cosine": carried_directions(cohort),
        "cosine_regression": regression_directions(cohort),
        "cosine_anchor": cohort.directions.astype(np.float64),
    }
    cosines = {name: found @ _without(rows, mean).T for name, rows in to.items()}
    targets = _centred(cohort)
    score_r = standard(targets @ found.T).T @ standard(targets @ to["cosine"].T) / len(targets)
    concepts = []
    for row, name in enumerate(cohort.concepts):
        nearest = int(score_r[:, row].argmax())
        aucs = None if masks is None else _aucs(cohort, masks, row, nearest)
        concepts.append(
            {
                "name": name,
                "shared": bool(cohort.shared[row]),
                "component": nearest,
                **{kind: float(values[nearest, row]) for kind, values in cosines.items()},
                "score_r": float(score_r[nearest, row]),
                "auc": aucs,
                "found": _is_found(float(score_r[nearest, row]), aucs),
            }
        )
    told = []
    for row, correlated in enumerate(score_r):
        best = int(correlated.argmax())
        told.append(
            {
                "concept": cohort.concepts[best],
                "score_r": float(correlated[best]),
                "cosine": float(cosines["cosine"][row, best]),
                "cosine_anchor": float(cosines["cosine_anchor"][row, best]),
                "planted": bool(correlated[best] >= PLANTED_R) and not cohort.shuffled,
            }
        )
    rng = np.random.default_rng(0)
    random = _without(rng.standard_normal((_RANDOM, len(targets))) @ targets, mean)
    largest = (random @ _without(to["cosine"], mean).T).max(axis=1)
    return {
        "concepts": concepts,
        "components": told,
        "chance": float(np.quantile(largest, 0.95)),
    }


def readout(cohort: PlantedCohort, penalty: float = 0.3) -> NDArray[np.float64]:
    """(S, C) test r of each planted drive, read from its own voxels by ridge regression.

    How much there is to be found, whoever looks for it: single trials, fitted on training trials
    with the planted voxels known. NaN where a participant does not carry the concept.

    Parameters
    ----------
    penalty : float
        Times the number of training trials.
    """
    told = np.full((len(cohort.participants), len(cohort.concepts)), np.nan)
    for number, one in enumerate(cohort.participants):
        train, test = cohort.trials(number, "train"), cohort.trials(number, "test")
        for concept in np.flatnonzero(one.carries):
            members = one.planted[concept]
            x, y = one.x[train][:, members], cohort.drive[one.image[train], concept]
            gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
            read = one.x[test][:, members] @ np.linalg.solve(gram, x.T @ y)
            told[number, concept] = np.corrcoef(read, cohort.drive[one.image[test], concept])[0, 1]
    return told


def _centred(cohort: PlantedCohort) -> NDArray[np.float64]:
    targets = cohort.vectors.astype(np.float64)
    return np.asarray(targets - targets.mean(axis=0))


def _without(rows: NDArray[np.float64], direction: NDArray[np.floating]) -> NDArray[np.floating]:
    """Unit rows, their part along a direction taken off."""
    return unit(rows - np.outer(rows @ direction, direction))


def _aucs(
    cohort: PlantedCohort, masks: Sequence[NDArray[np.floating]], concept: int, component: int
) -> list[float]:
    return [
        float(auc(np.asarray(mask)[component][:, None], one.planted[concept])[0])
        for one, mask in zip(cohort.participants, masks, strict=True)
    ]


def _is_found(score_r: float, aucs: list[float] | None) -> bool | None:
    if aucs is None:
        return None
    carried = [value for value in aucs if not np.isnan(value)]
    enough = sum(value >= GOOD_AUC for value in carried) >= np.ceil(PARTICIPANTS * len(carried))
    return bool(carried) and score_r >= PLANTED_R and bool(enough)

"""The radius of a clustering, chosen without any truth: what its clusters tell beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.neighbours import unit_rows

# The paper tried 0.45 to 0.7. The more decoders are averaged, the nearer voxels lie, so that the
# best radius can be a smaller one, and patterns lie nearer still; small radii have few core points,
# and cost little.
GRID = tuple(round(0.1 + 0.025 * step, 3) for step in range(25))
# References drawn, and the fixed seed of their draws: a run's own seed has no say in eps.
DRAWS = 3
SEED = 0
# Principal axes that are mixed with each other. Fewer leave participants' axes where they were
# too often, more give them variances that they do not have: on decoders of shuffled stimuli 8
# give as many core points as there are, 16 half of them (docs/method.md).
_AXES = 8
# A cluster of more voxels than that does not say where a concept lies.
_LARGEST = 0.5


@dataclass(frozen=True)
class RadiusScore:
    """What the clusters of one radius tell.

    Attributes
    ----------
    eps : float
    clusters : int
    members : float
        Share of all points that are in a cluster.
    largest : float
        Share of all points that are in the largest cluster.
    chance : float or None
        Core points of the reference for each that there is, at most 1; None where there is none.
    score : float
        Bits, as `score_radius` says.
    """

    eps: float
    clusters: int
    members: float
    largest: float
    chance: float | None
    score: float


def score_radius(
    eps: float,
    size: NDArray[np.integer],
    centroids: NDArray[np.floating],
    points: int,
    cores: int,
    reference: float,
) -> RadiusScore:
    """Judge a radius by its clusters.

    The score says how many bits the clustering tells of a point: the entropy of its label, where
    all points that are in no cluster have one label, and clusters count as different as their
    centroids are (Leinster & Cobbold's diversity of order 1, with the cosines above 0 as
    similarities). It is 0 where there is no cluster and where one takes all points, is less where
    clusters merge, and hardly more where one is split.

    Core points that unrelated participants would have too count against it as much as all others
    count for it: the entropy is taken ``1 - 2 * chance`` times, and is 0 where every other core
    point is chance. It is 0, too, where one cluster takes more than half of the points.

    Parameters
    ----------
    eps : float
    size : ndarray
        (K,) points of each cluster; a point counts for one.
    centroids : ndarray
        (K, D) of length 1, or 0 where a cluster's points have no mean direction.
    points : int
        Points in all.
    cores : int
        Core points.
    reference : float
        Core points of participants that have nothing in common, the mean over references.

    Returns
    -------
    RadiusScore

    References
    ----------
    Leinster & Cobbold 2012 (Ecology 93, 477), diversity with similarities.
    """
    share = size / points
    rest = 1 - float(share.sum())
    alike = np.clip(centroids @ centroids.T, 0, 1)
    np.fill_diagonal(alike, 1)
    entropy = -float((share * np.log2(alike @ share)).sum())
    if rest > 0:
        entropy -= rest * float(np.log2(rest))
    largest = float(share.max(initial=0))
    # One more than were seen: of few core points even none in the reference says little.
    chance = min(1.0, (1 + reference) / cores) if cores else None
    beyond = max(0.0, 1 - 2 * chance) if chance is not None and largest <= _LARGEST else 0.0
    return RadiusScore(
        eps=eps,
        clusters=len(size),
        members=float(share.sum()),
        largest=largest,
        chance=chance,
        score=max(0.0, entropy * beyond),
    )


def best_radius(curve: Sequence[RadiusScore]) -> RadiusScore | None:
    """The radius of the highest score, the smallest of equals; None where no score is above 0."""
    best = max(curve, key=lambda each: (each.score, -each.eps), default=None)
    return best if best is not None and best.score > 0 else None


def unrelate(
    points: NDArray[np.float64], parts: Sequence[slice], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Turn each participant's points so that they have nothing in common with others' points.

    Within a participant all cosines stay as they are, and with them how dense its points lie. It
    is turned among principal axes of all participants' points, each within a group of similar
    variance, so that points of different participants are near as often as points of such
    variances are by chance: decoders' weights span few directions, and are near more often than
    random vectors of D dimensions.

    Parameters
    ----------
    points : ndarray
        (P, D), as `flows.science.neighbours.unit_rows` gives them.
    parts : sequence of slice
        Rows of each participant.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        (P, D) points in the coordinates of the axes, as `unit_rows` gives them.
    """
    moment = np.mean([points[part].T @ points[part] / len(points[part]) for part in parts], axis=0)
    axes = np.linalg.eigh(moment)[1][:, ::-1]
    turned = np.empty_like(points)
    for part in parts:
        turn = axes.copy()
        for start in range(0, axes.shape[1], _AXES):
            group = slice(start, start + _AXES)
            turn[:, group] = axes[:, group] @ _rotation(turn[:, group].shape[1], rng)
        turned[part] = unit_rows("turned points", points[part] @ turn)
    return turned


def _rotation(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """An orthogonal matrix, uniform among all (Stewart 1980, SIAM J. Numer. Anal. 17, 403)."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    return np.asarray(q * np.sign(np.diag(r)))

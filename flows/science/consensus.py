"""What several random starts find alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage


@dataclass(frozen=True, eq=False)
class Consensus:
    """Directions that enough starts found.

    Attributes
    ----------
    directions : ndarray
        (K, D) float32 unit rows, the most often found first.
    recurrence : ndarray
        (K,) share of the starts that found each.
    member : ndarray
        (starts, L) which direction each start's rows belong to, -1 for none.
    """

    directions: NDArray[np.float32]
    recurrence: NDArray[np.float64]
    member: NDArray[np.int64]

    def mean_of(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """(K,) mean of some values (starts, L) over each direction's rows."""
        return np.array(
            [values[self.member == each].mean() for each in range(len(self.directions))],
            dtype=np.float64,
        )


def agree_on_directions(
    rows: NDArray[np.floating],
    *,
    alike: float,
    recurrence: float,
    usable: NDArray[np.bool_] | None = None,
) -> Consensus:
    """Join the directions that starts have in common.

    Rows of all starts are clustered by average linkage up to a mean cosine of `alike`; a cluster
    that enough starts have a row in is one direction, the mean of its rows. Directions that are
    still alike are joined as well: near-doubles are one.

    Parameters
    ----------
    rows : ndarray
        (starts, L, D) unit rows. With a single start each row is a direction of its own.
    alike : float
        In (0, 1).
    recurrence : float
        Share of the starts that must have found a direction.
    usable : ndarray, optional
        (starts, L) rows that count; all where not given.

    Returns
    -------
    Consensus
        None where too few starts agree on any.
    """
    starts, count = rows.shape[:2]
    counts = np.ones((starts, count), dtype=bool) if usable is None else usable
    flat = np.asarray(rows[counts], dtype=np.float64)
    of_start = np.repeat(np.arange(starts), count).reshape(starts, count)[counts]
    member = np.full((starts, count), -1)
    if starts == 1 or len(flat) < 2:
        # Of several starts one row alone is found again by none.
        flat = flat if starts == 1 else flat[:0]
        member[counts] = np.arange(len(flat)) if starts == 1 else -1
        return Consensus(flat.astype(np.float32), np.ones(len(flat)), member)
    cluster = fcluster(linkage(flat, "average", metric="cosine"), 1 - alike, "distance") - 1
    found = _enough(cluster, of_start, starts, recurrence)
    while len(found) > 1:
        centres = _means(flat, cluster, found)
        similarity = centres @ centres.T - 2 * np.eye(len(found))
        first, second = np.unravel_index(int(similarity.argmax()), similarity.shape)
        if similarity[first, second] < alike:
            break
        cluster[cluster == found[second]] = found[first]
        found = np.delete(found, second)
    share = np.array([len(np.unique(of_start[cluster == each])) / starts for each in found])
    order = np.argsort(-share, kind="stable")
    found, share = found[order], share[order]
    of = np.full(len(flat), -1)
    for number, each in enumerate(found):
        of[cluster == each] = number
    member[counts] = of
    return Consensus(_means(flat, cluster, found).astype(np.float32), share, member)


def _enough(
    cluster: NDArray[np.integer], of_start: NDArray[np.integer], starts: int, recurrence: float
) -> NDArray[np.integer]:
    """Clusters that enough starts have a row in."""
    pairs = np.unique(np.stack([cluster, of_start]), axis=1)[0]
    return np.flatnonzero(np.bincount(pairs) >= max(2, np.ceil(recurrence * starts - 1e-9)))


def _means(
    rows: NDArray[np.float64], cluster: NDArray[np.integer], of: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(len(of), D) unit means of some clusters' rows."""
    means = np.array([rows[cluster == each].mean(axis=0) for each in of]).reshape(
        len(of), rows.shape[1]
    )
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))

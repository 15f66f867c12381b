"""Average-linkage clustering, for the order in which components are listed."""

import numpy as np
from numpy.typing import NDArray


def leaf_order(vectors: NDArray[np.floating]) -> NDArray[np.intp]:
    """Order rows so that similar ones stand together.

    Agglomerative clustering with average linkage on the distance 1 - cosine; the order is
    that of the dendrogram's leaves, the cluster that was formed first (or, of two single
    rows, the smaller index) on the left of each join. Equal distances join in index order.

    Parameters
    ----------
    vectors : ndarray
        (K, D), rows of non-zero length.

    Returns
    -------
    ndarray
        (K,) row indices, a permutation.

    Raises
    ------
    ValueError
        Where there is no row, or a row has no direction (zero length or not finite).

    References
    ----------
    METHOD.md b; average linkage (UPGMA) by the Lance-Williams update.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"rows to cluster must be a (K, D) array of K >= 1, not {rows.shape}")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(length) & (length > 0)):
        raise ValueError("rows to cluster must be finite and of non-zero length")
    unit = rows / length
    count = len(unit)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)

    leaves = [[row] for row in range(count)]
    formed = list(range(count))
    for step in range(count - 1):
        a, b = sorted(divmod(int(distance.argmin()), count), key=formed.__getitem__)
        size_a, size_b = len(leaves[a]), len(leaves[b])
        merged = (size_a * distance[a] + size_b * distance[b]) / (size_a + size_b)
        merged[[a, b]] = np.inf
        distance[a] = distance[:, a] = merged
        distance[b] = distance[:, b] = np.inf
        leaves[a], leaves[b] = leaves[a] + leaves[b], []
        formed[a] = count + step
    return np.array(max(leaves, key=len), dtype=np.intp)


def average_linkage(vectors: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Clusters of vectors: the two nearest by mean distance, 1 - cosine, merge until few are left.

    Parameters
    ----------
    vectors : ndarray
        (K, D), none of length zero.
    count : int
        Clusters to leave, at most K.

    Returns
    -------
    ndarray
        (K,) cluster of each, numbered from 0 by first member.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = 1 - unit.astype(np.float64) @ unit.T
    np.fill_diagonal(distance, np.inf)
    size = np.ones(len(vectors))
    label = np.arange(len(vectors))
    for _ in range(len(vectors) - count):
        first, second = sorted(divmod(int(distance.argmin()), len(vectors)))
        merged = (size[first] * distance[first] + size[second] * distance[second]) / (
            size[first] + size[second]
        )
        merged[first] = np.inf
        distance[first], distance[:, first] = merged, merged
        distance[second], distance[:, second] = np.inf, np.inf
        size[first] += size[second]
        label[label == second] = first
    return np.unique(label, return_inverse=True)[1].ravel()

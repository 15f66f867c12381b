"""What a component is least like: the images and words farthest from it."""

import numpy as np
from numpy.typing import NDArray

from flows.science.neighbours import unit_rows


def least_similar(
    vectors: NDArray[np.floating], components: NDArray[np.floating], count: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the vectors of lowest cosine to each component: its negations.

    Images and words are ranked apart, by a call each: they lie on two cones of CLIP space, and
    of a common list one of the two would fill the end.

    Parameters
    ----------
    vectors : ndarray
        (M, D), of images or of words; none of length zero.
    components : ndarray
        (K, D): components or clusters' centroids; none of length zero.
    count : int
        n, from 1 to M.

    Returns
    -------
    index : ndarray
        (K, n) rows of `vectors`, the lowest cosine first; of equal ones the first row first.
    cosine : ndarray
        (K, n) their cosines, to about 1e-8.

    Raises
    ------
    ValueError
        Where dimensions differ, a row has no direction, or `count` is out of range.

    References
    ----------
    METHOD.md d; Efird et al. 2025 (arXiv 2405.17663), negations.
    """
    if vectors.ndim != 2 or components.ndim != 2 or vectors.shape[1] != components.shape[1]:
        raise ValueError(
            f"vectors of shape {vectors.shape} and components of shape {components.shape} "
            "do not share their dimension"
        )
    if not 1 <= count <= len(vectors):
        raise ValueError(f"count must lie between 1 and the {len(vectors)} vectors, not {count}")
    if len(components) == 0:
        return np.empty((0, count), dtype=np.intp), np.empty((0, count))
    # Exact products: rounding would order equal vectors anyhow.
    cosine = unit_rows("components", components) @ unit_rows("vectors", vectors).T
    index = np.argsort(cosine, axis=1, kind="stable")[:, :count]
    return index, np.take_along_axis(cosine, index, axis=1)

"""Taking each side's own mean off, so that texts and pictures can be compared.

The encoders trained to match texts with pictures put the two on separate narrow cones: the
*modality gap* (Liang et al. 2022, "Mind the Gap: Understanding the Modality Gap in Multi-modal
Contrastive Representation Learning", NeurIPS, section 2). Within a cone all cosines are high, and
between the cones a large part of every cosine is the same offset between the two means, which
says nothing about content but decides which vectors come out close to everything. With each
side's own mean taken off, what is left to compare is how a vector differs from others of its
side, and the cosine between sides ranks by content. The means are stored with the encoder.
"""

import numpy as np
from numpy.typing import NDArray

from app.embedding.encoder import Vectors, unit_rows
from app.errors import InputError


def mean_vector(vectors: NDArray[np.floating]) -> Vectors:
    """Average the directions of one side.

    Parameters
    ----------
    vectors : array (n, D)
        Texts alone or pictures alone, of one encoder.

    Returns
    -------
    array (D,), float32
        Mean of the unit rows; shorter than 1, and not scaled to 1: its length says how narrow
        the cone is.

    Raises
    ------
    InputError
        There is no row, or a row has no direction.
    """
    if len(vectors) == 0:
        raise InputError("no vectors to average", hint="give at least one")
    mean: Vectors = unit_rows(vectors).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def centre(vectors: NDArray[np.floating], mean: NDArray[np.floating]) -> Vectors:
    """Take a side's mean off its vectors.

    Parameters
    ----------
    vectors : array (n, D)
        Unit rows of one side.
    mean : array (D,)
        `mean_vector` of that side.

    Returns
    -------
    array (n, D), float32
        Unit rows of ``vectors - mean``.

    Raises
    ------
    InputError
        The lengths differ, or a row is the mean itself, so that nothing of it is left.
    """
    rows, offset = np.asarray(vectors, np.float64), np.asarray(mean, np.float64)
    if rows.ndim != 2 or offset.shape != rows.shape[1:]:
        raise InputError(
            f"a mean of shape {offset.shape} does not fit vectors of shape {rows.shape}",
            hint="vectors and mean must come from the same encoder",
        )
    rest = rows - offset
    # Float32 vectors that equal their mean differ from it by rounding, which is no direction.
    rest[np.linalg.norm(rest, axis=1) < 1e-6] = 0.0
    return unit_rows(rest, "centred vector")

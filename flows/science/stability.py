"""How far another seed finds the same components, in the same voxels."""

import numpy as np
from numpy.typing import NDArray

from flows.science.statistics import Floats, require_finite

NO_PARTNER = -1


def cosines(
    components: NDArray[np.floating], others: NDArray[np.floating], vectors: NDArray[np.floating]
) -> Floats:
    """(K, L) cosine of the scores along each component with those along each of another seed's.

    Components are told apart by what they say of stimuli. Of an encoder's dimensions there are
    some in which stimuli hardly differ: what two directions have there changes no score, yet may
    take the angle between them past 45 degrees. The cosine of scores is the directions' own with
    the stimuli's covariance as the measure; scores having no mean, it is their correlation.

    Parameters
    ----------
    components : ndarray
        (K, D) directions.
    others : ndarray
        (L, D) likewise.
    vectors : ndarray
        (I, D) stimuli; their mean is taken off. Stimuli of one vector count once.

    Returns
    -------
    ndarray
        In [-1, 1]; 0 of a direction along which stimuli do not differ.

    Raises
    ------
    ValueError
        Where dimensions differ, or a value is not finite.
    """
    shapes = [each.shape for each in (components, others, vectors)]
    if any(len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes):
        raise ValueError(
            "components {}, {} and vectors {} do not share their dimension".format(*shapes)
        )
    require_finite("components and vectors", components, others, vectors)
    distinct = np.unique(vectors, axis=0).astype(np.float64)
    if len(distinct):
        distinct -= distinct.mean(axis=0)
    own, again = (_unit_scores(distinct, rows) for rows in (components, others))
    # Rounding may take a cosine past 1.
    return np.clip(own.T @ again, -1, 1)


def overlaps(members: NDArray[np.bool_], others: NDArray[np.bool_]) -> Floats:
    """(K, L) Dice of each hard mask with each of another seed's, in one participant.

    Parameters
    ----------
    members : ndarray
        (K, V) bool; a mask that counts for nothing has no member.
    others : ndarray
        (L, V) likewise.

    Returns
    -------
    ndarray
        In [0, 1]; NaN where either mask has no member: nothing was measured there.

    Raises
    ------
    ValueError
        Where voxels differ.
    """
    if members.ndim != 2 or others.ndim != 2 or members.shape[1] != others.shape[1]:
        raise ValueError(f"masks {members.shape} and {others.shape} do not share their voxels")
    # Counts below 2**24 are exact in float32, and such products are quick.
    both = members.astype(np.float32) @ others.astype(np.float32).T
    size, other_size = members.sum(axis=1)[:, None], others.sum(axis=1)[None, :]
    measured = (size > 0) & (other_size > 0)
    total = np.where(measured, size + other_size, 1)
    return np.where(measured, 2.0 * both / total, np.nan)


def of_partners(table: Floats, partner: NDArray[np.integer]) -> Floats:
    """(K,) values of a (K, L) table at each row's partner; NaN where it has none."""
    found = np.full(len(table), np.nan)
    paired = np.flatnonzero(partner != NO_PARTNER)
    found[paired] = table[paired, partner[paired]]
    return found


def of_others(table: Floats, partner: NDArray[np.integer]) -> Floats:
    """(K,) mean of a (K, L) table over all but each row's partner; NaN where nothing is known."""
    paired = np.arange(table.shape[1]) == np.asarray(partner)[:, None]
    return mean_known(np.where(paired, np.nan, table), 1)


def mean_known(values: Floats, axis: int | tuple[int, ...] | None = None) -> Floats:
    """Mean over axes of what is not NaN; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _unit_scores(vectors: Floats, rows: NDArray[np.floating]) -> Floats:
    """(I, K) scores along directions, each column of length 1, or 0 where they do not differ."""
    scores = vectors @ rows.T.astype(np.float64)
    length = np.linalg.norm(scores, axis=0)
    # What rounding makes of stimuli that do not differ is no direction.
    told = length > 1e-9 * np.linalg.norm(vectors) * np.linalg.norm(rows, axis=1)
    return np.asarray(np.divide(scores, length, out=np.zeros_like(scores), where=told))

"""How far another seed finds the same components, in the same voxels."""

import numpy as np
from numpy.typing import NDArray

from flows.science.statistics import Floats, require_finite

NO_PARTNER = -1


def cosines(components: NDArray[np.floating], others: NDArray[np.floating]) -> Floats:
    """(K, L) cosine of each component with each of another seed's.

    Parameters
    ----------
    components : ndarray
        (K, D) directions, of any length above 0.
    others : ndarray
        (L, D) likewise.

    Raises
    ------
    ValueError
        Where dimensions differ, or a direction is zero or not finite.
    """
    if components.ndim != 2 or others.ndim != 2 or components.shape[1] != others.shape[1]:
        raise ValueError(
            f"components {components.shape} and {others.shape} do not share their dimension"
        )
    # Rounding may take a cosine past 1.
    return np.clip(_unit(components) @ _unit(others).T, -1, 1)


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


def _unit(rows: NDArray[np.floating]) -> Floats:
    require_finite("components", rows)
    length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not length.all():
        raise ValueError("a component of length 0 has no direction")
    return np.asarray(rows / length)

"""Checks of what decoders are fitted to, shared by every way to fit one."""

import numpy as np
import torch
from numpy.typing import NDArray


def check_responses(
    name: str, x: NDArray[np.floating], n_voxels: int | None = None
) -> NDArray[np.float32]:
    """Responses as a C-ordered float32 array that torch can share.

    Raises
    ------
    ValueError
        Where `x` is no (N, V) array, its V is not `n_voxels`, or values are not finite; the
        message starts with `name`.
    """
    if x.ndim != 2 or n_voxels not in (None, x.shape[1]):
        expected = "V" if n_voxels is None else n_voxels
        raise ValueError(f"{name} of shape {x.shape} is not (trials, {expected} voxels)")
    # torch warns about memory it must not write, such as that of a read-only map.
    x = np.require(x, np.float32, ["C", "W"])
    # One sum finds any NaN or infinity without a mask as large as the data.
    if not np.isfinite(x.sum(dtype=np.float64)):
        bad = ~np.isfinite(x)
        raise ValueError(
            f"{name} holds {int(bad.sum())} NaN or infinite values, in "
            f"{int(bad.any(axis=1).sum())} of {bad.shape[0]} trials and "
            f"{int(bad.any(axis=0).sum())} of {bad.shape[1]} voxels"
        )
    return x


def check_targets(
    fold: str, target: NDArray[np.integer], n_trials: int, y: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Rows of `y`, one a trial, that hold usable vectors.

    Raises
    ------
    ValueError
        Where `fold` has no trials, targets and trials do not match in number, a target is no
        row of `y`, or a vector it names is zero or not finite.
    """
    target = np.asarray(target)
    if n_trials == 0:
        raise ValueError(f"there are no {fold} trials")
    if target.shape != (n_trials,):
        raise ValueError(f"{n_trials} {fold} trials have targets of shape {target.shape}")
    if y.ndim != 2 or target.min() < 0 or target.max() >= len(y):
        raise ValueError(f"{fold} targets name rows outside the target vectors of shape {y.shape}")
    used = np.unique(target)
    length = np.linalg.norm(y[used].astype(np.float64), axis=1)
    bad = int((~np.isfinite(length) | (length == 0)).sum())
    if bad:
        raise ValueError(f"{bad} of {len(used)} {fold} target vectors are zero or not finite")
    return target.astype(np.int64)


def check_varies(name: str, x: NDArray[np.floating]) -> None:
    """Refuse responses of which no voxel tells two trials apart.

    Raises
    ------
    ValueError
        All trials of `x` are identical; the message starts with `name`.
    """
    # Row by row: where responses vary, the second row ends it.
    if all(np.array_equal(row, x[0]) for row in x[1:]):
        raise ValueError(f"{name}: all {len(x)} trials are identical, there is nothing to decode")


def on_device(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """The array as a tensor; on the CPU it shares the array's memory where it can."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)

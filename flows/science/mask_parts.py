"""Masks fitted on random parts of the voxels, and put together.

Voxels that carry a component tell much the same, so a sparse mask over all of them keeps a few and
drops the others, which carry it no less; and a decoder whose weights are already good gives masks
over all voxels little gradient. A small random part holds few voxels that can stand in for each
other. Fitted part by part, and averaged over several random partitions, masks name the voxels that
carry a component rather than a few that suffice to tell it (the argument of stability selection,
Meinshausen and Buehlmann 2010, J. R. Stat. Soc. B 72, 417). A part has the same size whatever the
number of voxels, so that the price of a voxel is the same for every participant.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from flows.science.device import resolve_device
from flows.science.mask_descent import Gradient, descend

_TINY = 1e-9

ObjectiveOf = Callable[[torch.Tensor], Gradient]


def fit_parts(
    objective_of: ObjectiveOf,
    n_voxels: int,
    lam: torch.Tensor,
    *,
    part: int,
    draws: int,
    learning_rate: float,
    snapshots: Sequence[int],
    seed: int,
    on_part: Callable[[int, int], None] | None = None,
) -> dict[int, torch.Tensor]:
    """Mean masks at each snapshot, over random partitions of the voxels.

    Parameters
    ----------
    objective_of : callable
        Given the indices of a part's voxels, the gradient of -r at the part's masks.
    n_voxels : int
        V.
    lam : torch.Tensor
        (C,) price of each mask's mean weight over its part.
    part : int
        Voxels of a part, about; 0, or more than V, fits all of them together, once, and leaves
        the masks' scale as it is, as the published procedure does.
    draws : int
        Partitions.
    learning_rate : float
    snapshots : sequence of int
        Steps, rising.
    seed : int
        Of the partitions.
    on_part : callable, optional
        Called with parts done and parts in all.

    Returns
    -------
    dict
        Step -> (V, C) weights in [0, 1]. Pearson's r does not see a mask's scale: in each part
        weights are relative to the largest.
    """
    device = resolve_device(lam.device)
    masks = {step: torch.zeros(n_voxels, len(lam), device=device) for step in snapshots}
    whole = part == 0 or part >= n_voxels
    partitions = [[np.arange(n_voxels)]] if whole else _partitions(n_voxels, part, draws, seed)
    parts = [indices for partition in partitions for indices in partition]
    for done, indices in enumerate(parts):
        voxels = torch.from_numpy(indices).to(device)

        def keep(step: int, mask: torch.Tensor, voxels: torch.Tensor = voxels) -> bool:
            weights = mask if whole else mask / mask.amax(dim=0).clamp_min(_TINY)
            masks[step][voxels] += weights / len(partitions)
            return False

        descend(objective_of(voxels), (len(indices), len(lam)), lam, learning_rate, snapshots, keep)
        if on_part is not None:
            on_part(done + 1, len(parts))
    return masks


def _partitions(n_voxels: int, part: int, draws: int, seed: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    count = max(2, round(n_voxels / part))
    return [
        [np.sort(indices) for indices in np.array_split(rng.permutation(n_voxels), count)]
        for _ in range(draws)
    ]

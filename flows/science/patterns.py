"""What voxels respond to, where a decoder's weights say what they are read out by."""

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import check_responses, on_device
from flows.science.device import resolve_device

_VOXEL_BLOCK = 2048


def voxel_patterns(
    x: NDArray[np.floating], vectors: NDArray[np.floating], *, device: str | torch.device = "cpu"
) -> NDArray[np.float32]:
    """Covariance of each voxel's responses with what a linear decoder tells of them.

    Weights are a filter: a voxel can have weight because it takes off others' noise, and one of
    two voxels that answer alike may have none. What voxels respond to is the filter's pattern,
    the responses' covariance times the weights (Haufe et al. 2014), here up to the covariance of
    what is decoded, which is the same for all voxels.

    Parameters
    ----------
    x : ndarray
        (N, V) responses.
    vectors : ndarray
        (V, D) weights, as `Decoder.voxel_vectors` gives them.
    device : str or torch.device

    Returns
    -------
    ndarray
        (V, D) float32.

    Raises
    ------
    ValueError
        There are fewer than two trials, voxels differ, or a response is not finite.

    References
    ----------
    Haufe et al. 2014 (NeuroImage 87, 96), eq. 6.
    """
    x = check_responses("x", x, len(vectors))
    if len(x) < 2:
        raise ValueError(f"a covariance needs at least 2 trials, not {len(x)}")
    place = resolve_device(device)
    weights = on_device(np.asarray(vectors, dtype=np.float32), place)
    decoded = torch.zeros(len(x), vectors.shape[1], device=place)
    for start in range(0, x.shape[1], _VOXEL_BLOCK):
        some = slice(start, start + _VOXEL_BLOCK)
        decoded += on_device(np.ascontiguousarray(x[:, some]), place) @ weights[some]
    decoded -= decoded.mean(dim=0)
    patterns = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, x.shape[1], _VOXEL_BLOCK):
        some = slice(start, start + _VOXEL_BLOCK)
        own = on_device(np.ascontiguousarray(x[:, some]), place)
        # What is decoded has no mean, so that the responses' does not count.
        patterns[some] = (own.T @ decoded / (len(x) - 1)).cpu().numpy()
    return patterns

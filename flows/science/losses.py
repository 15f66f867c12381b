"""The contrastive loss that decoders and the dimensionality reduction share."""

import torch
from torch.nn import functional


def contrastive_loss(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy of a batch's scores against their diagonal.

    Trials that show the same image have the same target vector: telling them apart is
    impossible, so such a pair off the diagonal is left out of both softmaxes.

    Parameters
    ----------
    scores : torch.Tensor
        (B, B), entry i, j the similarity of prediction i and target j.
    target : torch.Tensor
        (..., B) integer, equal where two trials share their target.

    Returns
    -------
    torch.Tensor
        Scalar: the mean of the losses over rows and over columns, of all batches.

    Raises
    ------
    ValueError
        Where the shapes do not match.

    References
    ----------
    METHOD.md a; Efird et al. 2023 (arXiv 2306.03375), decoder.
    """
    size = target.shape[-1]
    if scores.shape != (*target.shape, size):
        raise ValueError(
            f"scores of shape {tuple(scores.shape)} do not match {size} targets: "
            f"they must be ({size}, {size})"
        )
    diagonal = torch.arange(size, device=scores.device)
    same = target[..., :, None] == target[..., None, :]
    same = same & ~torch.eye(size, dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(same, -torch.inf)
    own = diagonal.expand(target.shape).reshape(-1)
    rows = functional.cross_entropy(scores.reshape(-1, size), own)
    columns = functional.cross_entropy(scores.transpose(-2, -1).reshape(-1, size), own)
    return (rows + columns) / 2

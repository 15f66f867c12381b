"""The number type in which the large matrix products are computed.

In bfloat16, of 8 significant bits, tensor cores multiply many times faster than in float32. Only
what enters a product, and what comes out of it, is rounded to it: weights, optimiser, norms, losses
and correlations stay in float32, as does everything that judges a result.
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def product_type(precision: str) -> torch.dtype:
    """Number type of a precision.

    Raises
    ------
    ValueError
        There is none of that name.
    """
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16":
        return torch.bfloat16
    raise ValueError(f"unknown precision {precision!r}: use 'float32' or 'bfloat16'")


def products_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """A context in which torch computes matrix products in a number type, gradients' too."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def add_product(
    offset: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, alpha: float = 1
) -> torch.Tensor:
    """``offset + alpha * left @ right`` in float32, the product in the number type of `left`."""
    if left.dtype == torch.float32:
        return torch.addmm(offset, left, right, alpha=alpha)
    return (left @ right.to(left.dtype)).float().mul_(alpha).add_(offset)

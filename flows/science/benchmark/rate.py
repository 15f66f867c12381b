"""How fast a device multiplies matrices: what a stage's rate is held against."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SECONDS = 0.5


def matmul_rates(device: torch.device, size: int) -> dict[str, float]:
    """Floating-point operations a second of square products.

    Parameters
    ----------
    device : torch.device
    size : int
        Edge of the matrices.

    Returns
    -------
    dict
        ``float32`` (as stages compute: without TF32), ``bfloat16``, and on a GPU ``tf32``.
    """
    rates = {
        "float32": _rate(device, torch.float32, size),
        "bfloat16": _rate(device, torch.bfloat16, size),
    }
    if device.type == "cuda":
        with _tf32():
            rates["tf32"] = _rate(device, torch.float32, size)
    return rates


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = left @ right
    wait_for(device)
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < _SECONDS:
        # A few at a time, so that waiting is no part of it.
        for _ in range(4):
            torch.mm(left, right, out=product)
        wait_for(device)
        done += 4
    return done * 2.0 * size**3 / elapsed


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

"""The device an encoder computes on."""

import torch

from app.errors import InputError, UnavailableError


def torch_device(name: str) -> torch.device:
    """Find the device called `name`; a GPU that is not there is an error, never a silent CPU.

    Raises
    ------
    InputError
        No device has such a name.
    UnavailableError
        The machine has no such GPU.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"unknown device {name!r}", hint='use "cpu", "cuda" or "cuda:N"')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnavailableError(
            f"device {name!r} is not there: torch sees {torch.cuda.device_count()} GPUs",
            hint='use "cpu"',
        )
    return device

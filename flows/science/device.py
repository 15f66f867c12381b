"""The device that a computation runs on."""

import platform

import torch


def resolve_device(name: str | torch.device) -> torch.device:
    """Turn a device's name into a device that is really there.

    Parameters
    ----------
    name : str or torch.device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    ValueError
        Where the name is unknown, or names a GPU that this machine does not have: falling
        back to the CPU in silence would turn minutes into hours.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {str(name)!r}: use 'cpu', 'cuda' or 'cuda:N'") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {str(name)!r}: use 'cpu', 'cuda' or 'cuda:N'")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ValueError(
                f"device {str(name)!r} is not there: this machine has {count} usable GPUs"
            )
    return device


def device_name(name: str) -> str:
    """The hardware behind a device's name, as this machine calls it.

    Raises
    ------
    ValueError
        As `resolve_device`.
    """
    device = resolve_device(name)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({platform.machine()})"

"""Let torchvision import beside a torch that it was not built for.

Registries serve torchvision built for CUDA. Beside a CPU build of torch its compiled operators do
not load, and its import dies with ``operator torchvision::nms does not exist``, although nothing
that an encoder uses of it is compiled.
"""

import importlib
import importlib.util
from typing import Any

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# The definitions last as long as this object does.
_library: Any = None


def ensure_torchvision() -> None:
    """Make ``import torchvision`` work, and with it open_clip and transformers.

    Does nothing where torchvision is not installed or imports as it is. Elsewhere it defines the
    schemas, without any code behind them, of the operators that the import asks for: whoever
    calls one still gets an error.
    """
    global _library
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _library is not None or "torchvision::nms does not exist" not in str(error):
            raise
        registry: Any = torch.library  # has no types of its own
        _library = registry.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(name + _SIGNATURE)
        importlib.import_module("torchvision")

"""sha256 of files and of sets of arrays."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def file_checksum(path: Path) -> str:
    """Hash a file's bytes: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash names, types, shapes and values: 64 hexadecimal digits.

    The order of the mapping and the container the arrays came from change nothing, so that the
    same weights are the same encoder whether they were read from .safetensors or .pt.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {arrays[name].shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

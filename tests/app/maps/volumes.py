"""NIfTI files for the tests of maps."""

import gzip
import struct
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Image

AFFINE = np.array([[2.0, 0, 0, -10], [0, 3, 0, -20], [0, 0, 4, -30], [0, 0, 0, 1]])


def ramp(shape: tuple[int, ...] = (4, 5, 6)) -> np.ndarray:
    """Values that differ in every cell."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) ** 1.5


def written(
    values: np.ndarray,
    affine: np.ndarray | None = AFFINE,
    *,
    version: int = 1,
    packed: bool = False,
    code: int = 4,
    **fields: Any,
) -> bytes:
    """The bytes of a file, some fields of its header set to what they should not be."""
    image = (Nifti1Image if version == 1 else Nifti2Image)(values, affine, dtype=values.dtype)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    content = image.to_bytes()
    header = type(image.header)(content[: image.header.sizeof_hdr], check=False)
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + content[len(header.binaryblock) :]
    return gzip.compress(content, mtime=0) if packed else content


def with_extension(content: bytes, size: int) -> bytes:
    """The same file with an extension of so many zeros before its data."""
    offset = struct.pack("<f", 352 + 8 + size)
    start = content[:108] + offset + content[112:348] + b"\1\0\0\0"
    return start + struct.pack("<ii", 8 + size, 6) + bytes(size) + content[352:]


def in_mni(values: np.ndarray) -> bytes:
    """A map of the published voxels, of which (i, j) lies at (2 i - 40, 2 j - 40, -40) mm."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -40
    return written(values[..., None].astype(np.float32), affine, packed=True)

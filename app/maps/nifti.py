"""Uploaded maps of the brain, NIfTI files, read within bounds."""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.image_affine import image_affine, require_known
from app.settings import get_settings
from app.upload_memory import UploadWork

Content = BinaryIO | gzip.GzipFile

_GZIP = b"\x1f\x8b"
_READABLE = "send one 3-D volume as NIfTI: .nii or .nii.gz, or .hdr with its .img"
# Bytes before the data: more than anybody writes beside a map, and soon unpacked.
_LONGEST_START = 16_000_000
# Memory of a byte of data while it is read, measured: 1.00 as it is, and 1.04 unpacked.
_PER_BYTE = 1.1
# Cells: places are stored in single precision, and what lies on the edge by it is inside.
_DIGITS = 4
# NIfTI's intent of an image of labels.
_LABELS = 1002


@dataclass(frozen=True, eq=False)
class BrainMap:
    """A volume, as it is stored, and where it lies.

    Attributes
    ----------
    stored : ndarray
        (X, Y, Z).
    slope, intercept : float
        From what is stored to the map's values.
    to_cells : ndarray
        (4, 4), from mm to cells.
    called_labels : bool
        Whether the header says that its values are labels.
    """

    stored: NDArray[Any]
    slope: float
    intercept: float
    to_cells: NDArray[np.float64]
    called_labels: bool = False

    def looks_like_labels(self) -> bool:
        """Whether it holds more than two values, all of them whole numbers from 0 on.

        So do atlases and segmentations, whose numbers have no order. A mask of 0 and 1 does not.
        """
        if not (self.slope.is_integer() and self.intercept.is_integer()):
            return False
        seen: set[float] = set()
        # A layer at a time, as layers lie in memory.
        for layer in np.moveaxis(self.stored, -1, 0):
            if not np.isfinite(layer).all() or (layer != np.rint(layer)).any():
                return False
            if len(seen) <= 2:
                seen.update(np.unique(layer).tolist())
        values = [value * self.slope + self.intercept for value in seen]
        return len(seen) > 2 and min(values) >= 0

    def at(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values at places, trilinear between cells.

        Parameters
        ----------
        places : ndarray
            (V, 3) mm.

        Returns
        -------
        ndarray
            (V,) NaN outside the grid, and where a cell that counts is not finite.
        """
        size = np.array(self.stored.shape)
        cells = places.astype(float) @ self.to_cells[:3, :3].T + self.to_cells[:3, 3]
        cells = np.round(cells, _DIGITS)
        inside = ((cells >= 0) & (cells <= size - 1)).all(axis=1)
        low = np.floor(cells[inside]).astype(int)
        part = cells[inside] - low
        found = np.zeros(len(low))
        with np.errstate(over="ignore", invalid="ignore"):
            for corner in product((0, 1), repeat=3):
                weight = np.where(corner, part, 1 - part).prod(axis=1)
                cell = np.minimum(low + corner, size - 1)
                value = self.stored[tuple(cell.T)].astype(float) * self.slope + self.intercept
                found += np.where(weight > 0, weight * value, 0)
        values = np.full(len(places), np.nan)
        values[inside] = np.where(np.isfinite(found), found, np.nan)
        return values


def read_map(
    file: BinaryIO, name: str, work: UploadWork, image: BinaryIO | None = None
) -> BrainMap:
    """A map from a NIfTI-1 or NIfTI-2 file, or from a pair of files, gzipped or not.

    The header is judged before any data is read, and no more is unpacked than it tells.

    Parameters
    ----------
    file : file
    name : str
        For errors.
    work : UploadWork
        What the memory of its voxels is taken from, before any is read.
    image : file, optional
        The voxels of a pair (`.img`), whose header (`.hdr`) is `file`.

    Raises
    ------
    InputError
        It is no such file or is damaged, is not one volume of real numbers, does not tell where
        it lies, or has more voxels than the setting ``map_mvoxels``.
    TooLargeError, BusyError
        There is no memory for it.
    """
    try:
        with _unpacked(file) as content:
            if image is None:
                return _read(content, content, name, work)
            with _unpacked(image) as voxels:
                return _read(content, voxels, name, work)
    except EOFError:
        raise _cut_off(name) from None
    except (OSError, zlib.error) as error:
        raise InputError(f"{name} cannot be unpacked: {error}", hint="send it whole") from None


@contextmanager
def _unpacked(file: BinaryIO) -> Iterator[Content]:
    packed = file.read(2) == _GZIP
    file.seek(0)
    if not packed:
        yield file
        return
    # An upload's own mode says that it can be written.
    with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
        yield unpacked


def _read(content: Content, voxels: Content, name: str, work: UploadWork) -> BrainMap:
    start = content.read(348)
    is_pair = voxels is not content
    header = _header(start, content, name, is_pair=is_pair)
    shape = _shape(header, name)
    kind = _kind(header, name)
    to_cells = _to_cells(header, name)
    slope, intercept = _scaling(header, name)
    offset = _offset(header, name, is_pair=is_pair)
    voxels.read(offset if is_pair else offset - header.sizeof_hdr)
    wanted = math.prod(shape) * kind.itemsize
    work.take(int(wanted * _PER_BYTE), name)
    data = voxels.read(wanted)
    if len(data) < wanted:
        raise _cut_off(name)
    # A packed file's checksum is read where nothing follows.
    voxels.read(1)
    stored: NDArray[Any] = np.ndarray(shape, kind, data, order="F")
    called_labels = int(header["intent_code"]) == _LABELS
    return BrainMap(stored, slope, intercept, to_cells, called_labels)


def _header(start: bytes, content: Content, name: str, *, is_pair: bool) -> Any:
    """The header, of either version and byte order; nibabel's own checks would only log."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    for order, code in (("little", "<"), ("big", ">")):
        for kind, magic in ((Nifti1Header, b"n+1"), (Nifti2Header, b"n+2")):
            if int.from_bytes(start[:4], order) != kind.sizeof_hdr or len(start) < 348:  # type: ignore[arg-type]
                continue
            block = start + content.read(kind.sizeof_hdr - len(start))
            if len(block) < kind.sizeof_hdr:
                raise _cut_off(name)
            header = kind(block, code, check=False)  # type: ignore[no-untyped-call]
            told = bytes(header["magic"])[:3]
            if told not in (magic, b"ni" + magic[2:]):
                continue
            if is_pair and told == magic:
                raise InputError(f"{name} is no header of a pair of files", hint=_READABLE)
            if not is_pair and told != magic:
                raise InputError(f"{name} is the header of a pair of files", hint=_READABLE)
            return header
    raise InputError(f"{name} is no NIfTI file", hint=_READABLE)


def _shape(header: Any, name: str) -> tuple[int, int, int]:
    axes = int(header["dim"][0])
    sizes = [int(each) for each in header["dim"][1 : axes + 1]] if 1 <= axes <= 7 else []
    told = " x ".join(map(str, sizes)) or "not told"
    if len(sizes) == 4 and sizes[3] == 1:
        sizes.pop()
    if len(sizes) != 3 or min(sizes) < 1:
        raise InputError(f"{name} is no 3-D volume: its dimensions are {told}", hint=_READABLE)
    most = get_settings().map_mvoxels
    if math.prod(sizes) > most * 1e6:
        raise InputError(
            f"{name} has {told} voxels, more than {most:g} million, the setting SDC_MAP_MVOXELS",
            hint="resample it to larger voxels, or raise SDC_MAP_MVOXELS",
        )
    return (sizes[0], sizes[1], sizes[2])


def _kind(header: Any, name: str) -> np.dtype[Any]:
    try:
        kind: np.dtype[Any] = header.get_data_dtype()
    except KeyError:
        kind = np.dtype("V")
    # Numbers of 16 bytes would double what the largest map takes.
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise InputError(
            f"{name} holds voxels of type {header.get_value_label('datatype')}",
            hint="store it as integers, float32 or float64",
        )
    return kind


def _to_cells(header: Any, name: str) -> NDArray[np.float64]:
    affine = image_affine(header, name)
    require_known(affine, name)
    return np.asarray(np.linalg.inv(affine.matrix), dtype=np.float64)


def _scaling(header: Any, name: str) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise InputError(
            f"{name} has an scl_inter that is not finite", hint="mend its scaling"
        ) from None
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def _offset(header: Any, name: str, *, is_pair: bool) -> int:
    """Where the data begin; 0 stands for right behind the header, where they are in one file."""
    offset = float(header["vox_offset"])
    least = 0 if is_pair else int(header.single_vox_offset)
    if offset == 0:
        return least
    if not least <= offset <= _LONGEST_START:
        raise InputError(
            f"{name} has its data at byte {offset:g}",
            hint=f"that is {least} to {_LONGEST_START:,}; leave out header extensions",
        )
    return int(offset)


def _cut_off(name: str) -> InputError:
    return InputError(f"{name} is cut off: its data end too soon", hint="send it whole")

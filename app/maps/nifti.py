"""Uploaded maps of the brain, NIfTI files, read within bounds."""

import gzip
import math
import zlib
from dataclasses import dataclass
from itertools import product
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.settings import get_settings
from app.upload_memory import UploadWork

_GZIP = b"\x1f\x8b"
_READABLE = "send one 3-D volume as NIfTI, .nii or .nii.gz"
# Bytes before the data: more than anybody writes beside a map, and soon unpacked.
_LONGEST_START = 16_000_000
# Memory of a byte of data while it is read, measured: 1.00 as it is, and 1.04 unpacked.
_PER_BYTE = 1.1
# Cells: places are stored in single precision, and what lies on the edge by it is inside.
_DIGITS = 4
_MOST_OBLIQUE = 1e6


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
    """

    stored: NDArray[Any]
    slope: float
    intercept: float
    to_cells: NDArray[np.float64]

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


def read_map(file: BinaryIO, name: str, work: UploadWork) -> BrainMap:
    """A map from a NIfTI-1 or NIfTI-2 file, gzipped or not.

    The header is judged before any data is read, and no more is unpacked than it tells.

    Parameters
    ----------
    file : file
    name : str
        For errors.
    work : UploadWork
        What the memory of its voxels is taken from, before any is read.

    Raises
    ------
    InputError
        It is no such file or is damaged, is not one volume of real numbers, does not tell where
        it lies, or has more voxels than the setting ``map_mvoxels``.
    TooLargeError, BusyError
        There is no memory for it.
    """
    packed = file.read(2) == _GZIP
    file.seek(0)
    try:
        if packed:
            # An upload's own mode says that it can be written.
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                return _read(unpacked, name, work)
        return _read(file, name, work)
    except EOFError:
        raise _cut_off(name) from None
    except (OSError, zlib.error) as error:
        raise InputError(f"{name} cannot be unpacked: {error}", hint="send it whole") from None


def _read(content: BinaryIO | gzip.GzipFile, name: str, work: UploadWork) -> BrainMap:
    start = content.read(348)
    header = _header(start, content, name)
    shape = _shape(header, name)
    kind = _kind(header, name)
    to_cells = _to_cells(header, name)
    slope, intercept = _scaling(header, name)
    offset = _offset(header, name)
    content.read(offset - header.sizeof_hdr)
    wanted = math.prod(shape) * kind.itemsize
    work.take(int(wanted * _PER_BYTE), name)
    data = content.read(wanted)
    if len(data) < wanted:
        raise _cut_off(name)
    # A packed file's checksum is read where nothing follows.
    content.read(1)
    stored: NDArray[Any] = np.ndarray(shape, kind, data, order="F")
    return BrainMap(stored, slope, intercept, to_cells)


def _header(start: bytes, content: BinaryIO | gzip.GzipFile, name: str) -> Any:
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
            if told == magic:
                return header
            if told == b"ni" + magic[2:]:
                raise InputError(f"{name} is the header of a pair of files", hint=_READABLE)
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
            f"{name} has {told} voxels, more than {most:g} million, the setting map_mvoxels",
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
    from nibabel.spatialimages import HeaderDataError

    if header["sform_code"] == 0 and header["qform_code"] == 0:
        raise InputError(
            f"{name} does not tell where it lies: its sform and qform codes are 0",
            hint="set the code of its affine, 4 for MNI152 and 1 for the scanner",
        )
    try:
        with np.errstate(all="ignore"):
            affine = np.asarray(header.get_best_affine(), dtype=float)
        if np.isfinite(affine).all() and np.linalg.cond(affine[:3, :3]) < _MOST_OBLIQUE:
            return np.linalg.inv(affine)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        pass
    raise InputError(
        f"{name} has an affine that is not finite or not invertible", hint="mend its sform or qform"
    )


def _scaling(header: Any, name: str) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise InputError(
            f"{name} has an scl_inter that is not finite", hint="mend its scaling"
        ) from None
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def _offset(header: Any, name: str) -> int:
    """Where the data begin; 0 stands for right behind the header."""
    offset = float(header["vox_offset"])
    least = int(header.single_vox_offset)
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

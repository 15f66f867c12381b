"""Reading volumes and series of volumes (NIfTI, HDF5, npy) into (trials or time, voxels)."""

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from app.errors import InputError
from app.image_affine import image_affine
from flows.sources.base import Grid
from flows.sources.fetching import require_file
from flows.sources.grids import require_alike
from flows.sources.whole_files import find_dataset, load_image, stored_header

_NIFTI_FAULTS = (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, WrapStructError)

Shape = tuple[int, int, int]
# Values that are read at a time: what is gathered from them is still in the processor's cache.
_BLOCK = 1 << 20
_THREADS = 2
_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")
_KINDS = ".nii, .nii.gz, .img with .hdr, .hdf5, .h5 or .npy"
_MODULUS = 1 << 32


@dataclass(frozen=True)
class Series:
    """A file that holds one volume for each trial or time point.

    Attributes
    ----------
    path : Path
        `.nii`, `.nii.gz`, `.img` or `.hdr` of a pair, `.hdf5`, `.h5` or `.npy`.
    axes : str
        Meaning of the axes on disk, a permutation of `TXYZ` or of `TV` (voxels of the mask in
        C order). MATLAB writes (X, Y, Z, T) such that h5py sees `TZYX`.
    dataset : str
        Name inside an HDF5 file.
    flipped : str
        Those of X, Y, Z along which the file is stored the other way round.
    """

    path: Path
    axes: str
    dataset: str = "/betas"
    flipped: str = ""

    def on(self, grid: Grid, participant: str) -> "Series":
        """The same file read onto a participant's grid, by where its image lies.

        HDF5 and npy tell no place: theirs is the grid's by their axes alone.

        Raises
        ------
        InputError
            The image lies elsewhere, see `flows.sources.grids.require_alike`.
        """
        if not is_nifti(self.path):
            return self
        # Of NIfTI the axes on disk are X, Y, Z, T.
        change = require_alike(image_grid(self.path, axes=4), grid, participant)
        letters = dict(zip(change.axes, "XYZ", strict=True))
        return replace(
            self,
            axes="".join(letters[axis] for axis in range(3)) + "T",
            flipped="".join(axis for axis, flip in zip("XYZ", change.flipped, strict=True) if flip),
        )

    def probe(self, mask: np.ndarray, *, integers_over: float | None = None) -> np.ndarray:
        """The first volume in the mask, (1, voxels), once the file is known to be whole.

        Of a compressed image the size that is written at its end is looked at; only where that
        is not the image's (as of several files, one behind the other) all of it is unpacked.

        Raises
        ------
        InputError
            See `read`.
        """
        length, _ = self.size()
        first = self.read(mask, 0, 1, integers_over=integers_over)
        if not self._ends_whole():
            self.read(mask, length - 1, length)
        return first

    def _ends_whole(self) -> bool:
        if not self.path.name.endswith(".gz"):
            return False
        with reading_faults(self.path, "NIfTI", _NIFTI_FAULTS):
            image = load_image(self.path)
            values = image.dataobj
            wanted = values.offset + int(np.prod(values.shape)) * values.dtype.itemsize
            with self.path.open("rb") as file:
                file.seek(-4, 2)
                told = int.from_bytes(file.read(4), "little")
        return bool(told == wanted % _MODULUS)

    def size(self) -> tuple[int, Shape | int]:
        """Length and grid (or, for `TV`, the number of voxels), from the header alone."""
        with self._open() as array:
            return self._size(array)

    def read(
        self,
        mask: np.ndarray,
        start: int = 0,
        stop: int | None = None,
        *,
        integers_over: float | None = None,
    ) -> np.ndarray:
        """Volumes `start` to `stop` inside the mask, read and gathered a few at a time.

        Parameters
        ----------
        mask : np.ndarray
            bool (X, Y, Z).
        start, stop : int
            All volumes by default.
        integers_over : float, optional
            What values are divided by that are integers on disk; floating ones are as they are.

        Returns
        -------
        np.ndarray
            (volumes, voxels of the mask in C order of (X, Y, Z)), float32 with `integers_over`,
            else in the type on disk (floating where a NIfTI header scales).

        Raises
        ------
        InputError
            The file is missing, damaged or foreign, or its grid is not the mask's.
        """
        with self._open() as array:
            length, grid = self._size(array)
            self._require_mask(grid, mask)
            stop = length if stop is None else min(stop, length)
            if stop - start > 1 and _is_read_whole(array, self.path):
                array = np.asanyarray(array)
            step = max(1, _BLOCK * length // max(1, int(np.prod(array.shape))))
            kind = self._volumes(array, start, min(start + 1, stop))[0].dtype
            inside = np.empty(
                (stop - start, int(mask.sum())), kind if integers_over is None else np.float32
            )
            places = lru_cache(lambda order: _places(order, mask, self.flipped))

            def gather(first: int) -> None:
                last = min(first + step, stop)
                volumes, order = self._volumes(array, first, last)
                rows = inside[first - start : last - start]
                _gather(volumes, places(order), rows, integers_over)

            # Gathering lets go of the interpreter, so that other volumes are read meanwhile.
            with ThreadPoolExecutor(_THREADS) as threads:
                list(threads.map(gather, range(start, stop, step)))
        return inside

    def _volumes(self, array: Any, start: int, stop: int) -> tuple[np.ndarray, str]:
        """Some volumes, flat as they lie in memory, and the order of their axes there."""
        at = self.axes.index("T")
        values = np.asanyarray(array[(slice(None),) * at + (slice(start, stop),)])
        others = [place for place in range(values.ndim) if place != at]
        others.sort(key=lambda place: -abs(values.strides[place]))
        order = "".join(self.axes[place] for place in others)
        return values.transpose([at, *others]).reshape(stop - start, -1), order

    def require_mask(self, mask: np.ndarray) -> None:
        """Raise `InputError` where the file's grid, in its header, is not the mask's."""
        self._require_mask(self.size()[1], mask)

    def _require_mask(self, grid: Shape | int, mask: np.ndarray) -> None:
        expected = mask.shape if isinstance(grid, tuple) else int(mask.sum())
        if grid != expected:
            raise InputError(
                f"{self.path}: grid {describe(grid)}, the mask has {describe(expected)}",
                hint="betas and mask must lie on one grid; check the order of the axes",
            )

    def _size(self, array: Any) -> tuple[int, Shape | int]:
        if array.ndim != len(self.axes):
            raise InputError(
                f"{self.path}: {array.ndim} axes of shape {describe(array.shape)}, expected "
                f"{len(self.axes)} ({', '.join(self.axes)})",
                hint="give one volume a trial",
            )
        at = {axis: int(array.shape[place]) for place, axis in enumerate(self.axes)}
        return at["T"], at["V"] if "V" in at else (at["X"], at["Y"], at["Z"])

    @contextmanager
    def _open(self) -> Iterator[Any]:
        require_file(self.path)
        if self.path.suffix in (".hdf5", ".h5"):
            with open_dataset(self.path, self.dataset) as dataset:
                yield dataset
        elif self.path.suffix == ".npy":
            with reading_faults(self.path, "npy", (OSError, ValueError, EOFError)):
                array = np.load(self.path, mmap_mode="r", allow_pickle=False)
            require_numbers(self.path, array.dtype)
            with reading_faults(self.path, "npy", (OSError, ValueError, EOFError)):
                yield array
        elif is_nifti(self.path):
            with reading_faults(self.path, "NIfTI", _NIFTI_FAULTS):
                image = load_image(self.path)
                require_numbers(self.path, image.dataobj.dtype)
                yield image.dataobj
        else:
            raise InputError(f"{self.path}: unknown kind of file", hint=f"give {_KINDS}")


def _is_read_whole(array: Any, path: Path) -> bool:
    """Whether an image is taken as one array: a compressed one is always read from its start, and
    of one that is mapped nothing is read before it is looked at."""
    if not is_nifti(path):
        return False
    return path.name.endswith(".gz") or (array.slope, array.inter) == (1, 0)


def _places(order: str, mask: np.ndarray, flipped: str = "") -> np.ndarray:
    """Where the mask's voxels lie in a flat volume whose axes have this order and direction."""
    if order == "V":
        return np.arange(int(mask.sum()))
    ranks = ["XYZ".index(axis) for axis in order]
    numbers = np.arange(mask.size).reshape([mask.shape[rank] for rank in ranks])
    steps = tuple(slice(None, None, -1 if axis in flipped else 1) for axis in "XYZ")
    return np.asarray(numbers.transpose(np.argsort(ranks))[steps][mask])


def _gather(
    volumes: np.ndarray, places: np.ndarray, rows: np.ndarray, integers_over: float | None
) -> None:
    """Write the voxels at some places of (n, all voxels) into the rows of (n, voxels)."""
    if rows.dtype == volumes.dtype:
        # Places are known to be there; looking again would take twice as long.
        volumes.take(places, axis=1, out=rows, mode="clip")
        return
    inside = volumes.take(places, axis=1, mode="clip")
    if integers_over is not None and volumes.dtype.kind in "iu":
        np.divide(inside, np.float32(integers_over), out=rows, dtype=np.float32, casting="unsafe")
    else:
        rows[:] = inside


@contextmanager
def open_dataset(path: Path, name: str) -> Iterator[h5py.Dataset]:
    """A dataset of an HDF5 file, open for reading.

    Raises
    ------
    InputError
        The file is missing, truncated or no HDF5 file, or has no dataset of that name whose data
        lie in the file itself.
    """
    require_file(path)
    with reading_faults(path, "HDF5", (OSError, RuntimeError)), h5py.File(path, "r") as file:
        dataset = find_dataset(path, file, name)
        if dataset is None:
            raise InputError(
                f"{path}: no dataset {name}", hint=f"it holds: {', '.join(file) or 'nothing'}"
            )
        if dataset.dtype.kind not in "iuf":
            raise InputError(f"{path}: {name} holds no numbers", hint="give numeric volumes")
        yield dataset


def read_volume(path: Path, *, axes: Literal[3, 4] = 3) -> tuple[np.ndarray, Grid]:
    """A NIfTI image and its grid.

    Returns
    -------
    values : np.ndarray
        (X, Y, Z) or, for `axes` 4, (X, Y, Z, n), in the type on disk.
    grid : Grid
        Its own shape along X, Y, Z, and where it lies.

    Raises
    ------
    InputError
        The file is missing, damaged, no image, of another rank, holds no real numbers (colours,
        complex ones), or its header contradicts itself.
    """
    require_file(path)
    with reading_faults(path, "NIfTI", _NIFTI_FAULTS):
        image = load_image(path)
        require_numbers(path, image.get_data_dtype())
        values = np.asanyarray(image.dataobj)
    while values.ndim > axes and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != axes:
        raise InputError(
            f"{path}: shape {describe(values.shape)}, expected {axes} axes",
            hint="give an image of that rank",
        )
    return values, _grid(path, image, axes)


def read_mask(path: Path) -> tuple[np.ndarray, Grid]:
    """Where a NIfTI image is finite and not zero, bool (X, Y, Z), and its grid.

    Raises
    ------
    InputError
        See `read_volume`.
    """
    values, grid = read_volume(path)
    return np.isfinite(values) & (values != 0), grid


def image_grid(path: Path, *, axes: Literal[3, 4] = 3) -> Grid:
    """Where a NIfTI image lies, by its header; no voxels are read.

    Raises
    ------
    InputError
        See `read_volume`.
    """
    require_file(path)
    with reading_faults(path, "NIfTI", _NIFTI_FAULTS):
        image = load_image(path)
        return _grid(path, image, axes)


def _grid(path: Path, image: Any, axes: int) -> Grid:
    shape = tuple(map(int, image.shape))
    if len(shape) < 3:
        raise InputError(
            f"{path}: {len(shape)} axes of shape {describe(shape)}, expected {axes}",
            hint="give an image of that rank",
        )
    told = image_affine(stored_header(image), str(path))
    return Grid((shape[0], shape[1], shape[2]), told.matrix, path, told.known)


def require_numbers(path: Path, kind: np.dtype[Any]) -> None:
    """Raise `InputError` where values are colours, complex numbers or records."""
    if kind.kind not in "iufb":
        what = "colours" if kind.names else "complex numbers" if kind.kind == "c" else str(kind)
        raise InputError(
            f"{path}: holds {what}, no real numbers",
            hint="give one number a voxel, as whole or floating-point numbers",
        )


def require_voxels(path: Path, mask: np.ndarray, participant: str) -> None:
    """Raise `InputError` where a participant's mask is empty."""
    if not mask.any():
        raise InputError(
            f"{path}: the mask of {participant} is empty, no voxel is finite and not zero",
            hint="mark the voxels to read with 1",
        )


def default_axes(path: Path) -> str | None:
    """The axes a series has unless it is said otherwise; None for HDF5, where any is common."""
    if is_nifti(path):
        return "XYZT"
    if path.suffix != ".npy":
        return None
    require_file(path)
    with reading_faults(path, "npy", (OSError, ValueError, EOFError)):
        return "TV" if np.load(path, mmap_mode="r", allow_pickle=False).ndim == 2 else "TXYZ"


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI image, or of one of a pair."""
    return path.name.endswith(_SUFFIXES)


def describe(shape: tuple[int, ...] | int) -> str:
    """A shape in words: `7x6x5`, or a number of voxels."""
    return "x".join(map(str, shape)) if isinstance(shape, tuple) else f"{shape} voxels"


@contextmanager
def reading_faults(path: Path, kind: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Raise `InputError` in place of what a reader raises at a damaged or foreign file."""
    try:
        yield
    except errors as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: cannot be read as {kind}: {reason}",
            hint="the file is damaged, truncated or of another kind: fetch or write it again",
        ) from error

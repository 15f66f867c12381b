"""Reading surfaces: GIFTI, one file a hemisphere, and CIFTI-2, both hemispheres in one.

What lies on a surface is handed out on the grid (2, N, 1) of `flows.sources.base.Surface`.
"""

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.parsers import expat

import nibabel
import numpy as np
from nibabel.cifti2.cifti2 import CIFTI_BRAIN_STRUCTURES, Cifti2Header, Cifti2HeaderError
from nibabel.filebasedimages import ImageFileError
from nibabel.gifti.parse_gifti_fast import GiftiParseError
from nibabel.nifti1 import intent_codes
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from app.errors import InputError
from flows.sources.fetching import require_file
from flows.sources.volumes import Shape, reading_faults
from flows.sources.whole_files import gifti_shapes, load_image

HEMISPHERES = ("L", "R")
# Where GIFTI files say which hemisphere they are of (Connectome Workbench, FreeSurfer, fMRIPrep).
_STRUCTURE = "AnatomicalStructurePrimary"
CORTEX = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")
_STRUCTURES = CIFTI_BRAIN_STRUCTURES.value_set("ciftiname")
_MODEL_TYPES = ("CIFTI_MODEL_TYPE_SURFACE", "CIFTI_MODEL_TYPE_VOXELS")
_VALUES = re.compile(rb'(\w+)\s*=\s*"([^"]*)"').findall
# Bytes that a header lies in; that of both hemispheres and all voxels at 2 mm takes a tenth.
_HEADER = 1 << 23
# What nibabel's readers raise at files that are damaged or foreign.
_FAULTS = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(zlib.error, expat.ExpatError, ImageFileError, HeaderDataError, WrapStructError),
    *(GiftiParseError, Cifti2HeaderError),
)


class SurfaceSeries(ABC):
    """Betas on a mesh: a row for each trial, as `flows.sources.volumes.Series` has of volumes."""

    path: Path

    @property
    @abstractmethod
    def covered(self) -> np.ndarray:
        """Vertices that there are values of, bool (2, N, 1)."""

    @property
    @abstractmethod
    def left_out(self) -> int:
        """Brain places that are not read: voxels, and surfaces other than the cortex."""

    @abstractmethod
    def size(self) -> tuple[int, Shape]:
        """Trials and grid; no values are read."""

    @abstractmethod
    def read(self, mask: np.ndarray) -> np.ndarray:
        """Values in the mask, float32 (trials, vertices of the mask in C order of (2, N, 1)).

        Raises
        ------
        InputError
            A file is missing, damaged or foreign, or has other vertices than the mask.
        """

    @abstractmethod
    def probe(self, mask: np.ndarray) -> np.ndarray:
        """The first trial in the mask, (1, vertices), once the file is known to be whole.

        Raises
        ------
        InputError
            See `read`.
        """

    def require_mask(self, mask: np.ndarray) -> None:
        """Raise `InputError` where other vertices are covered than the mask's."""
        covered = self.covered
        if not np.array_equal(covered, mask):
            raise InputError(
                f"{self.path}: {int(covered.sum())} vertices of a mesh of 2 x {covered.shape[1]}, "
                f"other betas of the participant have {int(mask.sum())} of 2 x {mask.shape[1]}, "
                "or others",
                hint="all betas of a participant must cover the same vertices of one mesh",
            )


@dataclass(frozen=True)
class GiftiSeries(SurfaceSeries):
    """Two files, left and right, with one data array for each trial."""

    left: Path
    right: Path

    @property
    def path(self) -> Path:  # type: ignore[override]
        """What messages name."""
        return self.left

    @cached_property
    def covered(self) -> np.ndarray:
        """See `SurfaceSeries.covered`: all."""
        return np.ones(self.size()[1], bool)

    @property
    def left_out(self) -> int:
        """See `SurfaceSeries.left_out`: none."""
        return 0

    def size(self) -> tuple[int, Shape]:
        """See `SurfaceSeries.size`; the files are looked through for their arrays."""
        return self._size

    def read(self, mask: np.ndarray) -> np.ndarray:
        """See `SurfaceSeries.read`."""
        self.require_mask(mask)
        trials, _ = self.size()
        inside = np.empty((trials, int(mask.sum())), np.float32)
        stops = np.cumsum(mask.sum(axis=(1, 2)))
        sides = zip((self.left, self.right), HEMISPHERES, mask[..., 0], stops, strict=True)
        for path, side, vertices, stop in sides:
            places = np.flatnonzero(vertices)
            with reading_faults(path, "GIFTI", _FAULTS):
                image = _load_gifti(path, side)
                for row, array in zip(inside, image.darrays, strict=True):
                    row[stop - len(places) : stop] = array.data[places]
        return inside

    def probe(self, mask: np.ndarray) -> np.ndarray:
        """See `SurfaceSeries.probe`; XML is read whole or not at all."""
        return self.read(mask)[:1]

    @cached_property
    def _size(self) -> tuple[int, Shape]:
        left, right = (_gifti_arrays(path) for path in (self.left, self.right))
        for path, arrays in ((self.left, left), (self.right, right)):
            if not arrays or len(set(arrays)) > 1 or len(arrays[0]) != 1:
                shapes = ", ".join("x".join(map(str, shape)) for shape in dict.fromkeys(arrays))
                raise InputError(
                    f"{path}: data arrays of shape {shapes or '(none)'}, expected one number a "
                    "vertex in each",
                    hint="give one data array a trial, all of one mesh",
                )
        if left != right:
            raise InputError(
                f"{self.right}: {len(right)} data arrays of {right[0][0]} vertices, "
                f"{self.left.name} has {len(left)} of {left[0][0]}",
                hint="give both hemispheres the same trials, on a mesh that has as many vertices "
                "left and right: fsaverage or fsLR",
            )
        return len(left), (2, left[0][0], 1)


@dataclass(frozen=True)
class CiftiSeries(SurfaceSeries):
    """A dense CIFTI-2 file: trials by brain places, of which the cortex' vertices are read."""

    path: Path

    @cached_property
    def covered(self) -> np.ndarray:
        """See `SurfaceSeries.covered`: those that its brain models name."""
        return (self._layout[1] >= 0)[..., None]

    @property
    def left_out(self) -> int:
        """See `SurfaceSeries.left_out`."""
        return self._layout[2]

    def size(self) -> tuple[int, Shape]:
        """See `SurfaceSeries.size`, from the header alone."""
        data, column, _ = self._layout
        return int(data.shape[0]), (2, column.shape[1], 1)

    def read(self, mask: np.ndarray) -> np.ndarray:
        """See `SurfaceSeries.read`."""
        self.require_mask(mask)
        data, column, _ = self._layout
        columns = column[mask[..., 0]]
        require_file(self.path)
        with reading_faults(self.path, "CIFTI-2", _FAULTS):
            # On disk the trials of a place stand together.
            places = np.asanyarray(data).T
            inside: np.ndarray = places[columns].T.astype(np.float32)
        return inside

    def probe(self, mask: np.ndarray) -> np.ndarray:
        """See `SurfaceSeries.probe`."""
        self.require_mask(mask)
        data, column, _ = self._layout
        require_file(self.path)
        with reading_faults(self.path, "CIFTI-2", _FAULTS):
            np.asanyarray(data[-1:])
            first: np.ndarray = np.asanyarray(data[:1])[:, column[mask[..., 0]]]
        return first.astype(np.float32)

    @cached_property
    def _layout(self) -> tuple[Any, np.ndarray, int]:
        """What reads the file; the column of each vertex, -1 for none, (2, N); other columns.

        A header of both hemispheres takes as long to read as hundreds of trials: it is read once.
        """
        with _cifti(self.path) as image:
            if image.ndim != 2:
                raise InputError(
                    f"{self.path}: {image.ndim} axes", hint="give a dscalar or dtseries file"
                )
            column = _columns(self.path, image.header, image.shape[1])
            return image.dataobj, column, image.shape[1] - int((column >= 0).sum())


def read_vertices(left: Path, right: Path) -> np.ndarray:
    """Places of the vertices of two GIFTI surfaces, float (2, N, 3) mm.

    Raises
    ------
    InputError
        A file is missing, damaged or no surface, or the hemispheres differ in vertices.
    """
    sides = []
    for path, side in zip((left, right), HEMISPHERES, strict=True):
        with reading_faults(path, "GIFTI", _FAULTS):
            image = _load_gifti(path, side)
            points = [
                array.data
                for array in image.darrays
                if array.intent == intent_codes["NIFTI_INTENT_POINTSET"]
            ]
        if len(points) != 1 or points[0].ndim != 2 or points[0].shape[1] != 3:
            raise InputError(
                f"{path}: no surface: one set of points (N x 3) is expected",
                hint="give a *.surf.gii file",
            )
        if not np.isfinite(points[0]).all():
            raise InputError(f"{path}: vertices that are not finite", hint="write it again")
        sides.append(points[0].astype(float))
    if len(sides[0]) != len(sides[1]):
        raise InputError(
            f"{right}: {len(sides[1])} vertices, {left.name} has {len(sides[0])}",
            hint="give both hemispheres of one mesh, fsaverage or fsLR",
        )
    return np.stack(sides)


def read_gifti_labels(left: Path, right: Path) -> tuple[np.ndarray, dict[int, str]]:
    """Labels of two GIFTI files, int (2, N, 1), and what their own tables call them.

    Raises
    ------
    InputError
        A file is missing, damaged or holds other than one label a vertex, or the tables differ
        in what they call a label of both.
    """
    sides: list[np.ndarray] = []
    names: dict[int, str] = {}
    for path, side in zip((left, right), HEMISPHERES, strict=True):
        with reading_faults(path, "GIFTI", _FAULTS):
            image = _load_gifti(path, side)
            arrays = [array.data for array in image.darrays]
            table = {int(label.key): str(label.label) for label in image.labeltable.labels}
        if len(arrays) != 1 or arrays[0].ndim != 1 or (sides and len(sides[0]) != len(arrays[0])):
            raise InputError(
                f"{path}: other than one label for each vertex of the mesh",
                hint="give one label.gii file a hemisphere",
            )
        for key in np.unique(arrays[0][arrays[0] > 0]).tolist():
            if names.setdefault(int(key), table.get(int(key), "")) != table.get(int(key), ""):
                raise InputError(
                    f"{path}: label {int(key)} is {table.get(int(key))!r}, and {names[key]!r} in "
                    f"{left.name}",
                    hint="give both hemispheres one label table",
                )
        sides.append(arrays[0])
    return np.stack(sides)[..., None], {key: name for key, name in names.items() if name}


def read_cifti_labels(path: Path) -> tuple[np.ndarray, dict[int, str]]:
    """Labels of a dlabel file, (2, N, 1), 0 where it has none, and what its table calls them.

    Raises
    ------
    InputError
        The file is missing, damaged or foreign, or holds more than one map.
    """
    with _cifti(path) as image:
        if image.ndim != 2 or image.shape[0] != 1:
            raise InputError(
                f"{path}: shape {'x'.join(map(str, image.shape))}, expected one map of labels",
                hint="give one atlas a file",
            )
        column = _columns(path, image.header, image.shape[1])
        (named,) = image.header.matrix.get_index_map(0).named_maps
        labels = named.label_table or {}
        names = {int(key): str(labels[key].label) for key in labels}
        values = np.asanyarray(image.dataobj[0]).ravel()
    return np.where(column >= 0, values[column], 0)[..., None], names


def is_cifti(path: Path) -> bool:
    """Whether the name is that of a dense CIFTI-2 file."""
    return path.name.endswith((".dscalar.nii", ".dtseries.nii", ".dlabel.nii"))


def _columns(path: Path, header: Cifti2Header, count: int) -> np.ndarray:
    """The column of each vertex of the cortex, -1 for none: int (2, N)."""
    maps: Any = header.matrix.get_index_map(1)
    if maps.indices_map_to_data_type != "CIFTI_INDEX_TYPE_BRAIN_MODELS":
        raise InputError(
            f"{path}: no brain models along its rows but {maps.indices_map_to_data_type}",
            hint="give a dense file (dscalar or dtseries), no parcels",
        )
    found: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}
    for model in maps.brain_models:
        name = model.brain_structure
        if name not in CORTEX or model.model_type != _MODEL_TYPES[0]:
            continue
        vertices = np.asarray(model.vertex_indices, dtype=np.int64)
        columns = model.index_offset + np.arange(model.index_count)
        size = int(model.surface_number_of_vertices)
        fits = len(vertices) == len(columns) == len(np.unique(vertices))
        if name in found or not fits or vertices.max() >= size or columns[-1] >= count:
            raise InputError(
                f"{path}: the brain model {name} does not fit its file",
                hint="the file is damaged: write it again",
            )
        found[name] = (vertices, columns, size)
    sizes = {size for _, _, size in found.values()}
    if set(found) != set(CORTEX) or len(sizes) > 1:
        raise InputError(
            f"{path}: no cortex of both hemispheres with as many vertices, but "
            + (", ".join(f"{name} ({size})" for name, (*_, size) in found.items()) or "none"),
            hint="give the betas of both, on fsLR or fsaverage",
        )
    column = np.full((2, sizes.pop()), -1, dtype=np.int64)
    for side, name in enumerate(CORTEX):
        vertices, columns, _ = found[name]
        column[side, vertices] = columns
    return column


@contextmanager
def _cifti(path: Path) -> Iterator[Any]:
    require_file(path)
    _require_known_models(path)
    with reading_faults(path, "CIFTI-2", _FAULTS):
        image = load_image(path)
        if not isinstance(image, nibabel.Cifti2Image):
            raise ImageFileError("it is another image")
        yield image


def _require_known_models(path: Path) -> None:
    """Raise `InputError` for a brain model that CIFTI-2 does not know.

    nibabel says that there is one, but not which.
    """
    with reading_faults(path, "CIFTI-2", _FAULTS), path.open("rb") as file:
        head = file.read(_HEADER)
    if b"<!ENTITY" in head:
        raise InputError(f"{path}: it defines XML entities", hint="write it again without them")
    for model in re.findall(rb"<BrainModel\b[^>]*>", head):
        told = {key.decode(): value.decode("utf-8", "replace") for key, value in _VALUES(model)}
        name, kind = told.get("BrainStructure"), told.get("ModelType")
        if name not in _STRUCTURES or kind not in _MODEL_TYPES:
            raise InputError(
                f"{path}: unknown brain model {name} ({kind})",
                hint="CIFTI-2 names structures such as CIFTI_STRUCTURE_CORTEX_LEFT: write the file "
                "again with a program that knows them",
            )


def _load_gifti(path: Path, side: str) -> Any:
    """A GIFTI image of a hemisphere, `L` or `R`, which must not say that it is the other one."""
    image = load_image(path)
    other = f"Cortex{'Right' if side == 'L' else 'Left'}"
    for told in (image.meta, *(array.meta for array in image.darrays)):
        if told.get(_STRUCTURE) == other:
            raise InputError(
                f"{path}: is taken for hemisphere {side}, and says of itself {other}",
                hint=f"rename it, or mend its {_STRUCTURE}",
            )
    return image


def _gifti_arrays(path: Path) -> list[tuple[int, ...]]:
    """Shapes of the data arrays of a GIFTI file, see `gifti_shapes`."""
    with reading_faults(path, "GIFTI", _FAULTS):
        return gifti_shapes(path)

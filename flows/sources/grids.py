"""Images beside each other, voxel on voxel: by where they lie, not by their shapes alone.

Two images of one shape may be stored in other directions (LAS and RAS), which swaps left and
right without a word. What differs by the order or direction of its axes alone is reordered by the
affines; what lies elsewhere is refused, or resampled where it holds labels and that is asked for.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from nibabel.orientations import io_orientation

from app.errors import InputError
from app.image_affine import farthest_shift, voxel_size
from flows.sources.base import Grid

# Of a voxel: what rounding of headers comes to, and no voxel is another's by it.
SAME_PLACE = 0.05


@dataclass(frozen=True)
class AxisChange:
    """From the axes of one image to those of another.

    Attributes
    ----------
    axes : tuple of int
        For each axis of the other image the one of this image that runs along it.
    flipped : tuple of bool
        Along which axes of the other image this one is stored the other way round.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values (X, Y, Z, …) of this image in the order of the other one, as a view."""
        others = range(len(self.axes), values.ndim)
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return values.transpose(*self.axes, *others)[steps]

    def grid(self, grid: Grid) -> Grid:
        """This image's grid once its values are in the order of the other one."""
        shape = [grid.shape[axis] for axis in self.axes]
        back = np.zeros((4, 4))
        back[3, 3] = 1
        for axis, (own, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            back[own, axis] = -1 if flip else 1
            back[own, 3] = shape[axis] - 1 if flip else 0
        return replace(grid, shape=(shape[0], shape[1], shape[2]), affine=grid.affine @ back)


def axis_change(source: Grid, target: Grid) -> AxisChange:
    """How the axes of one grid run along those of another, as far as that can be told."""
    ours, theirs = (io_orientation(grid.affine) for grid in (source, target))  # type: ignore[no-untyped-call]
    # Of each world axis: which of the image's runs along it, and which way.
    along = {int(world): (axis, sign) for axis, (world, sign) in enumerate(ours)}
    found = [along[int(world)] for world, _ in theirs]
    flipped = [sign != wanted for (_, sign), (_, wanted) in zip(found, theirs, strict=True)]
    axes = [axis for axis, _ in found]
    return AxisChange((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))


def is_at(source: Grid, target: Grid) -> bool:
    """Whether two grids have the same voxels at the same places, to a twentieth of a voxel."""
    if source.shape != target.shape:
        return False
    shift = farthest_shift(source.affine, target.affine, target.shape)
    return shift <= SAME_PLACE * voxel_size(target.affine)


def require_alike(source: Grid, target: Grid, participant: str) -> AxisChange:
    """How to reorder an image so that its voxels are those of a participant's grid.

    Raises
    ------
    InputError
        It has other voxels, or one of the two does not tell where it lies and the other does.
    """
    if is_at(source, target):
        return AxisChange()
    if not (source.known or target.known) and source.shape == target.shape:
        # Neither tells: what is left is that they are stored alike.
        return AxisChange()
    if source.known and target.known:
        change = axis_change(source, target)
        if is_at(change.grid(source), target):
            return change
    raise _elsewhere(source, target, participant)


def onto(values: np.ndarray, source: Grid, target: Grid, participant: str) -> np.ndarray:
    """An image's values in the order of a participant's grid; see `require_alike`.

    Parameters
    ----------
    values : np.ndarray
        (X, Y, Z) or (X, Y, Z, n) on the grid `source`.
    """
    return require_alike(source, target, participant).apply(values)


def labels_onto(
    values: np.ndarray, source: Grid, target: Grid, participant: str, *, resample: bool
) -> np.ndarray:
    """Labels (X, Y, Z) of an image on a participant's grid.

    Parameters
    ----------
    resample : bool
        Whether labels that lie on other voxels are taken from the nearest one; 0 where there is
        none. Else these are refused.

    Raises
    ------
    InputError
        See `require_alike`; one that does not tell where it lies is never resampled.
    """
    try:
        return onto(values, source, target, participant)
    except InputError:
        if not (resample and source.known and target.known):
            raise
    to_source = np.linalg.inv(source.affine) @ target.affine
    found = np.zeros(target.shape, values.dtype)
    index = np.indices(target.shape).reshape(3, -1)
    nearest = np.rint(to_source[:3, :3] @ index + to_source[:3, 3:]).astype(np.int64)
    inside = ((nearest >= 0) & (nearest < np.array(source.shape)[:, None])).all(axis=0)
    found.reshape(-1)[inside] = values[tuple(nearest[:, inside])]
    return found


def require_agreement(images: list[tuple[Path, np.ndarray]], what: str) -> np.ndarray:
    """The values that several images have, which lie on one grid already.

    Raises
    ------
    InputError
        Two differ.
    """
    for (one, values), (other, others) in pairwise(images):
        if (differ := int((values != others).sum())) > 0:
            raise InputError(
                f"{other}: differs from {one} at {differ} voxels, and both are of {what}",
                hint="keep one of them, or name them apart by atlas- or desc-",
            )
    return images[0][1]


def _elsewhere(source: Grid, target: Grid, participant: str) -> InputError:
    if source.shape != target.shape:
        return InputError(
            f"{source.path}: grid {_shape(source)}, the betas of {participant} have "
            f"{_shape(target)} ({target.path})",
            hint="resample it to the betas' grid or give the file of that space",
        )
    if source.known != target.known:
        silent, told = (target, source) if source.known else (source, target)
        return InputError(
            f"{silent.path} does not tell where it lies (sform and qform codes 0), {told.path} of "
            f"{participant} does: left and right may be swapped",
            hint="give it the header of the image that it was made of (fslcpgeom, nibabel)",
        )
    shift = farthest_shift(source.affine, target.affine, target.shape)
    return InputError(
        f"{source.path}: grid {_shape(source)} by an affine that puts its voxels up to "
        f"{shift:.1f} mm from those of {target.path} of {participant}",
        hint="resample one to the other; resample = true does that with labels of regions",
    )


def _shape(grid: Grid) -> str:
    return "x".join(map(str, grid.shape))

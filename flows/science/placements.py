"""Random placements of a region's shape among the voxels, for null distributions."""

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.hemispheres import LEFT, RIGHT, UNKNOWN

# Cells along the longest side of a shape's distance table.
_CELLS = 48
# Points whose distances to all others are held at once.
_ROWS = 1024
# Voxels transformed at once: placements in a block times voxels.
_BLOCK = 2**19


def place_region(
    region: NDArray[np.bool_],
    coordinates: NDArray[np.floating],
    *,
    placements: int,
    seed: int | np.random.SeedSequence,
    side: NDArray[np.integer] | None = None,
    own_centre: bool = False,
) -> NDArray[np.int32]:
    """Put a region's shape at random places of the voxel cloud.

    In each hemisphere the region's part is turned about its centroid by a random rotation and its
    centroid put on a random voxel; the voxels nearest to the shape there become members, as many
    as the part has. A part stays in its hemisphere. Of a region in both, the left part is placed
    as the mirror image of the right one: brains are nearly symmetric, so the halves are far from
    two independent places. Where hemispheres are not known the region is turned and placed whole,
    among all voxels.

    Parameters
    ----------
    region : ndarray
        (V,) bool, n members.
    coordinates : ndarray
        (V, 3) mm, x from left to right.
    placements : int
        P.
    seed : int or SeedSequence
    side : ndarray, optional
        (V,) of `flows.science.hemispheres`; none are known where not given.
    own_centre : bool
        Whether the centroid is put on the voxel nearest to it each time, and the shape turned
        alone: one in `count_centres` of all placements is such a one.

    Returns
    -------
    ndarray
        (P, n) voxel indices, distinct within a row.
    """
    generator = np.random.default_rng(seed)
    rotations = _random_rotations(placements, generator)
    centres: NDArray[np.float64] | None = None
    middle = _midline(coordinates, side)
    rows = []
    for part in _parts(len(coordinates), side):
        shape = coordinates[part][region[part]].astype(np.float64)
        if len(shape) == 0:
            continue
        cloud = coordinates[part].astype(np.float64)
        if centres is None and own_centre:
            own = _nearest(shape.mean(axis=0, keepdims=True), cloud)
            centres = np.repeat(cloud[own], placements, axis=0)
        elif centres is None:
            centres = cloud[generator.integers(len(cloud), size=placements)]
        else:
            mirror = np.array([-1.0, 1.0, 1.0])
            centres = cloud[_nearest(centres * mirror + [2 * middle, 0, 0], cloud)]
            rotations = rotations * mirror[:, None] * mirror[None, :]
        rows.append(part[_place_part(shape, cloud, centres, rotations)])
    return np.concatenate(rows, axis=1).astype(np.int32)


def count_centres(region: NDArray[np.bool_], side: NDArray[np.integer] | None = None) -> int:
    """Voxels that `place_region` may put the centroid on: those of the hemisphere placed first."""
    return next(len(part) for part in _parts(len(region), side) if region[part].any())


def _parts(count: int, side: NDArray[np.integer] | None) -> list[NDArray[np.intp]]:
    """Voxels of the right hemisphere, of the left one, and those of which it is not known."""
    if side is None:
        return [np.arange(count)]
    return [np.flatnonzero(side == each) for each in (RIGHT, LEFT, UNKNOWN)]


def _midline(coordinates: NDArray[np.floating], side: NDArray[np.integer] | None) -> float:
    """x of the plane that hemispheres are mirrored at: 0 where its sign tells them apart."""
    if side is None or not ((side == RIGHT).any() and (side == LEFT).any()):
        return 0.0
    x = np.asarray(coordinates[:, 0], dtype=np.float64)
    if np.array_equal(x > 0, side == RIGHT):
        return 0.0
    return float(np.median(x[side == RIGHT]) + np.median(x[side == LEFT])) / 2


def _place_part(
    shape: NDArray[np.float64],
    cloud: NDArray[np.float64],
    centres: NDArray[np.float64],
    rotations: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Members (P, n) of the cloud for each centre (P, 3) and rotation (P, 3, 3)."""
    size = len(shape)
    if size == len(cloud):
        return np.tile(np.arange(size), (len(centres), 1))
    table = _DistanceTable(shape - shape.mean(axis=0))
    members = np.empty((len(centres), size), dtype=np.intp)
    points = cloud.astype(np.float32)
    block = max(1, _BLOCK // len(cloud))
    for start in range(0, len(centres), block):
        turn = rotations[start : start + block].astype(np.float32)
        shift = np.einsum(
            "pi,pij->pj", centres[start : start + block], rotations[start : start + block]
        )
        # The voxels are moved into the shape's frame, where one table serves all placements.
        local = np.matmul(points, turn) - shift[:, None, :].astype(np.float32)
        distance = table(local)
        members[start : start + block] = np.argpartition(distance, size - 1, axis=1)[:, :size]
    return members


class _DistanceTable:
    """Distance of any point to the nearest point of a centred shape, looked up on a grid."""

    def __init__(self, shape: NDArray[np.float64]) -> None:
        points = torch.from_numpy(shape)
        spacing = 1.0
        if len(shape) > 1:
            some = points[torch.linspace(0, len(shape) - 1, min(len(shape), 256)).long()]
            spacing = float(torch.cdist(some, points).kthvalue(2, dim=1).values.median())
        low, high = shape.min(axis=0) - spacing, shape.max(axis=0) + spacing
        # Half a voxel resolves the shape; very large ones get by with less.
        self.pitch = max(spacing / 2, float((high - low).max()) / _CELLS, 1e-3)
        self.low = low.astype(np.float32)
        self.cells = np.ceil((high - low) / self.pitch).astype(np.int64) + 1
        axes = [low[axis] + self.pitch * np.arange(self.cells[axis]) for axis in range(3)]
        grid = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))
        nearest = [
            torch.cdist(grid[start : start + _ROWS], points).amin(dim=1)
            for start in range(0, len(grid), _ROWS)
        ]
        # A touch of the distance to the centre breaks ties, so that no order of voxels does.
        self.values = (torch.cat(nearest) + 1e-3 * grid.norm(dim=1)).float().numpy()

    def __call__(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distances (...,) of points (..., 3); outside the grid, from its edge on."""
        cell = (points - self.low) / np.float32(self.pitch)
        inside = np.clip(cell, 0, (self.cells - 1).astype(np.float32))
        beyond = np.sqrt(np.square(cell - inside).sum(axis=-1)) * np.float32(self.pitch)
        index = np.rint(inside).astype(np.int32)
        flat = (index[..., 0] * self.cells[1] + index[..., 1]) * self.cells[2] + index[..., 2]
        return np.asarray(self.values[flat] + beyond, dtype=np.float32)


def _random_rotations(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Rotations (P, 3, 3), uniform, from random unit quaternions."""
    quaternion = generator.normal(size=(count, 4))
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.asarray(np.moveaxis(np.array(rows), -1, 0))


def _nearest(points: NDArray[np.float64], cloud: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index (P,) of the voxel nearest to each point."""
    query, target = torch.from_numpy(points), torch.from_numpy(cloud)
    nearest = [
        torch.cdist(query[start : start + _ROWS], target).argmin(dim=1)
        for start in range(0, len(query), _ROWS)
    ]
    return np.asarray(torch.cat(nearest).numpy())

"""Irregular voxel clouds and smooth random maps on them."""

import numpy as np


def voxel_cloud(count: int, rng: np.random.Generator) -> np.ndarray:
    """(V, 3) mm: voxels picked from a curved sheet of a 1.8 mm lattice, in two hemispheres."""
    lattice = np.stack(np.meshgrid(*[np.arange(-36, 36, 1.8)] * 3, indexing="ij"), axis=-1)
    points = lattice.reshape(-1, 3)
    radius = np.linalg.norm(points / [30, 34, 26], axis=1)
    sheet = (radius < 1) & (radius > 0.72) & (np.abs(points[:, 0]) > 2) & (points[:, 1] < 10)
    points = points[sheet]
    return points[np.sort(rng.choice(len(points), count, replace=False))]


def smooth_maps(
    coordinates: np.ndarray, count: int, scale_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """(V, count) Gaussian random fields of unit variance, correlated over about the scale."""
    total = np.zeros((len(coordinates), count))
    waves = 100
    for _ in range(waves):
        wave = rng.normal(size=(3, count)) / scale_mm
        total += np.cos(coordinates @ wave + rng.uniform(0, 2 * np.pi, count))
    return total / np.sqrt(waves / 2)


def ball(coordinates: np.ndarray, centre: int, size: int) -> np.ndarray:
    """(V,) bool: the `size` voxels nearest to a voxel."""
    distance = ((coordinates - coordinates[centre]) ** 2).sum(axis=1)
    member = np.zeros(len(coordinates), dtype=bool)
    member[np.argsort(distance)[:size]] = True
    return member

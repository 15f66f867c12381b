"""Surrogates of a map: random fields as smooth as it is, whose values are its own."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial.transform import Rotation

from app.maps.smoothness import Spectrum, estimate_spectrum
from app.volumes import spacing

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Transforms of two fields each; all surrogates are shared among them.
_TRANSFORMS = 4
# Cells along a field, which goes on periodically, and its size in extents of the voxels.
_FEWEST_CELLS, _MOST_CELLS = 48, 160
_EXTENTS, _LEAST_EXTENTS = 1.6, 1.25
# Values of one participant in a block of surrogates.
_BLOCK = 2**20


def draw_surrogates(
    values: Sequence[Floats], places: Sequence[Floats], *, count: int, seed: int
) -> Iterator[list[Singles]]:
    """Draw maps that have nothing to do with anything, as smooth as one that is given.

    The smoothness is estimated at the voxels (`app.maps.smoothness`), as in Burt et al. 2020, for
    all participants together. Gaussian fields of that smoothness are drawn on a periodic grid; a
    surrogate is one of them as it is met at the voxels' places after a random rotation and shift,
    the same for all participants. Each participant's values are then put in its order, so that
    their distribution is the map's own.

    Parameters
    ----------
    values : sequence of ndarray
        (V,) of each participant, not all equal.
    places : sequence of ndarray
        (V, 3) mm, of each.
    count : int
        P.
    seed : int

    Yields
    ------
    list of ndarray
        (B, V) for each participant, P rows in all blocks together.
    """
    rng = np.random.default_rng(seed)
    together = np.concatenate(places)
    extent = float(np.ptp(together, axis=0).max())
    # Half a voxel, so that neighbours do not meet the same cell.
    finest = min(spacing(each) for each in places) / 2
    cell_mm = max(finest, _LEAST_EXTENTS * extent / _MOST_CELLS, 1e-3)
    spectrum = estimate_spectrum(np.concatenate(values), together, cell_mm)
    size = int(np.clip(_EXTENTS * extent / cell_mm, _FEWEST_CELLS, _MOST_CELLS))
    size = fft.next_fast_len(size)
    cells = [((each - together.mean(axis=0)) / cell_mm).astype(np.float32) for each in places]
    ordered = [np.sort(each).astype(np.float32) for each in values]
    turns = Rotation.random(count, rng=rng).as_matrix().astype(np.float32)
    shifts = rng.uniform(0, size, (count, 1, 3)).astype(np.float32)
    rows = max(1, _BLOCK // max(map(len, cells)))
    parts = iter(np.array_split(np.arange(count), 2 * _TRANSFORMS))
    amplitude = _amplitude(spectrum, size)
    for _ in range(_TRANSFORMS):
        for field in _draw_fields(amplitude, rng):
            part = next(parts)
            for start in range(0, len(part), rows):
                chosen = part[start : start + rows]
                yield [
                    _in_order(_meet(field, at @ turns[chosen] + shifts[chosen]), own)
                    for at, own in zip(cells, ordered, strict=True)
                ]


def _amplitude(spectrum: Spectrum, size: int) -> Singles:
    """(N, N, N) of the waves of a periodic field of this smoothness."""
    steps = np.minimum(np.arange(size), size - np.arange(size))
    power = np.full((size, size, size), spectrum.white, dtype=np.float32)
    for scale, share in zip(spectrum.scales, spectrum.shares, strict=True):
        if share > 0:
            axis = np.maximum(fft.fft(np.exp(-0.5 * (steps / scale) ** 2)).real, 0)
            axis = (axis / axis.mean()).astype(np.float32)
            power += np.float32(share) * axis[:, None, None] * axis[:, None] * axis
    return np.sqrt(power)


def _draw_fields(amplitude: Singles, rng: np.random.Generator) -> tuple[Singles, Singles]:
    """Two independent Gaussian fields (N, N, N)."""
    noise = rng.standard_normal((*amplitude.shape, 2), dtype=np.float32).view(np.complex64)
    drawn = fft.ifftn(noise[..., 0] * amplitude, overwrite_x=True)
    return drawn.real.copy(), drawn.imag.copy()


def _meet(field: Singles, places: Singles) -> Singles:
    """What a periodic field is at places (B, V, 3) in cells."""
    size = len(field)
    at = np.floor(places).astype(np.int32) % size
    flat = (at[..., 0] * size + at[..., 1]) * size + at[..., 2]
    return np.asarray(field.ravel()[flat])


def _in_order(drawn: Singles, ordered: Singles) -> Singles:
    """Values (V,), lowest first, in the order of each row of (B, V)."""
    values = np.empty_like(drawn)
    np.put_along_axis(values, np.argsort(drawn, axis=1), ordered[None], axis=1)
    return values

"""Reading betas inside a mask, against a bare loop over the same files."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import h5py
import nibabel
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis

from flows.sources.surfaces import CiftiSeries, GiftiSeries
from flows.sources.volumes import Series
from tests.benchmarks.fresh_process import run_afresh
from tests.flows.sources.surface_tree import write_gifti

# About NSD's grid at 1.8 mm; it has 750 trials a session, and a third of it is brain.
GRID, TRIALS, SESSIONS, ROUNDS = (80, 100, 80), 250, 3, 5
SHARE = 1 / 3
# fsLR's mesh of 32k; CIFTI-2 leaves the medial wall out, and has as many voxels beside.
VERTICES, CORTEX, VOXELS = 32_492, 29_700, 31_870
VOLUMES_MB = 2 * np.prod(GRID) * TRIALS / 1e6


@dataclass(frozen=True)
class _Layout:
    """How a session lies on disk, written to and read from what a path begins."""

    kind: str
    megabytes: float
    write: Callable[[Path, int], None]
    ours: Callable[[Path], object]
    bare: Callable[[Path], object]


def measure() -> Iterator[str]:
    """MB a second of both, alternating; the median ratio, and the most memory of one session."""
    for layout in LAYOUTS:
        with TemporaryDirectory(prefix="sdc-bench-") as name:
            kind = layout.kind
            paths = [Path(name) / f"betas_session{one:02d}.{kind}" for one in range(SESSIONS)]
            for number, path in enumerate(paths):
                layout.write(path, number)
            size = layout.megabytes * SESSIONS
            ratios, ours, theirs = [], [], []
            for round_ in range(ROUNDS):
                times = [0.0, 0.0]
                for which in (0, 1) if round_ % 2 else (1, 0):
                    started = time.perf_counter()
                    _read(paths, (layout.ours, layout.bare)[which])
                    times[which] = time.perf_counter() - started
                ours.append(size / times[0])
                theirs.append(size / times[1])
                ratios.append(times[1] / times[0])
            peak = run_afresh(_read, paths, layout.ours).peak - run_afresh(_nothing).peak
            yield (
                f"{kind}: {median(ours):,.0f} MB/s, bare loop {median(theirs):,.0f} MB/s, ratio "
                f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
                f"{peak / 1e6:,.0f} MB more than a process that reads nothing, "
                f"one session is {layout.megabytes:,.0f} MB"
            )


def _read(paths: list[Path], reader: Callable[[Path], object]) -> None:
    for path in paths:
        reader(path)


# As `Source.betas` gives them: percent signal change, float32.
def _our_hdf5(path: Path) -> np.ndarray:
    return Series(path, "TZYX").read(_mask(), integers_over=300)


def _our_nifti(path: Path) -> np.ndarray:
    return Series(path, "XYZT").read(_mask(), integers_over=300)


def _our_cifti(path: Path) -> np.ndarray:
    series = CiftiSeries(path)
    return series.read(series.covered)


def _our_gifti(path: Path) -> np.ndarray:
    series = GiftiSeries(*_hemispheres(path))
    return series.read(series.covered)


def _bare_hdf5(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.asarray(file["betas"][:])


def _bare_nifti(path: Path) -> np.ndarray:
    # A copy: of a file that is mapped nothing has been read before somebody looks.
    return np.array(nibabel.load(path).dataobj)


def _bare_cifti(path: Path) -> np.ndarray:
    return np.array(np.asanyarray(nibabel.load(path).dataobj))


def _bare_gifti(path: Path) -> None:
    for side in _hemispheres(path):
        for array in nibabel.load(side).darrays:
            np.asarray(array.data)


def _nothing() -> None:
    _mask()


def _hemispheres(path: Path) -> tuple[Path, Path]:
    left, right = (path.with_name(f"{path.name[:-9]}_hemi-{side}.func.gii") for side in "LR")
    return left, right


@cache
def _mask() -> np.ndarray:
    centred = [np.linspace(-1, 1, length) for length in GRID]
    radius = sum(axis**2 for axis in np.meshgrid(*centred, indexing="ij"))
    return np.asarray(radius <= np.quantile(radius, SHARE))


def _betas(seed: int) -> np.ndarray:
    """(X, Y, Z, T) int16."""
    rng = np.random.default_rng(seed)
    return rng.integers(-3000, 3000, (*GRID, TRIALS), dtype=np.int16)


def _write_hdf5(path: Path, number: int) -> None:
    betas = _betas(number)
    with h5py.File(path, "w") as file:
        volumes = betas.transpose(3, 2, 1, 0)
        file.create_dataset("betas", data=volumes, chunks=(1, *volumes.shape[1:]))


def _write_nifti(path: Path, number: int) -> None:
    nibabel.save(nibabel.Nifti1Image(_betas(number), np.eye(4), dtype=np.int16), path)


def _write_cifti(path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    inside = np.zeros((91, 109, 91), bool)
    inside.ravel()[:VOXELS] = True
    models = BrainModelAxis.from_mask(inside, "thalamus_left", np.eye(4))
    for side in ("Left", "Right"):
        models += BrainModelAxis.from_surface(np.arange(CORTEX), VERTICES, f"Cortex{side}")
    betas = rng.normal(size=(TRIALS, len(models))).astype(np.float32)
    trials = ScalarAxis([f"trial {trial}" for trial in range(TRIALS)])
    nibabel.save(Cifti2Image(betas, (trials, models)), path)


def _write_gifti(path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    for side in _hemispheres(path):
        write_gifti(side, rng.normal(size=(TRIALS, VERTICES)))


LAYOUTS = (
    _Layout("hdf5", VOLUMES_MB, _write_hdf5, _our_hdf5, _bare_hdf5),
    _Layout("nii", VOLUMES_MB, _write_nifti, _our_nifti, _bare_nifti),
    _Layout("nii.gz", VOLUMES_MB, _write_nifti, _our_nifti, _bare_nifti),
    _Layout(
        "dscalar.nii", 4e-6 * TRIALS * (2 * CORTEX + VOXELS), _write_cifti, _our_cifti, _bare_cifti
    ),
    _Layout("func.gii", 4e-6 * TRIALS * 2 * VERTICES, _write_gifti, _our_gifti, _bare_gifti),
)

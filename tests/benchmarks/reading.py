"""Reading betas inside a mask, against a bare loop over the same files."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import h5py
import nibabel
import numpy as np

from flows.sources.volumes import Series
from tests.benchmarks.fresh_process import run_afresh

# About NSD's grid at 1.8 mm; it has 750 trials a session, and a third of it is brain.
GRID, TRIALS, SESSIONS, ROUNDS = (80, 100, 80), 250, 3, 5
SHARE = 1 / 3


def measure() -> Iterator[str]:
    """MB a second of both, alternating; the median ratio, and the most memory of one session."""
    with TemporaryDirectory(prefix="sdc-bench-") as name:
        folder = Path(name)
        mask = _mask()
        for kind, axes, write, bare in (
            ("hdf5", "TZYX", _write_hdf5, _bare_hdf5),
            ("nii", "XYZT", _write_nifti, _bare_nifti),
            ("nii.gz", "XYZT", _write_nifti, _bare_nifti),
        ):
            paths = [folder / f"betas_session{number:02d}.{kind}" for number in range(SESSIONS)]
            for number, path in enumerate(paths):
                write(path, _betas(number))
            size = 2 * np.prod(GRID) * TRIALS * SESSIONS / 1e6
            steps: list[Callable[[], None]] = [
                lambda paths=paths, axes=axes: _ours(paths, axes, mask),
                lambda paths=paths, bare=bare: _loop(paths, bare),
            ]
            ratios, ours, theirs = [], [], []
            for round_ in range(ROUNDS):
                times = [0.0, 0.0]
                for which in (0, 1) if round_ % 2 else (1, 0):
                    started = time.perf_counter()
                    steps[which]()
                    times[which] = time.perf_counter() - started
                ours.append(size / times[0])
                theirs.append(size / times[1])
                ratios.append(times[1] / times[0])
            peak = run_afresh(_ours, paths, axes, mask).peak - run_afresh(_nothing).peak
            yield (
                f"{kind}: {median(ours):,.0f} MB/s, bare loop {median(theirs):,.0f} MB/s, ratio "
                f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
                f"{peak / 1e6:,.0f} MB more than a process that reads nothing, "
                f"one session is {size / SESSIONS:,.0f} MB"
            )
            for path in paths:
                path.unlink()


def _ours(paths: list[Path], axes: str, mask: np.ndarray) -> None:
    for path in paths:
        # As `Source.betas` gives them: percent signal change, float32.
        Series(path, axes).read(mask, integers_over=300)


def _loop(paths: list[Path], bare: Callable[[Path], np.ndarray]) -> None:
    for path in paths:
        bare(path)


def _bare_hdf5(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.asarray(file["betas"][:])


def _bare_nifti(path: Path) -> np.ndarray:
    # A copy: of a file that is mapped nothing has been read before somebody looks.
    return np.array(nibabel.load(path).dataobj)


def _nothing() -> None:
    pass


def _mask() -> np.ndarray:
    centred = [np.linspace(-1, 1, length) for length in GRID]
    radius = sum(axis**2 for axis in np.meshgrid(*centred, indexing="ij"))
    return np.asarray(radius <= np.quantile(radius, SHARE))


def _betas(seed: int) -> np.ndarray:
    """(X, Y, Z, T) int16."""
    rng = np.random.default_rng(seed)
    return rng.integers(-3000, 3000, (*GRID, TRIALS), dtype=np.int16)


def _write_hdf5(path: Path, betas: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        volumes = betas.transpose(3, 2, 1, 0)
        file.create_dataset("betas", data=volumes, chunks=(1, *volumes.shape[1:]))


def _write_nifti(path: Path, betas: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(betas, np.eye(4), dtype=np.int16), path)

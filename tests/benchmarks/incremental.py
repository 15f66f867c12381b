"""One new session on top of eight, against all nine at once."""

import csv
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.fresh_process import run_afresh
from tests.flows.planted import write_planted
from tests.flows.sources.nsd_tree import write_image


@dataclass(frozen=True)
class Size:
    """A participant's grid, trials a session, and voxels that respond, all of them by default."""

    grid: tuple[int, int, int]
    trials: int
    responding: int | None = None

    def __str__(self) -> str:
        voxels = int(np.prod(self.grid))
        return (
            f"{SESSIONS} sessions of {self.trials} trials, {voxels:,} voxels "
            f"({2 * voxels * self.trials / 1e6:,.0f} MB a session), {SHARE:.0%} of them in the "
            f"mask, {f'{self.responding:,}' if self.responding else 'all'} of these kept"
        )


SESSIONS, SHARE, FOLD = 9, 1 / 3, 100
# As NSD's subj01 at 1.8 mm, of whose voxels 17,883 have a noise ceiling above 8 % (METHOD.md 0).
FULL = Size((81, 104, 83), 750, 17_883)
SMALL = Size((60, 70, 50), 375)
HDF5, NIFTI = "hdf5", "nii.gz"
CASES = ((FULL, HDF5, True), (SMALL, HDF5, True), (SMALL, HDF5, False), (SMALL, NIFTI, True))
AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])


def measure() -> Iterator[str]:
    """Seconds of both, each in a catalog of its own; of sizes, kinds of files and of folds."""
    for size, kind, own_folds in CASES:
        with TemporaryDirectory(prefix="sdc-bench-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            folder.chmod(0o755)
            write_sessions(folder / "data", size, kind, own_folds=own_folds)
            write_planted(folder / "warm")
            # Files are in memory for both, as they are for who has just written them.
            whole = run_afresh(ingest_sessions, folder, "whole", kind, (SESSIONS,))
            steps = (SESSIONS - 1, SESSIONS)
            grown = run_afresh(ingest_sessions, folder, "grown", kind, steps)
        full, one = whole.result[-1], grown.result[-1]
        yield (
            f"{size}; {kind}, {'own' if own_folds else 'drawn'} folds: all nine {full:.1f} s, the "
            f"ninth on top of eight {one:.1f} s: {one / full:.2f} of it; "
            f"{whole.peak / 1e6:,.0f} MB at most"
        )


def write_sessions(folder: Path, size: Size, kind: str, *, own_folds: bool) -> None:
    """All sessions, as files that `show_sessions` puts into a manifest."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    inside, responding = _voxels(size)
    write_image(folder / "mask.nii.gz", inside.astype(np.uint8), AFFINE)
    images = SESSIONS * size.trials // 3
    # Repeats lie within three sessions, as NSD's mostly do.
    shown = np.concatenate(
        [
            rng.permutation(np.repeat(np.arange(images)[part :: SESSIONS // 3], 3))
            for part in range(SESSIONS // 3)
        ]
    )
    signal = rng.standard_normal(images, dtype=np.float32)
    for session in range(SESSIONS):
        of_session = shown[session * size.trials : (session + 1) * size.trials]
        betas = np.empty((size.trials, *size.grid[::-1]), dtype=np.int16)
        for volume, image in zip(betas, of_session, strict=True):
            noise = rng.standard_normal(volume.shape, dtype=np.float32)
            volume[:] = 300 * (signal[image] * responding.T + noise)
        name = f"betas_{session + 1:02d}.{kind}"
        if kind == HDF5:
            with h5py.File(folder / name, "w") as file:
                file.create_dataset("betas", data=betas, chunks=(1, *betas.shape[1:]))
        else:
            write_image(folder / name, betas.T, AFFINE)
    with (folder / "all_trials.csv").open("w", newline="") as file:
        table = csv.writer(file)
        for trial, image in enumerate(shown):
            table.writerow([f"image{image:05d}", 1 + trial // size.trials])
    folds = ["test"] * FOLD + ["validation"] * FOLD + ["train"] * (images - 2 * FOLD)
    drawn = rng.permutation(folds)
    with (folder / "all_stimuli.csv").open("w", newline="") as file:
        table = csv.writer(file)
        for image in range(images):
            table.writerow([f"image{image:05d}", "a thing", *([drawn[image]] if own_folds else [])])


def _voxels(size: Size) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which voxels lie in the mask, a ball, and which of them respond, a smaller one."""
    centred = [np.linspace(-1, 1, length) for length in size.grid]
    radius = sum(axis**2 for axis in np.meshgrid(*centred, indexing="ij"))
    inside = radius <= np.quantile(radius, SHARE)
    if size.responding is None:
        return inside, inside
    return inside, radius <= np.partition(radius, size.responding, axis=None)[size.responding]


def show_sessions(folder: Path, kind: str, count: int) -> None:
    """Write the manifest and tables of the first sessions."""
    with (folder / "all_trials.csv").open() as file:
        trials = [row for row in csv.reader(file) if int(row[1]) <= count]
    seen = {row[0] for row in trials}
    with (folder / "all_stimuli.csv").open() as file:
        stimuli = [row for row in csv.reader(file) if row[0] in seen]
    heads = {"trials": ["stimulus", "session"], "stimuli": ["stimulus", "captions", "fold"]}
    for name, rows in (("trials", trials), ("stimuli", stimuli)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([heads[name][: len(rows[0])], *rows])
    files = ", ".join(f'"betas_{session + 1:02d}.{kind}"' for session in range(count))
    axes = 'axes = "TZYX"\n' if kind == HDF5 else ""
    (folder / "dataset.toml").write_text(
        '[dataset]\nslug = "grown"\ntitle = "Grown"\nlicence = "CC0-1.0"\ncitation = "nobody"\n'
        '[stimuli]\ntable = "stimuli.csv"\n'
        '[[participants]]\nlabel = "p"\nmask = "mask.nii.gz"\n'
        f'betas = [{files}]\n{axes}scale = {1 / 300}\ntrials = "trials.csv"\n'
    )


def ingest_sessions(folder: Path, home: str, kind: str, counts: tuple[int, ...]) -> list[float]:
    """Seconds of ingesting the first sessions, as many as each count says."""
    os.environ["SDC_HOME"] = str(folder / home)
    from app.database.engine import get_engine
    from app.database.migrate import upgrade
    from app.settings import get_settings
    from flows.prefect_home import configure_prefect, unwatched

    configure_prefect(get_settings())
    upgrade(get_engine())
    from flows.ingest import ingest_dataset

    folds = {"n_test": FOLD, "n_validation": FOLD}
    # Prefect starts its server for the first flow.
    ingest_dataset(str(folder / "warm"), {"n_test": 20, "n_validation": 20})
    seconds = []
    for count in counts:
        show_sessions(folder / "data", kind, count)
        started = time.perf_counter()
        with unwatched():
            assert ingest_dataset(str(folder / "data"), folds)["changed"]
        seconds.append(time.perf_counter() - started)
    return seconds

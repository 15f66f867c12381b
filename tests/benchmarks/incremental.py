"""One new session on top of eight, against all nine at once."""

import csv
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np

from tests.benchmarks.fresh_process import run_afresh
from tests.flows.planted import write_planted
from tests.flows.sources.nsd_tree import write_image

# A third of NSD's grid at 1.8 mm, and half of its trials a session.
GRID, TRIALS, SESSIONS, SHARE = (60, 70, 50), 375, 9, 1 / 3
FOLD = 100
HDF5, NIFTI = "hdf5", "nii.gz"
AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])


def measure() -> Iterator[str]:
    """Seconds of both, each in a catalog of its own; of two kinds of files and of folds."""
    size = 2 * np.prod(GRID) * TRIALS / 1e6
    yield (
        f"one participant, {SESSIONS} sessions of {TRIALS} trials, {np.prod(GRID):,} voxels "
        f"({size:.0f} MB a session), {SHARE:.0%} of them in the mask"
    )
    for kind, own_folds in ((HDF5, True), (HDF5, False), (NIFTI, True)):
        with TemporaryDirectory(prefix="sdc-bench-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            folder.chmod(0o755)
            write_sessions(folder / "data", kind, own_folds=own_folds)
            write_planted(folder / "warm")
            # Files are in memory for both, as they are for who has just written them.
            whole = run_afresh(ingest_sessions, folder, "whole", kind, (SESSIONS,))
            steps = (SESSIONS - 1, SESSIONS)
            grown = run_afresh(ingest_sessions, folder, "grown", kind, steps)
        full, one = whole.result[-1], grown.result[-1]
        yield (
            f"{kind}, {'own' if own_folds else 'drawn'} folds: all nine {full:.1f} s, the ninth on "
            f"top of eight {one:.1f} s: {one / full:.2f} of it; {whole.peak / 1e6:,.0f} MB at most"
        )


def write_sessions(folder: Path, kind: str, *, own_folds: bool) -> None:
    """All sessions, as files that `show_sessions` puts into a manifest."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    centred = [np.linspace(-1, 1, length) for length in GRID]
    radius = sum(axis**2 for axis in np.meshgrid(*centred, indexing="ij"))
    inside = radius <= np.quantile(radius, SHARE)
    write_image(folder / "mask.nii.gz", inside.astype(np.uint8), AFFINE)
    images = SESSIONS * TRIALS // 3
    # Repeats lie within three sessions, as NSD's mostly do.
    shown = np.concatenate(
        [
            rng.permutation(np.repeat(np.arange(images)[part :: SESSIONS // 3], 3))
            for part in range(SESSIONS // 3)
        ]
    )
    signal = rng.standard_normal((images, 1, 1, 1)).astype(np.float32)
    for session in range(SESSIONS):
        of_session = shown[session * TRIALS : (session + 1) * TRIALS]
        noise = rng.standard_normal((TRIALS, *GRID[::-1]), dtype=np.float32)
        betas = (300 * (signal[of_session] + noise)).astype(np.int16)
        name = f"betas_{session + 1:02d}.{kind}"
        if kind == HDF5:
            with h5py.File(folder / name, "w") as file:
                file.create_dataset("betas", data=betas, chunks=(1, *betas.shape[1:]))
        else:
            write_image(folder / name, betas.T, AFFINE)
    with (folder / "all_trials.csv").open("w", newline="") as file:
        table = csv.writer(file)
        for trial, image in enumerate(shown):
            table.writerow([f"image{image:05d}", 1 + trial // TRIALS])
    folds = ["test"] * FOLD + ["validation"] * FOLD + ["train"] * (images - 2 * FOLD)
    drawn = rng.permutation(folds)
    with (folder / "all_stimuli.csv").open("w", newline="") as file:
        table = csv.writer(file)
        for image in range(images):
            table.writerow([f"image{image:05d}", "a thing", *([drawn[image]] if own_folds else [])])


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
    from flows.prefect_home import configure_prefect

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
        assert ingest_dataset(str(folder / "data"), folds)["changed"]
        seconds.append(time.perf_counter() - started)
    return seconds

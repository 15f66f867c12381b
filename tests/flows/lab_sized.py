"""Data sets of the size that a lab has: some pictures shown twice, or blocks of categories."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.flows.sources.nsd_tree import write_image

GRID = (5, 4, 3)
# The first voxel is of no use: it is constant.
CONSTANT = 1
CATEGORIES = ("bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe")


def write_lab_sized(
    folder: Path,
    sessions: int = 2,
    *,
    participants: int = 3,
    images: int = 160,
    pictures: bool = True,
    captions: bool = True,
) -> Path:
    """Every session shows each participant all of `images` pictures in an order of its own.

    Parameters
    ----------
    sessions : int
        From the third on, sessions show new pictures; those before stay as they were.
    pictures, captions : bool
        What there is of stimuli.

    Returns
    -------
    Path
        The folder; the data set's name is ``lab``.
    """
    trials = {}
    for number in range(1, participants + 1):
        rows = []
        for session in range(1, sessions + 1):
            first = images * max(0, session - 2)
            order = np.random.default_rng([number, session]).permutation(images) + first
            rows += [(f"pic{each:03d}", session) for each in order]
        trials[f"sub-{number:02d}"] = rows
    keys = sorted({key for rows in trials.values() for key, _ in rows})
    table = ["stimulus,captions,image"]
    for key in keys:
        image = f"pictures/{key}.png" if pictures else ""
        table.append(f"{key},{f'a picture of thing {key[3:]}' if captions else ''},{image}")
        if pictures:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(int(key[3:])).integers(0, 255, (4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(folder / image)
    _write(folder, "lab", table, trials)
    return folder


def write_blocks(folder: Path, runs: int = 12, *, participants: int = 2) -> Path:
    """Every run shows eight categories once; each block is a stimulus, the last run the test fold.

    Returns
    -------
    Path
        The folder; the data set's name is ``blocks``.
    """
    table = ["stimulus,captions,fold"]
    rows = []
    for run in range(runs):
        fold = "test" if run == runs - 1 else "validation" if run == runs - 2 else "train"
        order = np.random.default_rng(run).permutation(CATEGORIES)
        rows += [(f"{category}-run{run:02d}", run + 1) for category in order]
        table += [f"{category}-run{run:02d},{category},{fold}" for category in CATEGORIES]
    trials = {f"sub-{number:02d}": rows for number in range(1, participants + 1)}
    _write(folder, "blocks", table, trials)
    return folder


def _write(
    folder: Path,
    slug: str,
    stimuli: Sequence[str],
    trials: dict[str, list[tuple[str, int]]],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # What is there stays as it is when further sessions follow.
    if not (folder / "mask.nii.gz").exists():
        write_image(folder / "mask.nii.gz", np.ones(GRID, np.uint8))
    (folder / "stimuli.csv").write_text("\n".join(stimuli) + "\n")
    manifest = [
        f'[dataset]\nslug = "{slug}"\ntitle = "{slug}"\nlicence = "CC0-1.0"\ncitation = "nobody"',
        '[stimuli]\ntable = "stimuli.csv"',
    ]
    for label, rows in trials.items():
        lines = [f"{key},{session}" for key, session in rows]
        (folder / f"{label}.csv").write_text("\n".join(["stimulus,session", *lines]) + "\n")
        sessions = [session for _, session in rows]
        for session in sorted(set(sessions)):
            path = folder / f"{label}_{session:02d}.npy"
            if path.exists():
                continue
            own = np.random.default_rng([int(label[-2:]), session])
            size = (sessions.count(session), int(np.prod(GRID)))
            betas = own.normal(session, 1 + session, size).astype(np.float32)
            betas[:, :CONSTANT] = 7
            np.save(path, betas)
        manifest.append(
            f'[[participants]]\nlabel = "{label}"\nmask = "mask.nii.gz"\nspace = "MNI"\n'
            f'betas = "{label}_*.npy"\ntrials = "{label}.csv"'
        )
    (folder / "dataset.toml").write_text("\n".join(manifest) + "\n")

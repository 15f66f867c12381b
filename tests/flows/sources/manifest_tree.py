"""A tiny data set with a manifest, whose parts a test can replace."""

from pathlib import Path

import numpy as np

from tests.flows.sources.nsd_tree import write_hdf5_betas, write_image

GRID = (3, 4, 2)
AFFINE = np.array([[-2.0, 0, 0, 4], [0, 2, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1]])
RNG = np.random.default_rng(5)
MASK = RNG.random(GRID) < 0.6
BETAS = {session: RNG.normal(0, 1, (*GRID, 4)).astype(np.float32) for session in (1, 2)}
TRIALS = "stimulus,session\ncat,1\ndog,1\ncat,1\nowl,1\ndog,2\ncat,2\nowl,2\ndog,2\n"
STIMULI = "stimulus,captions,category\ncat,a cat| the  cat ,x\ndog,,a dog\nowl,an owl,\nyak,y,\n"

MANIFEST = """\
[dataset]
slug = "tiny"
title = "Tiny"
licence = "CC0-1.0"
citation = "nobody"
[stimuli]
table = "stimuli.csv"
[[participants]]
label = "b"
mask = "mask.nii.gz"
betas = "betas_*.nii.gz"
trials = "trials.csv"
[[participants]]
label = "a"
mask = "mask.nii.gz"
betas = ["one.h5", "two.npy"]
axes = "TZYX"
scale = 0.5
trials = "trials.csv"
"""


def write_manifest_tree(folder: Path) -> Path:
    """Participants a (HDF5 and npy in MATLAB's order, scale 0.5) and b (NIfTI by a pattern)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "mask.nii.gz", MASK.astype(np.uint8), AFFINE)
    for session, betas in BETAS.items():
        write_image(folder / f"betas_{session:02d}.nii.gz", betas, AFFINE)
    write_hdf5_betas(folder / "one.h5", BETAS[1])
    np.save(folder / "two.npy", BETAS[2].transpose(3, 2, 1, 0))
    (folder / "trials.csv").write_text(TRIALS)
    (folder / "stimuli.csv").write_text(STIMULI)
    (folder / "dataset.toml").write_text(MANIFEST)
    return folder


def replace(path: Path, old: str, new: str) -> None:
    """Replace a part of a text file that it must have."""
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def write_series_tree(folder: Path, *, unit: str = "block", lag: int = 1) -> np.ndarray:
    """Two sessions of 10 and 8 volumes in one image; returns the series, (X, Y, Z, 18)."""
    folder.mkdir(parents=True, exist_ok=True)
    series = (1000 + RNG.normal(0, 30, (*GRID, 18))).astype(np.float32)
    write_image(folder / "mask.nii.gz", MASK.astype(np.uint8), AFFINE)
    write_image(folder / "bold.nii.gz", series, AFFINE)
    rows = "\n".join(["session", *["1"] * 10, *["2"] * 8])
    (folder / "volumes.csv").write_text(rows + "\n")
    (folder / "trials.csv").write_text(
        "session,stimulus,volume,duration,fold\n1,dog,5,3,test\n1,cat,0,2,train\n2,cat,4,3,train\n"
    )
    (folder / "stimuli.csv").write_text("stimulus,category\ncat,cat\ndog,dog\n")
    (folder / "dataset.toml").write_text(
        f"""\
[dataset]
slug = "series"
title = "Series"
licence = "CC0-1.0"
citation = "nobody"
[stimuli]
table = "stimuli.csv"
[timeseries]
unit = "{unit}"
lag = {lag}
[[participants]]
label = "a"
mask = "mask.nii.gz"
timeseries = "bold.nii.gz"
volumes = "volumes.csv"
trials = "trials.csv"
"""
    )
    return series

"""The slice of Haxby et al. (2001) as a data set with a manifest, for tests on real data."""

import csv
import os
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

_ROOT = Path(__file__).parents[3]


def find_haxby_slice() -> Path | None:
    """The folder of the slice: `SDC_HAXBY_SLICE`, else `shared/data` in or beside the checkout."""
    given = os.environ.get("SDC_HAXBY_SLICE")
    places = [Path(given)] if given else [_ROOT / "shared", _ROOT.parent / "shared"]
    folders = [place if given else place / "data/haxby_slice" for place in places]
    return next((folder for folder in folders if (folder / "bold.nii.gz").is_file()), None)


def write_haxby_manifest(
    folder: Path,
    slice_dir: Path,
    *,
    test_run: int = 11,
    validation_runs: Collection[int] = (9, 10),
    unit: Literal["block", "volume"] = "block",
    lag: int = 0,
) -> Path:
    """`dataset.toml` and its tables.

    Run r becomes session r + 1; a block is a stimulus of its own (`face-run00`) with its category
    as caption, so that the split by stimulus is one by run. Rest makes no trial. No lag is right:
    the labels of this distribution stand where the responses are (the mean response rises at a
    block's first label, not two volumes later).

    Parameters
    ----------
    folder : Path
        Where to write; made if need be.
    slice_dir : Path
        Holds `bold.nii.gz`, `mask.nii.gz` and `attributes_literal.txt` (`category run` a volume).

    Returns
    -------
    Path
        The manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = (slice_dir / "attributes_literal.txt").read_text().splitlines()
    volumes = [(category, int(run)) for category, run in map(str.split, lines)]
    _write(folder / "volumes.csv", ["session"], ([run + 1] for _, run in volumes))
    trials, stimuli = [], []
    for run, of_run in groupby(volumes, key=lambda volume: volume[1]):
        fold = "test" if run == test_run else "validation" if run in validation_runs else "train"
        start = 0
        for category, block in groupby(category for category, _ in of_run):
            duration = len(list(block))
            if category != "rest":
                key = f"{category}-run{run:02d}"
                trials.append([key, run + 1, start, duration])
                stimuli.append([key, category, fold])
            start += duration
    _write(folder / "trials.csv", ["stimulus", "session", "volume", "duration"], trials)
    _write(folder / "stimuli.csv", ["stimulus", "captions", "fold"], stimuli)
    source = slice_dir.resolve()
    manifest = folder / "dataset.toml"
    manifest.write_text(
        f"""\
[dataset]
slug = "haxby-slice"
title = "Visual object categories, one slice of one participant"
licence = "CC BY-SA 3.0"
citation = "Haxby et al. (2001), Science 293, 2425-2430; as distributed with PyMVPA"

[stimuli]
table = "stimuli.csv"

[timeseries]
unit = "{unit}"
lag = {lag}
tr = 2.5

[[participants]]
label = "subj01"
mask = '{source / "mask.nii.gz"}'
timeseries = '{source / "bold.nii.gz"}'
volumes = "volumes.csv"
trials = "trials.csv"
"""
    )
    return manifest


def _write(path: Path, header: list[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)

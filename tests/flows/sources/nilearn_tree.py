"""A tree as `nilearn.datasets.fetch_haxby` leaves it, made up or of the real slice."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.flows.sources.nsd_tree import write_image

GRID = (4, 3, 2)
AFFINE = np.diag([3.5, 3.75, 3.75, 1])
BLOCKS = [("rest", 2), ("face", 3), ("rest", 3), ("scrambledpix", 3), ("rest", 3)]
RUNS = 4
LABELS = [(category, run) for run in range(RUNS) for category, n in BLOCKS for _ in range(n)]
REGIONS = ("mask4_vt", "mask8_face_vt", "mask8b_face_vt", "mask8_house_vt", "mask8b_house_vt")
# The made-up tree has fewer runs than the defaults name.
FOLDS = {"test_runs": [3], "validation_runs": [2]}


def write_haxby_tree(root: Path) -> dict[str, np.ndarray]:
    """Participants subj1 and subj2; the series, (X, Y, Z, T), by participant."""
    rng = np.random.default_rng(2)
    write_image(root / "mask.nii.gz", brain().astype(np.int16), AFFINE)
    (root / "stimuli").mkdir()
    series = {}
    for label in ("subj1", "subj2"):
        series[label] = rng.integers(900, 1100, (*GRID, len(LABELS)), dtype=np.int16)
        write_image(root / label / "bold.nii.gz", series[label], AFFINE)
        write_image(root / label / "anat.nii.gz", np.ones((8, 8, 8), np.int16))
        write_labels(root / label / "labels.txt", LABELS)
        for size, name in enumerate(REGIONS, start=1):
            members = np.zeros(GRID, np.int16)
            members.flat[: 2 * size] = 1
            write_image(root / label / f"{name}.nii.gz", members, AFFINE)
    return series


def brain() -> np.ndarray:
    """Voxels of the brain mask, bool (X, Y, Z)."""
    mask = np.ones(GRID, bool)
    mask[0, 0, 0] = mask[3, 2, 1] = False
    return mask


def write_labels(path: Path, labels: list[tuple[str, int]]) -> None:
    """`labels.txt`: a category and a run for each volume."""
    lines = [f"{category} {run}" for category, run in labels]
    path.write_text("\n".join(["labels chunks", *lines]) + "\n")


def slice_as_nilearn(root: Path, slice_dir: Path) -> Path:
    """The real slice under nilearn's names, as links."""
    lines = (slice_dir / "attributes_literal.txt").read_text().splitlines()
    labels = [(category, int(run)) for category, run in map(str.split, lines)]
    assert all(before <= run for (_, before), (_, run) in pairwise(labels))
    (root / "subj1").mkdir(parents=True)
    (root / "mask.nii.gz").symlink_to((slice_dir / "mask.nii.gz").resolve())
    (root / "subj1/bold.nii.gz").symlink_to((slice_dir / "bold.nii.gz").resolve())
    write_labels(root / "subj1/labels.txt", labels)
    return root

"""Small BIDS derivatives of betas on surfaces, GIFTI or CIFTI-2, which a test can alter."""

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable
from PIL import Image

from tests.flows.sources.bids_tree import (
    DESCRIPTION,
    FOLDERS,
    SHOWN,
    STIMULI,
    event_file,
    func,
    stem,
    write_events,
    write_json,
)

N = 12
SIDES = ("L", "R")
# CIFTI leaves the medial wall out; here it names its vertices in no order.
CORTEX = ([11, 0, 1, 2, 5, 6, 7, 9], [1, 2, 3, 4, 10])
VOXELS = 4
PLACES = np.random.default_rng(8).uniform(-60, 60, (2, N, 3)).astype(np.float32)

# (trials, 2, N) of each run.
Betas = dict[tuple[str, str, int], np.ndarray]


def gifti_file(root: Path, subject: str, session: str, run: int, side: str) -> Path:
    """The betas of a run in one hemisphere."""
    name = f"{stem(subject, session, run)}_hemi-{side}_space-fsLR_den-32k_stat-effect_statmap"
    return func(root, subject, session) / f"{name}.func.gii"


def cifti_file(root: Path, subject: str, session: str, run: int) -> Path:
    """The betas of a run."""
    name = f"{stem(subject, session, run)}_space-fsLR_den-91k_stat-effect_statmap"
    return func(root, subject, session) / f"{name}.dscalar.nii"


def template_file(root: Path, side: str) -> Path:
    """The template's surface."""
    return root / f"tpl-fsLR_den-32k_hemi-{side}_midthickness.surf.gii"


def label_file(root: Path, side: str) -> Path:
    """GIFTI's atlas of sub-01."""
    return root / f"sub-01/func/sub-01_hemi-{side}_space-fsLR_den-32k_atlas-floc_dseg.label.gii"


def save(image: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)  # type: ignore[arg-type]


def write_gifti(path: Path, values: np.ndarray) -> None:
    """One data array for each row of (trials, N)."""
    arrays = [GiftiDataArray(row.astype(np.float32), "NIFTI_INTENT_NORMAL") for row in values]
    save(GiftiImage(darrays=arrays), path)


def write_surface(path: Path, places: np.ndarray) -> None:
    points = GiftiDataArray(places.astype(np.float32), "NIFTI_INTENT_POINTSET")
    corners = np.array([[0, 1, 2], [1, 2, 3]], np.int32)
    save(GiftiImage(darrays=[points, GiftiDataArray(corners, "NIFTI_INTENT_TRIANGLE")]), path)


def write_labels(path: Path, labels: np.ndarray, names: dict[int, str]) -> None:
    table = GiftiLabelTable()
    for key, name in names.items():
        label = GiftiLabel(key)
        label.label = name
        table.labels.append(label)
    array = GiftiDataArray(labels.astype(np.int32), "NIFTI_INTENT_LABEL")
    save(GiftiImage(darrays=[array], labeltable=table), path)


def brain_models(cortex: Sequence[Sequence[int]] = CORTEX, n: int = N) -> BrainModelAxis:
    """Left and right cortex, and a few voxels of the thalamus between them."""
    left, right = (
        BrainModelAxis.from_surface(vertices, n, f"Cortex{side}")
        for vertices, side in zip(cortex, ("Left", "Right"), strict=True)
    )
    inside = np.zeros((3, 3, 3), bool)
    inside.ravel()[:VOXELS] = True
    thalamus = BrainModelAxis.from_mask(inside, "thalamus_left", np.eye(4))
    return left + thalamus + right


def write_cifti(path: Path, values: np.ndarray, axis: BrainModelAxis | None = None) -> None:
    """(trials, 2, N) at the vertices of the brain models; other brain places hold 99."""
    models = axis or brain_models()
    rows = np.full((len(values), len(models)), 99.0, np.float32)
    for side, name in enumerate(("LEFT", "RIGHT")):
        there = models.name == f"CIFTI_STRUCTURE_CORTEX_{name}"
        rows[:, there] = values[:, side, models.vertex[there]]
    trials = ScalarAxis([f"trial {trial}" for trial in range(len(values))])
    save(Cifti2Image(rows, (trials, models)), path)


def write_cifti_labels(path: Path, labels: np.ndarray, names: dict[int, str]) -> None:
    """(2, N) labels at the vertices of the brain models, 0 elsewhere."""
    models = brain_models()
    row = np.zeros((1, len(models)), np.float32)
    for side, name in enumerate(("LEFT", "RIGHT")):
        there = models.name == f"CIFTI_STRUCTURE_CORTEX_{name}"
        row[0, there] = labels[side, models.vertex[there]]
    table = {key: (name, (0, 0, 0, 1)) for key, name in names.items()}
    save(Cifti2Image(row, (LabelAxis(["atlas"], table), models)), path)


def atlas() -> np.ndarray:
    """Labels of every vertex, (2, N)."""
    labels = np.zeros((2, N), int)
    labels[0, :4] = labels[1, 2] = 3
    # The last vertex that CIFTI names, too.
    labels[1, [4, 5, 10]] = 5
    return labels


ATLAS_NAMES = {0: "???", 3: "FFA", 5: "PPA"}


def _write_common(root: Path) -> Betas:
    rng = np.random.default_rng(4)
    write_json(root / "dataset_description.json", DESCRIPTION | {"Name": "Things on surfaces"})
    write_json(root / "task-things_stat-effect_statmap.json", {"Scale": 0.5})
    (root / ".bidsignore").write_text("*_statmap.*\n")
    (root / "stimuli").mkdir()
    (root / "stimuli/stimuli.tsv").write_text(STIMULI)
    for name in ("cat", "dog", "owl"):
        Image.new("RGB", (4, 3), (1, 2, 3)).save(root / f"stimuli/{name}.png")
    for side, places in zip(SIDES, PLACES, strict=True):
        write_surface(template_file(root, side), places)
    betas = {}
    for subject, session in FOLDERS:
        for run, shown in SHOWN.items():
            betas[subject, session, run] = rng.normal(0, 1, (len(shown), 2, N)).astype(np.float32)
            write_events(event_file(root, subject, session, run), shown)
    return betas


def write_gifti_tree(root: Path) -> Betas:
    """Two participants with two sessions of two runs; the stored values by run."""
    betas = _write_common(root)
    for key, values in betas.items():
        for side, name in enumerate(SIDES):
            write_gifti(gifti_file(root, *key, name), values[:, side])
    for side, name in enumerate(SIDES):
        write_labels(label_file(root, name), atlas()[side], ATLAS_NAMES)
    return betas


def write_cifti_tree(root: Path) -> Betas:
    """The same, both hemispheres in a file."""
    betas = _write_common(root)
    for key, values in betas.items():
        write_cifti(cifti_file(root, *key), values)
    name = "sub-01_space-fsLR_den-91k_atlas-floc_dseg.dlabel.nii"
    write_cifti_labels(root / "sub-01/func" / name, atlas(), ATLAS_NAMES)
    return betas

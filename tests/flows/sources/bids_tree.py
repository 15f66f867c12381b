"""Small BIDS derivatives of betas, whose parts a test can replace."""

import json
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tests.flows.sources.nsd_tree import write_image

GRID = (4, 3, 2)
AFFINE = np.array([[-2.0, 0, 0, 4], [0, 2, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1]])
SPACE = "MNI152NLin6Asym"
DESCRIPTION = {
    "Name": "Things, betas",
    "BIDSVersion": "1.10.0",
    "DatasetType": "derivative",
    "GeneratedBy": [{"Name": "betas"}],
    "License": "CC0-1.0",
    "Authors": ["A. Doe", "B. Roe"],
}
# What each run shows; a run has rest between its trials.
SHOWN = {1: ["cat.png", "dog.png", "cat.png"], 2: ["owl.png", "dog.png"]}
STIMULI = """\
stimulus_id\tcaption\tshared\tfold\timage
cat.png\ta cat| the  cat\ttrue\ttrain\tcat.png
dog.png\ta dog\tn/a\ttest\tn/a
owl.png\tn/a\tfalse\tvalidation\tn/a
"""
FOLDERS = [("01", "01"), ("01", "02"), ("02", "01"), ("02", "10")]

Betas = dict[tuple[str, str, int], np.ndarray]


def stem(subject: str, session: str, run: int | None = None) -> str:
    """The entities of the source, as they begin a name."""
    part = "" if run is None else f"_run-{run:02d}"
    return f"sub-{subject}_ses-{session}_task-things{part}"


def func(root: Path, subject: str, session: str) -> Path:
    """The folder of a session."""
    return root / f"sub-{subject}" / f"ses-{session}" / "func"


def beta_file(root: Path, subject: str, session: str, run: int, space: str = SPACE) -> Path:
    """The betas of a run."""
    name = f"{stem(subject, session, run)}_space-{space}_stat-effect_statmap.nii.gz"
    return func(root, subject, session) / name


def mask_file(root: Path, subject: str, space: str = SPACE) -> Path:
    """The brain mask of a participant."""
    name = f"sub-{subject}_task-things_space-{space}_desc-brain_mask.nii.gz"
    return root / f"sub-{subject}/func" / name


def event_file(root: Path, subject: str, session: str, run: int) -> Path:
    """The events of a run."""
    return func(root, subject, session) / f"{stem(subject, session, run)}_events.tsv"


def atlas_file(root: Path) -> Path:
    """The atlas of sub-01."""
    name = f"sub-01_task-things_space-{SPACE}_atlas-floc_dseg.nii.gz"
    return root / "sub-01/func" / name


def brain() -> np.ndarray:
    """Voxels of every mask, bool (X, Y, Z)."""
    mask = np.ones(GRID, bool)
    mask[0, 0, 0] = mask[3, 2, 1] = False
    return mask


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_events(path: Path, shown: list[str], before: float = 0) -> None:
    """A trial every four seconds, and a rest after each."""
    lines = ["onset\tduration\ttrial_type\tstim_file"]
    for trial, stimulus in enumerate(shown):
        onset = before + 4 * trial
        lines += [f"{onset}\t2\tpicture\t{stimulus}", f"{onset + 2}\t2\trest\tn/a"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_common(root: Path) -> None:
    """Description, stimuli, masks and an atlas."""
    write_json(root / "dataset_description.json", DESCRIPTION)
    # BIDS 1.11 has no name for betas.
    (root / ".bidsignore").write_text("*_statmap.*\n")
    (root / "stimuli").mkdir()
    (root / "stimuli/stimuli.tsv").write_text(STIMULI)
    for name in ("cat", "dog", "owl"):
        Image.new("RGB", (4, 3), (1, 2, 3)).save(root / f"stimuli/{name}.png")
    for subject in ("01", "02"):
        write_image(mask_file(root, subject), brain().astype(np.uint8), AFFINE)
    labels = np.zeros(GRID, np.int16)
    labels[1] = 1
    labels[1, 0] = 7
    write_image(atlas_file(root), labels, AFFINE)
    (root / "atlas-floc_dseg.tsv").write_text("index\tname\n1\tFFA\n7\tPPA\n")


def write_bids_tree(root: Path) -> Betas:
    """Two participants with two sessions of two runs; the stored values by run."""
    rng = np.random.default_rng(4)
    root.mkdir(parents=True, exist_ok=True)
    write_common(root)
    write_json(root / "task-things_stat-effect_statmap.json", {"Scale": 0.5})
    betas = {}
    for subject, session in FOLDERS:
        for run, shown in SHOWN.items():
            values = rng.normal(0, 1, (*GRID, len(shown))).astype(np.float32)
            betas[subject, session, run] = values
            write_image(beta_file(root, subject, session, run), values, AFFINE)
            write_events(event_file(root, subject, session, run), shown)
    return betas


def write_glmsingle_tree(root: Path) -> Betas:
    """The same, as GLMsingle's Python writes a session of all runs; its betas under run 0."""
    rng = np.random.default_rng(6)
    root.mkdir(parents=True, exist_ok=True)
    write_common(root)
    betas = {}
    trials = sum(map(len, SHOWN.values()))
    for subject, session in FOLDERS:
        values = rng.normal(0, 1, (*GRID, trials)).astype(np.float32)
        betas[subject, session, 0] = values
        for run, shown in SHOWN.items():
            write_events(event_file(root, subject, session, run), shown)
        path = func(root, subject, session) / "glmsingle/TYPED_FITHRF_GLMDENOISE_RR.hdf5"
        path.parent.mkdir()
        with h5py.File(path, "w") as file:
            file.create_dataset("HRFindex", data=np.ones(GRID, np.int64))
            file.create_dataset("pcvoxels", data=h5py.Empty("f"))
            file.create_dataset("betasmd", data=values)
            file.create_dataset("R2", data=np.ones(GRID, np.float32))
            file.create_dataset("meanvol", data=np.ones(GRID, np.float32))
    return betas

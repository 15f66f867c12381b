"""A tiny tree in NSD's layout, written from arrays that a test can compare with."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
from scipy.io import savemat

PREPARED = "func1pt8mm/betas_fithrf_GLMdenoise_RR"
TRIALS_PER_SESSION = 6
N_PICTURES = 10

# Written out by hand: which of the participant's pictures each trial shows (from 1), the 73k ids
# of these pictures (from 1), and what is shared.
ORDER = [1, 2, 3, 1, 4, 2, 1, 3, 4, 2, 2, 1]
IMAGES = [[3, 1, 7, 10], [3, 5, 7, 2]]
SHARED = [3, 7]
SHOWN = {
    "subj01": [3, 1, 7, 3, 10, 1, 3, 7, 10, 1, 1, 3],
    "subj02": [3, 5, 7, 3, 2, 5, 3, 7, 2, 5, 5, 3],
}
GRIDS = {"subj01": (7, 6, 5), "subj02": (5, 8, 3)}
AFFINE = np.array([[1.8, 0, 0, -6], [0, 1.8, 0, -5], [0, 0, 1.8, -4], [0, 0, 0, 1]])


@dataclass
class NsdTree:
    """The tree's root, and the truth: betas int16 (X, Y, Z, T), masks bool (X, Y, Z)."""

    root: Path
    betas: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def design(self) -> Path:
        return self.root / "nsddata/experiments/nsd/nsd_expdesign.mat"

    @property
    def stim_info(self) -> Path:
        return self.root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"

    @property
    def pictures(self) -> Path:
        return self.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"

    def prepared(self, participant: str) -> Path:
        return self.root / "nsddata_betas/ppdata" / participant / PREPARED

    def session(self, participant: str, session: int, kind: str = "hdf5") -> Path:
        return self.prepared(participant) / f"betas_session{session:02d}.{kind}"

    def functional(self, participant: str) -> Path:
        return self.root / "nsddata/ppdata" / participant / "func1pt8mm"

    def labels(self, participant: str) -> Path:
        return self.root / "nsddata/freesurfer" / participant / "label"

    def transforms(self, participant: str) -> Path:
        return self.root / "nsddata/ppdata" / participant / "transforms"


def write_image(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """A NIfTI image in the type of its values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine, dtype=values.dtype), path)


def write_hdf5_betas(path: Path, values: np.ndarray, name: str = "betas") -> None:
    """(X, Y, Z, T) as MATLAB writes it: h5py sees (T, Z, Y, X)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=values.transpose(3, 2, 1, 0), chunks=True)


def write_design(
    path: Path,
    order: list[int] = ORDER,
    images: list[list[int]] = IMAGES,
    shared: list[int] = SHARED,
) -> None:
    """`nsd_expdesign.mat`; MATLAB keeps all three as doubles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = {"masterordering": [order], "subjectim": images, "sharedix": [shared]}
    savemat(path, {name: np.array(value, float) for name, value in variables.items()})


def coco_id(nsd_id: int) -> int:
    """The COCO id that the tree gives to a 0-based nsdId."""
    return 1000 + 7 * nsd_id


def write_nsd_tree(root: Path, *, seed: int = 0) -> NsdTree:
    """Two participants with two sessions each: subj01 in HDF5, subj02 in NIfTI."""
    rng = np.random.default_rng(seed)
    tree = NsdTree(root)
    write_design(tree.design)
    _write_stimuli(tree)
    for participant, grid in GRIDS.items():
        mask = rng.random(grid) < 0.6
        mask[0, 0, 0] = True
        tree.masks[participant] = mask
        ncsnr = np.where(mask, rng.random(grid) + 0.1, np.nan).astype(np.float32)
        write_image(tree.prepared(participant) / "ncsnr.nii.gz", ncsnr)
        for session in (1, 2):
            betas = rng.integers(-3000, 3000, (*grid, TRIALS_PER_SESSION), dtype=np.int16)
            tree.betas[participant, session] = betas
            if participant == "subj01":
                write_hdf5_betas(tree.session(participant, session), betas)
            else:
                write_image(tree.session(participant, session, "nii.gz"), betas)
        _write_regions(tree, participant, grid)
        coordinates = np.stack(np.indices(grid), axis=-1) + np.array([91, 127, 73])
        coordinates[0, 0, 0] = 9999
        write_image(
            tree.transforms(participant) / "func1pt8-to-MNI.nii.gz",
            coordinates.astype(np.float32),
        )
    return tree


def _write_stimuli(tree: NsdTree) -> None:
    folder = tree.pictures.parent
    (folder / "annotations").mkdir(parents=True)
    with h5py.File(tree.pictures, "w") as file:
        rows = np.arange(N_PICTURES, dtype=np.uint8)[:, None, None, None]
        file["imgBrick"] = np.broadcast_to(rows, (N_PICTURES, 4, 6, 3))
    lines = [",cocoId,cocoSplit,nsdId,shared1000"]
    lines += [
        f"{nsd_id},{coco_id(nsd_id)},train2017,{nsd_id},{nsd_id + 1 in SHARED}"
        for nsd_id in range(N_PICTURES)
    ]
    tree.stim_info.write_text("\n".join(lines) + "\n")
    for part, ids in (("train", range(6)), ("val", range(6, N_PICTURES))):
        annotations = [
            {"id": 0, "image_id": coco_id(nsd_id), "caption": f" picture {nsd_id},\n view {view}"}
            for view in (1, 2)
            for nsd_id in ids
        ]
        annotations.append({"id": 1, "image_id": 1, "caption": "shown to nobody"})
        path = folder / "annotations" / f"captions_{part}2017.json"
        path.write_text(json.dumps({"info": {}, "annotations": annotations}))


def _write_regions(tree: NsdTree, participant: str, grid: tuple[int, int, int]) -> None:
    roi = tree.functional(participant) / "roi"
    left, right = np.full(grid, -1, np.int16), np.full(grid, -1, np.int16)
    left[:2] = 0
    left[0, 0], left[1, 1] = 1, 2
    right[2:] = 0
    right[3, 2] = 1
    merged = np.zeros(grid, np.int16)
    merged[1, 1, 1], merged[2, 2, 2] = 1, 2
    write_image(roi / "lh.prf-visualrois.nii.gz", left)
    write_image(roi / "rh.prf-visualrois.nii.gz", right)
    write_image(roi / "lh.floc-faces.nii.gz", np.full(grid, 2, np.int16))
    write_image(roi / "floc-faces.nii.gz", merged)
    write_image(roi / "nsdgeneral.nii.gz", (merged > 0).astype(np.int16))
    labels = tree.labels(participant)
    labels.mkdir(parents=True)
    (labels / "prf-visualrois.mgz.ctab").write_text("0 Unknown\n1 V1v\n2 V1d\n3 V2v\n")
    (labels / "floc-faces.mgz.ctab").write_text("# faces\n0 Unknown\n1 OFA 10 20 30 0\n2 FFA-1\n")
    tval = np.arange(np.prod(grid), dtype=np.float32).reshape(grid)
    write_image(tree.functional(participant) / "floc_facestval.nii.gz", tval)
    write_image(roi / "floc_bodiestval.nii.gz", -tval)

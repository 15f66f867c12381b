"""Writers for NSD's files, one a kind (METHOD.md "NSD on disk"; NSD manual).

Everything is laid out as NSD has it but for sizes: grids of 3 mm voxels stand in the folder
``func1pt8mm`` (headers tell the truth), pictures are 64 x 64, and there are fewer sessions, images
and participants.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from scipy.io import savemat

from flows.demo.anatomy import FLOC_ATLASES, VISUAL_AREAS, VISUAL_ATLAS, Anatomy
from flows.demo.design import Design

BETAS = "betas_fithrf_GLMdenoise_RR"
SPACE = "func1pt8mm"
SCALE = 300
INVALID = 9999
MNI_FLIP = np.array([-1, 1, 1])
MNI_ORIGIN = np.array([90, 126, 72])
NSD_PARTICIPANTS = 8
MATLAB_HEADER = b"MATLAB 5.0 MAT-file"

LABELS: dict[str, tuple[str, ...]] = {
    **FLOC_ATLASES,
    VISUAL_ATLAS: tuple(VISUAL_AREAS),
    "nsdgeneral": ("nsdgeneral",),
}


def label_of(participant: int) -> str:
    """NSD's name of the participant with this 0-based index: ``subj01`` for 0."""
    return f"subj{participant + 1:02d}"


def betas_folder(root: Path, label: str) -> Path:
    return root / "nsddata_betas" / "ppdata" / label / SPACE / BETAS


def participant_folder(root: Path, label: str) -> Path:
    return root / "nsddata" / "ppdata" / label


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write an array (X, Y, Z[, n]) as NIfTI, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.nifti1.Nifti1Image(values, affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm", "sec")  # type: ignore[no-untyped-call]
    nib.loadsave.save(image, path)


def write_betas(
    root: Path,
    label: str,
    session: int,
    betas: np.ndarray,
    anatomy: Anatomy,
    *,
    nifti: bool,
) -> None:
    """Write one session: int16, percent signal change x 300, saturated; 0 outside the brain.

    Parameters
    ----------
    root : Path
    label : str
    session : int
        1-based.
    betas : numpy.ndarray
        (T, V) percent signal change, brain voxels in C order of (X, Y, Z).
    anatomy : Anatomy
    nifti : bool
        NIfTI (X, Y, Z, T) instead of HDF5 (T, Z, Y, X).
    """
    limits = np.iinfo(np.int16)
    scaled = np.clip(np.rint(betas * SCALE), limits.min, limits.max).astype(np.int16)
    x, y, z = anatomy.brain.shape
    volumes = np.zeros((len(betas), z, y, x), dtype=np.int16)
    i, j, k = np.nonzero(anatomy.brain)
    volumes[:, k, j, i] = scaled
    folder = betas_folder(root, label)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"betas_session{session:02d}"
    if nifti:
        write_volume(folder / f"{stem}.nii.gz", volumes.transpose(3, 2, 1, 0), anatomy.affine)
        return
    with h5py.File(folder / f"{stem}.hdf5", "w") as file:
        file.create_dataset("betas", data=volumes)


def write_brain_map(path: Path, values: np.ndarray, anatomy: Anatomy) -> None:
    """Write values (V,) of brain voxels as float32 NIfTI, NaN outside the brain."""
    volume = np.full(anatomy.brain.shape, np.nan, dtype=np.float32)
    volume[anatomy.brain] = values
    write_volume(path, volume, anatomy.affine)


def write_anatomy(root: Path, label: str, anatomy: Anatomy) -> None:
    """Write regions (merged, lh., rh.), colour tables, localiser maps and the MNI transform.

    A transform named A-to-B lies on the grid of B and holds 1-based voxel coordinates of A (NSD
    manual; cvnlab/nsdcode): where a functional voxel lies in MNI is in ``MNI-to-func1pt8``.
    """
    folder = participant_folder(root, label) / SPACE
    left = anatomy.mni[..., 0] < 0
    for name, labels in anatomy.atlases.items():
        for prefix, hemisphere in (("", np.ones_like(left)), ("lh.", left), ("rh.", ~left)):
            values = np.where(hemisphere, labels, -1).astype(np.int16)
            write_volume(folder / "roi" / f"{prefix}{name}.nii.gz", values, anatomy.affine)
    for name, values in anatomy.maps.items():
        write_volume(folder / f"{name}.nii.gz", values, anatomy.affine)

    tables = root / "nsddata" / "freesurfer" / label / "label"
    tables.mkdir(parents=True, exist_ok=True)
    for name, regions in LABELS.items():
        lines = ["0 Unknown 0 0 0 0"]
        for index, region in enumerate(regions, start=1):
            red, green, blue = (index * 83) % 256, (index * 151) % 256, (index * 211) % 256
            lines.append(f"{index} {region} {red} {green} {blue} 0")
        (tables / f"{name}.mgz.ctab").write_text("\n".join(lines) + "\n")

    # NSD counts MNI voxels from the right (cvnlab/nsdcode), functional ones from the left.
    voxels = anatomy.mni * MNI_FLIP + MNI_ORIGIN + 1
    coordinates = np.where(anatomy.brain[..., None], voxels, INVALID).astype(np.float32)
    transforms = participant_folder(root, label) / "transforms"
    write_volume(transforms / "MNI-to-func1pt8.nii.gz", coordinates, anatomy.affine)


def write_experiment(root: Path, design: Design) -> None:
    """Write ``nsd_expdesign.mat`` (1-based ids) and ``nsd_stim_info_merged.csv`` (0-based ids)."""
    folder = root / "nsddata" / "experiments" / "nsd"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "nsd_expdesign.mat"
    savemat(
        path,
        {
            "masterordering": design.master_ordering[None].astype(np.float64),
            "subjectim": design.subject_ids.astype(np.float64),
            "sharedix": design.shared_ids[None].astype(np.float64),
        },
    )
    # The format's 116 bytes of free text hold the time of writing, which a seed cannot repeat.
    with path.open("r+b") as file:
        file.write(MATLAB_HEADER.ljust(116))

    shared = set(design.shared_ids.tolist())
    shown = [_trial_numbers(design, s) for s in range(len(design.subject_ids))]
    repeats = max(len(trials) for trials in shown[0].values())
    people = range(1, NSD_PARTICIPANTS + 1)
    header = ["", "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000"]
    header += ["shared1000", *(f"subject{k}" for k in people)]
    header += [f"subject{k}_rep{r}" for k in people for r in range(repeats)]
    with (folder / "nsd_stim_info_merged.csv").open("w", newline="") as rows:
        table = csv.writer(rows, lineterminator="\n")
        table.writerow(header)
        for index, coco in enumerate(design.coco_ids.tolist()):
            trials = [by_id.get(index + 1, []) for by_id in shown]
            trials += [[] for _ in range(NSD_PARTICIPANTS - len(shown))]
            padded = [each + [0] * (repeats - len(each)) for each in trials]
            row = [index, coco, split_of(design, index), "(0, 0, 0, 0)", 0.0, index, False, False]
            row += [index + 1 in shared, *(int(bool(each)) for each in trials)]
            table.writerow(row + [number for each in padded for number in each])


def _trial_numbers(design: Design, participant: int) -> dict[int, list[int]]:
    """Image id -> the 1-based trials that showed it to a participant."""
    numbers: dict[int, list[int]] = {}
    for trial, image in enumerate(design.trial_ids(participant).tolist(), start=1):
        numbers.setdefault(image, []).append(trial)
    return numbers


def split_of(design: Design, index: int) -> str:
    """COCO split of the image with this 0-based index."""
    return "val2017" if design.validation_split[index] else "train2017"


def write_stimuli(
    root: Path, design: Design, images: np.ndarray, captions: Sequence[Sequence[str]]
) -> None:
    """Write the pictures' HDF5 file and the captions in COCO's own format, one file a split.

    Parameters
    ----------
    root : Path
    design : Design
    images : numpy.ndarray
        (J, H, W, 3) uint8, row = image id - 1.
    captions : sequence of J sequences of str
    """
    folder = root / "nsddata_stimuli" / "stimuli" / "nsd"
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "nsd_stimuli.hdf5", "w") as file:
        file.create_dataset("imgBrick", data=images)
    height, width = images.shape[1:3]
    for split in ("train2017", "val2017"):
        records, annotations = [], []
        for index, coco in enumerate(design.coco_ids.tolist()):
            if split_of(design, index) != split:
                continue
            name = f"{coco:012d}.jpg"
            records.append({"id": coco, "file_name": name, "height": height, "width": width})
            for n, caption in enumerate(captions[index]):
                annotations.append({"image_id": coco, "id": coco * 10 + n, "caption": caption})
        document = {
            "info": {"description": "Captions drawn from a grammar, in the format of COCO 2017"},
            "licenses": [],
            "images": records,
            "annotations": annotations,
        }
        path = folder / "annotations" / f"captions_{split}.json"
        path.write_text(json.dumps(document))


RESPONSE_COLUMNS = (
    "SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID", "TIME", "ISOLD", "ISCORRECT", "RT",
    "CHANGEMIND", "MEMORYRECENT", "MEMORYFIRST", "ISOLDCURRENT", "ISCORRECTCURRENT", "TOTAL1",
    "TOTAL2", "BUTTON", "MISSINGDATA",
)  # fmt: skip
RUNS_PER_SESSION = 12


def write_responses(root: Path, design: Design, participant: int, rng: np.random.Generator) -> None:
    """Write ``responses.tsv``: one row a trial of the recognition task, ids 1-based.

    Parameters
    ----------
    root : Path
    design : Design
    participant : int
        0-based.
    rng : numpy.random.Generator
        Decides reaction times and errors.
    """
    ids = design.trial_ids(participant)
    sessions = design.session
    last_trial: dict[int, int] = {}
    first_trial: dict[int, int] = {}
    lines = ["\t".join(RESPONSE_COLUMNS)]
    correct = rng.random(ids.size) < 0.85
    reaction = rng.lognormal(np.log(900), 0.25, ids.size)
    for trial, (image, session) in enumerate(zip(ids.tolist(), sessions.tolist(), strict=True)):
        within = trial % design.trials_per_session
        run = within * RUNS_PER_SESSION // design.trials_per_session
        run_start = -(-run * design.trials_per_session // RUNS_PER_SESSION)
        last, old = last_trial.get(image), image in last_trial
        recent = str(trial - last - 1) if last is not None else "NaN"
        first = str(trial - first_trial[image] - 1) if old else "NaN"
        current = last is not None and sessions[last] == session
        is_correct, says_old = bool(correct[trial]), old == bool(correct[trial])
        values: tuple[object, ...] = (
            participant + 1, session, run + 1, within - run_start + 1, image,
            int(design.master_ordering[trial]), f"{session * 7 + within * 4 / 86400:.6f}",
            int(old), int(is_correct), f"{reaction[trial]:.3f}", 0, recent, first, int(current),
            int(says_old == current), int(not says_old), int(says_old), 2 if says_old else 1, 0,
        )  # fmt: skip
        lines.append("\t".join(map(str, values)))
        last_trial[image] = trial
        first_trial.setdefault(image, trial)
    path = participant_folder(root, label_of(participant)) / "behav" / "responses.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")

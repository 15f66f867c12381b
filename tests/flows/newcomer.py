"""What somebody brings who has just read docs/sources.md: a lab's set with two planted concepts."""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tests.flows.sources.bids_tree import write_json
from tests.flows.sources.nsd_tree import write_image

Form = Literal["betas", "timeseries"]

SLUG = "newcomer"
PARTICIPANTS: dict[Form, int] = {"betas": 3, "timeseries": 2}
SESSIONS = 2
RUNS = 4  # Of each session.
GRID = (12, 10, 8)
# Voxels of 3 mm, half of them in each hemisphere.
AFFINE = np.array([[-3.0, 0, 0, 16.5], [0, 3, 0, -60], [0, 0, 3, -18], [0, 0, 0, 1]])
SPACE = "MNI152NLin6Asym"
# Standard deviations of one trial's noise by which a patch responds more to its category.
GAIN = 2.0
# Nouns of ten categories; those that are planted come first, with the region that is theirs.
CATEGORIES = {
    "face": ("face of a woman", "face of a man", "face of a child", "smiling face"),
    "house": ("house", "brick house", "cottage with a roof", "building with windows"),
    "cat": ("cat", "kitten", "sleeping cat", "grey cat"),
    "car": ("car", "red car", "parked sports car", "old car"),
    "flower": ("flower", "rose", "bunch of tulips", "yellow sunflower"),
    "chair": ("chair", "wooden chair", "armchair", "office chair"),
    "shoe": ("shoe", "leather boot", "pair of sneakers", "sandal"),
    "pizza": ("pizza", "slice of pizza", "plate of pasta", "sandwich"),
    "boat": ("boat", "sailing boat", "rowing boat", "ship"),
    "guitar": ("guitar", "electric guitar", "violin", "banjo"),
}
PLACES = (
    "on a grey background",
    "in the evening light",
    "seen from the front",
    "in a black and white photograph",
)
PLANTED = {"face": "FFA", "house": "PPA"}
# Lowest corner of each patch, and its edges; it lies in the right hemisphere (low i) alone.
_CORNER = {"face": (1, 1, 1), "house": (1, 6, 3)}
_EDGES = (3, 3, 4)
# Of time series: volumes from one picture to the next, those that a picture lasts, and those that
# pass before it is responded to.
_EVERY, _LASTS, _LAG = 4, 2, 2


def write_newcomer(
    folder: Path, form: Form = "betas", *, planted: bool = True, seed: int = 0
) -> Path:
    """A small lab's data set in a layout that docs/sources.md describes, and nothing tuned to it.

    160 pictures of ten categories, 16 of each, every one with a caption of its own; each is shown
    once in each of two sessions, in an order drawn for each participant and session: 320 trials a
    participant. Trials' responses are noise of one standard deviation, without any structure, in
    960 voxels. Where something is planted, two patches of 36 voxels each respond more to one
    category than to all else, by 2 of these deviations: one to faces, one to houses. They lie in
    the right hemisphere, in each participant up to one voxel away from where they lie in others,
    and are the regions ``floc:FFA`` and ``floc:PPA``; a third region, ``floc:LO``, as large, has
    noise alone. No picture is shown three times, so that there is no noise ceiling and no voxel is
    left out.

    Pictures are plain colours of no use to any encoder; an encoder of captions needs no network.

    Parameters
    ----------
    folder : Path
        Is made.
    form : {"betas", "timeseries"}
        Betas of three participants as a BIDS derivative (docs/sources.md), or time series of two,
        with a manifest (docs/manifest.md).
    planted : bool
        Without, all responses are noise: whatever is found then is found by chance.
    seed : int
        Of noise and orders.

    Returns
    -------
    Path
        The folder, for ``sdc ingest``; the data set's name is `SLUG` in both forms.
    """
    folder.mkdir(parents=True)
    keys, captions, category = _stimuli()
    _write_pictures(folder / "stimuli", keys, category)
    write = {"betas": _write_betas, "timeseries": _write_timeseries}[form]
    for number in range(1, PARTICIPANTS[form] + 1):
        rng = np.random.default_rng([seed, number])
        patches = _patches(rng)
        shown = np.stack([rng.permutation(len(keys)) for _ in range(SESSIONS)])
        gains = np.zeros((len(CATEGORIES), *GRID), np.float32)
        for name, patch in patches.items():
            if planted and name in PLANTED:
                gains[list(CATEGORIES).index(name), patch] = GAIN
        write(folder, f"{number:02d}", keys, shown, gains[category], patches, rng)
    if form == "betas":
        _write_description(folder, keys, captions)
    else:
        _write_manifest(folder, keys, captions)
    return folder


def _stimuli() -> tuple[list[str], list[str], np.ndarray]:
    """Keys, captions and category of every picture."""
    keys, captions, category = [], [], []
    for number, (name, nouns) in enumerate(CATEGORIES.items()):
        for noun in nouns:
            for place in PLACES:
                keys.append(f"{name}{len(keys) % 16 + 1:02d}.png")
                captions.append(f"a {noun} {place}")
                category.append(number)
    return keys, captions, np.array(category)


def _write_pictures(folder: Path, keys: list[str], category: np.ndarray) -> None:
    folder.mkdir()
    for number, key in enumerate(keys):
        colour = (25 * int(category[number]), number, 128)
        Image.new("RGB", (8, 8), colour).save(folder / key)


def _patches(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Voxels of each region, bool (X, Y, Z), by the category that it answers to."""
    patches = {}
    for name, corner in (_CORNER | {"": (8, 3, 2)}).items():
        low = np.array(corner) + rng.integers(-1, 2, size=3)
        index = np.indices(GRID)
        inside = [(index[a] >= low[a]) & (index[a] < low[a] + _EDGES[a]) for a in range(3)]
        patches[name] = np.logical_and.reduce(inside)
    return patches


def _labels(patches: dict[str, np.ndarray]) -> np.ndarray:
    labels = np.zeros(GRID, np.int16)
    for value, patch in enumerate(patches.values(), start=1):
        labels[patch] = value
    return labels


def _names() -> dict[str, int]:
    return {name: value for value, name in enumerate([*PLANTED.values(), "LO"], start=1)}


def _write_betas(
    root: Path,
    label: str,
    keys: list[str],
    shown: np.ndarray,
    gains: np.ndarray,
    patches: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> None:
    func = root / f"sub-{label}/func"
    stem = f"sub-{label}_task-pictures_space-{SPACE}"
    write_image(func / f"{stem}_desc-brain_mask.nii.gz", np.ones(GRID, np.uint8), AFFINE)
    write_image(func / f"{stem}_atlas-floc_dseg.nii.gz", _labels(patches), AFFINE)
    for session, order in enumerate(shown, start=1):
        place = root / f"sub-{label}/ses-{session:02d}/func"
        for run, part in enumerate(np.split(order, RUNS), start=1):
            name = f"sub-{label}_ses-{session:02d}_task-pictures_run-{run}"
            betas = gains[part] + rng.normal(size=(len(part), *GRID)).astype(np.float32)
            volumes = np.moveaxis(betas, 0, -1)
            write_image(place / f"{name}_space-{SPACE}_stat-effect_statmap.nii.gz", volumes, AFFINE)
            lines = [f"{4 * trial}\t2\tpicture\t{keys[each]}" for trial, each in enumerate(part)]
            table = ["onset\tduration\ttrial_type\tstim_file", *lines]
            (place / f"{name}_events.tsv").write_text("\n".join(table) + "\n")


def _write_description(root: Path, keys: list[str], captions: list[str]) -> None:
    write_json(
        root / "dataset_description.json",
        {
            "Name": SLUG,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "betas"}],
            "License": "CC0-1.0",
            "Authors": ["N. Newcomer"],
        },
    )
    (root / ".bidsignore").write_text("*_statmap.*\n")
    write_json(root / "task-pictures_stat-effect_statmap.json", {"Scale": 1})
    rows = [f"{key}\t{told}\t{key}" for key, told in zip(keys, captions, strict=True)]
    table = "\n".join(["stimulus_id\tcaption\timage", *rows]) + "\n"
    (root / "stimuli/stimuli.tsv").write_text(table)
    names = [f"{value}\t{name}" for name, value in _names().items()]
    (root / "atlas-floc_dseg.tsv").write_text("\n".join(["index\tname", *names]) + "\n")


def _write_timeseries(
    root: Path,
    label: str,
    keys: list[str],
    shown: np.ndarray,
    gains: np.ndarray,
    patches: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> None:
    place = root / f"sub-{label}"
    write_image(place / "mask.nii.gz", np.ones(GRID, np.uint8), AFFINE)
    write_image(place / "floc.nii.gz", _labels(patches), AFFINE)
    rows = ["stimulus,session,volume,duration"]
    # Percent of the mean, as betas are: a trial, the mean of its volumes, has noise of one.
    noise = np.sqrt(_LASTS)
    for run, part in enumerate(np.split(shown.ravel(), SESSIONS * RUNS), start=1):
        volumes = rng.normal(scale=noise, size=(_EVERY * len(part) + _LAG, *GRID))
        for trial, each in enumerate(part):
            first = _EVERY * trial
            rows.append(f"{keys[each]},{run},{first},{_LASTS}")
            volumes[first + _LAG : first + _LAG + _LASTS] += gains[each]
        series = np.moveaxis(100 + volumes, 0, -1).astype(np.float32)
        write_image(place / f"run-{run}_bold.nii.gz", series, AFFINE)
    (place / "trials.csv").write_text("\n".join(rows) + "\n")


def _write_manifest(root: Path, keys: list[str], captions: list[str]) -> None:
    rows = [f"{key},{told},stimuli/{key}" for key, told in zip(keys, captions, strict=True)]
    (root / "stimuli.csv").write_text("\n".join(["stimulus,captions,image", *rows]) + "\n")
    parts = [
        f'[dataset]\nslug = "{SLUG}"\ntitle = "{SLUG}"\nlicence = "CC0-1.0"\n'
        'citation = "N. Newcomer"',
        '[stimuli]\ntable = "stimuli.csv"',
        f'[timeseries]\nunit = "block"\nlag = {_LAG}\ntr = 2.5',
    ]
    labels = ", ".join(f"{name} = {value}" for name, value in _names().items())
    for number in range(1, PARTICIPANTS["timeseries"] + 1):
        place = f"sub-{number:02d}"
        series = ", ".join(f'"{place}/run-{run}_bold.nii.gz"' for run in range(1, 9))
        parts.append(
            f'[[participants]]\nlabel = "{place}"\nmask = "{place}/mask.nii.gz"\nspace = "MNI"\n'
            f'timeseries = [{series}]\ntrials = "{place}/trials.csv"\n'
            f'[[participants.regions]]\natlas = "floc"\nfile = "{place}/floc.nii.gz"\n'
            f"labels = {{ {labels} }}"
        )
    (root / "dataset.toml").write_text("\n\n".join(parts) + "\n")

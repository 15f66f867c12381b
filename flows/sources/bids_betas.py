"""Which files of a BIDS derivative hold betas, and of which space, task, session and run."""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import get_args

from app.errors import InputError
from flows.sources.bids_files import NIFTI, BidsFile, BidsFiles
from flows.sources.bids_options import BetaKind, BidsOptions
from flows.sources.bids_surfaces import BETAS as SURFACES
from flows.sources.volumes import Series

# The names and the dataset that GLMsingle's Python gives its final betas (cvnlab/GLMsingle,
# `glmsingle/glmsingle.py`), and that of NSD's per session.
TYPED = "TYPED_FITHRF_GLMDENOISE_RR"
_GLMSINGLE = re.compile(rf"{TYPED}\.hdf5|betas_session(\d+)\.nii(\.gz)?")
_TYPED_DATASET = "betasmd"


def find_betas(files: BidsFiles, options: BidsOptions) -> tuple[BetaKind, list[BidsFile]]:
    """The kind of the betas, and their files as the options choose them; of any space.

    Raises
    ------
    InputError
        There are none, or several kinds or tasks and none is chosen, or not the chosen ones.
    """
    found: dict[BetaKind, list[BidsFile]] = {}
    for kind in get_args(BetaKind):
        if of_kind := _of_kind(files, kind):
            found[kind] = of_kind
    if not found:
        raise _no_betas(files)
    kind = options.betas or next(iter(found))
    if kind not in found or (options.betas is None and len(found) > 1):
        reason = f"no {kind} betas" if kind not in found else "several kinds of betas"
        raise InputError(
            f"{files.root}: {reason}, there are: {', '.join(found)}",
            hint=f"choose by the option betas: {' or '.join(found)}",
        )
    betas = [
        file
        for file in found[kind]
        if all(file.get(key) == value for key, value in options.entities.items())
    ]
    if not betas:
        wanted = ", ".join(f"{key} {value}" for key, value in options.entities.items())
        raise InputError(
            f"{files.root}: no betas with {wanted}",
            hint=f"the first of those without: {found[kind][0].path.name}",
        )
    if kind != "glmsingle":
        task = choose(files.root, "task", [file.get("task") for file in betas], options.task)
        betas = [file for file in betas if file.get("task") == task]
    return kind, betas


def choose(
    root: Path, entity: str, values: Iterable[str | None], wanted: str | None, none: str = "(none)"
) -> str | None:
    """The value of an entity to read: the wanted one, or the only one.

    Parameters
    ----------
    none : str
        What files are called that do not have the entity.

    Raises
    ------
    InputError
        There are several and none is wanted, or the wanted one is not there.
    """
    names = {value or none: value for value in values}
    there = ", ".join(sorted(names))
    if wanted is None and len(names) > 1:
        raise InputError(
            f"{root}: {len(names)} {entity}s: {there}",
            hint=f"choose one by the option {entity}",
        )
    if wanted is not None and wanted not in names:
        raise InputError(f"{root}: no {entity} {wanted}", hint=f"there are: {there}")
    return names[wanted] if wanted is not None else next(iter(names.values()))


def series_of(file: BidsFile) -> Series:
    """The file's volumes: GLMsingle's Python keeps (X, Y, Z, trials), as NIfTI has it."""
    return Series(file.path, "XYZT", _TYPED_DATASET)


def number_sessions(
    root: Path, labels: Iterable[str], chosen: list[str] | None
) -> Mapping[str, int]:
    """Numbers of the sessions to read, that a session which is added does not change.

    Parameters
    ----------
    labels : iterable of str
        All that are there.
    chosen : list of str, optional
        Numbered from 1 as they stand. Without it the number is that at the end of each label.

    Raises
    ------
    InputError
        A chosen label is not there or stands twice, or a label gives no number of its own.
    """
    there = sorted(set(labels))
    if chosen is not None:
        for place, label in enumerate(chosen):
            if label in chosen[:place]:
                raise InputError(f"session {label} is chosen twice", hint="name each once")
            if label not in there:
                raise InputError(
                    f"{root}: no session {label}", hint=f"there are: {', '.join(there) or 'none'}"
                )
        return {label: number for number, label in enumerate(chosen, start=1)}
    numbers: dict[str, int] = {}
    for label in there:
        match = re.search(r"\d+$", label)
        number = int(match[0]) if match else 0
        if number < 1 or number in numbers.values():
            raise InputError(
                f"{root}: the label gives ses-{label} no session number of its own",
                hint="list the labels in order by the option sessions",
            )
        numbers[label] = number
    return numbers


def order_runs(betas: Iterable[BidsFile]) -> list[BidsFile]:
    """The betas of one session in order of their runs.

    Raises
    ------
    InputError
        Two files are of one run, or one of all runs stands beside another.
    """
    ordered = sorted(betas, key=lambda file: int(file.get("run") or 0))
    for before, file in pairwise(ordered):
        if before.get("run") in (None, file.get("run")):
            raise InputError(
                f"{file.path}: {before.path.name} holds betas of the same run",
                hint="choose one by the option entities, or by its label for run or session",
            )
    return ordered


def require_name(file: BidsFile, number: int) -> None:
    """Raise `InputError` where a file's own name is of another participant or session."""
    match = _GLMSINGLE.fullmatch(file.path.name)
    if match is not None:
        if match[1] and int(match[1]) != number:
            raise InputError(
                f"{file.path}: session {int(match[1])} by its name, {number} by its folder",
                hint="move it into the folder of its session, sub-XX/ses-YY/func",
            )
        return
    session = file.get("session")
    stem = f"sub-{file.get('subject')}_" + (f"ses-{session}_" if session else "")
    if not file.path.name.startswith(stem):
        raise InputError(
            f"{file.path}: the name does not begin with {stem}, as its folder says",
            hint="rename or move it",
        )


def _of_kind(files: BidsFiles, kind: BetaKind) -> list[BidsFile]:
    if kind == "glmsingle":
        return [
            file
            for file in files.files
            if file.get("datatype") == "func" and _GLMSINGLE.fullmatch(file.path.name)
        ]
    found = files.find(extension=(*NIFTI, *SURFACES), suffix=kind, datatype="func")
    return [file for file in found if file.get("stat") in (None, "effect")]


def _no_betas(files: BidsFiles) -> InputError:
    for file in files.files:
        if file.path.name == f"{TYPED}.npy":
            return InputError(
                f"{file.path}: GLMsingle's npy files are pickles, which are not read",
                hint="run GLMsingle with wanthdf5 = 1",
            )
    return InputError(
        f"{files.root}: no betas below sub-*/func or sub-*/ses-*/func",
        hint=f"there must be *_statmap.nii.gz, *_betas.nii.gz or {TYPED}.hdf5, or surfaces: "
        "*_statmap.func.gii, *_statmap.dscalar.nii",
    )

"""Which file, and which volumes of it, hold a session of a manifest's participant."""

import re
import unicodedata
from pathlib import Path

from app.errors import InputError
from flows.sources.manifest_schema import ParticipantTable, resolve
from flows.sources.runs import Session, split_volumes
from flows.sources.tables import read_table
from flows.sources.volumes import Series, default_axes, is_nifti


def find_sessions(folder: Path, participant: ParticipantTable) -> dict[int, Session]:
    """Sessions by number, from the files' names and headers.

    Raises
    ------
    InputError
        A file is missing or foreign, the sessions have a gap, or the table of volumes does not
        fit the files.
    """
    given = participant.betas if participant.betas is not None else participant.timeseries
    if isinstance(given, str):
        files = _match(folder, given, participant.label) if _is_pattern(given) else [given]
    else:
        files = given or []
    series = [_series(resolve(folder, file), participant) for file in files]
    lengths = [one.size()[0] for one in series]
    if participant.volumes is not None:
        table = resolve(folder, participant.volumes)
        return _split(table, series, lengths, participant.label)
    return {
        number: Session(one, 0, length)
        for number, (one, length) in enumerate(zip(series, lengths, strict=True), start=1)
    }


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _match(folder: Path, pattern: str, label: str) -> list[str]:
    """Files of a pattern in order of the last number in their names, which must be 1, 2, 3 …"""
    parts = Path(pattern).parts
    if ".." in parts:
        raise InputError(
            f"{folder}: pattern {pattern!r} leads out of this folder", hint="write it absolute"
        )
    anchor = Path(pattern).anchor
    # Which form of Unicode names have is the disk's affair.
    forms = {pattern, *(unicodedata.normalize(form, pattern) for form in ("NFC", "NFD"))}
    found: set[Path] = set()
    for form in forms:
        if anchor:
            found.update(Path(anchor).glob(str(Path(*Path(form).parts[1:]))))
        else:
            below = (path.relative_to(folder) for path in folder.glob(form))
            found.update(resolve(folder, str(path)) for path in below)
    numbered: dict[int, Path] = {}
    for path in sorted(found):
        numbers = re.findall(r"\d+", path.name.removesuffix(".gz").rpartition(".")[0])
        if not numbers or int(numbers[-1]) in numbered:
            raise InputError(
                f"{path}: the name gives {label} no session number of its own",
                hint="list the files in order of their sessions instead of a pattern",
            )
        numbered[int(numbers[-1])] = path
    for number in range(1, max(numbered, default=1) + 1):
        if number not in numbered:
            raise InputError(
                f"{folder}: no file of {label}, session {number} matches {pattern}",
                hint="fetch it, or list the files in order of their sessions",
            )
    if 0 in numbered:
        raise InputError(
            f"{numbered[0]}: session 0 of {label}, sessions count from 1",
            hint="list the files in order of their sessions instead of a pattern",
        )
    return [str(numbered[number]) for number in sorted(numbered)]


def _series(path: Path, participant: ParticipantTable) -> Series:
    axes = "XYZT" if is_nifti(path) else participant.axes or default_axes(path)
    if axes is None:
        raise InputError(
            f"{path}: {participant.label} needs the key axes for HDF5",
            hint='axes = "TZYX" for what MATLAB writes as (X, Y, Z, T), "TXYZ" for Python',
        )
    return Series(path, axes, participant.dataset)


def _split(table: Path, series: list[Series], lengths: list[int], label: str) -> dict[int, Session]:
    rows = read_table(table, columns=("session",))
    numbers = [row.integer("session", least=1) for row in rows]
    return split_volumes(table, rows, numbers, series, lengths, label)

"""Label volumes and the tables that name their values."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from app.errors import InputError
from app.texts import one_form
from flows.sources.base import Grid, RegionMask
from flows.sources.grids import labels_onto
from flows.sources.tables import read_lines, read_table
from flows.sources.volumes import read_volume

_VALUE_COLUMNS = {".csv": "value", ".tsv": "index"}
_CTAB_LINE = re.compile(r"(\d+)\s+(\S.*?)(?:(?:\s+\d+){4})?")


def read_labels(path: Path) -> dict[int, str]:
    """Names of the values of a label volume.

    Parameters
    ----------
    path : Path
        A FreeSurfer colour table (`1 V1v`, with or without the four numbers of the colour; `#`
        starts a comment), a CSV file with the columns `value` and `name`, or a TSV file with
        `index` and `name`, as in BIDS.

    Raises
    ------
    InputError
        The file is missing, a line of it cannot be read, or a value is named twice.
    """
    if (column := _VALUE_COLUMNS.get(path.suffix.lower())) is not None:
        pairs = [
            (row.integer(column, least=0), row.required("name"), row.line)
            for row in read_table(path, columns=(column, "name"))
        ]
    else:
        pairs = _read_ctab(path)
    labels: dict[int, str] = {}
    for value, name, line in pairs:
        if value in labels:
            raise InputError(
                f"{path}, line {line}: label {value} is named twice", hint="name it once"
            )
        labels[value] = name
    return labels


def _read_ctab(path: Path) -> list[tuple[int, str, int]]:
    pairs = []
    for number, line in enumerate(read_lines(path), start=1):
        if not (entry := line.strip()) or entry.startswith("#"):
            continue
        if not (match := _CTAB_LINE.fullmatch(entry)):
            raise InputError(
                f"{path}, line {number}: no label and name: {entry!r}",
                hint="write lines like: 1 V1v",
            )
        pairs.append((int(match[1]), match[2], number))
    return pairs


def region_masks(
    atlas: str,
    files: Sequence[Path],
    labels: Mapping[int, str] | None,
    *,
    named_by: str,
    grid: Grid,
    participant: str,
    resample: bool = False,
) -> list[RegionMask]:
    """The regions of an atlas, in order of their labels.

    Parameters
    ----------
    files : sequence of Path
        Label volumes of one atlas, for example one a hemisphere: a region is the union of what
        they hold. Values of 0 and below, and NaN, are no region.
    labels : mapping, optional
        Names of the values. None is right for a plain mask of 0 and 1 alone: its region has the
        atlas' name.
    named_by : str
        Where the labels come from, for messages.
    resample : bool
        Whether volumes of other voxels are taken by the nearest one, see
        `flows.sources.grids.labels_onto`.

    Raises
    ------
    InputError
        A volume lies elsewhere, holds fractions, or a label that has no name.
    """
    volumes = []
    for file in files:
        values, own = read_volume(file)
        volumes.append((file, labels_onto(values, own, grid, participant, resample=resample)))
    return label_masks(atlas, volumes, labels, named_by=named_by)


def label_masks(
    atlas: str,
    volumes: Sequence[tuple[Path, np.ndarray]],
    labels: Mapping[int, str] | None,
    *,
    named_by: str,
) -> list[RegionMask]:
    """The regions of an atlas whose labels are read already; see `region_masks`."""
    members: dict[str, np.ndarray] = {}
    for file, values in volumes:
        inside = values > 0
        for value in np.unique(values[inside]).tolist():
            if value != int(value):
                raise InputError(
                    f"{file}: label {value} is no whole number", hint="give a label volume"
                )
            if labels is None and value != 1:
                raise InputError(
                    f"{file}: label {int(value)} has no name: {atlas} has no label table",
                    hint=f"add {named_by}, or leave the atlas out",
                )
            if labels is not None and int(value) not in labels:
                raise InputError(
                    f"{file}: label {int(value)} is not in {named_by}",
                    hint="volume and label table must be of one version",
                )
            name = one_form(atlas if labels is None else labels[int(value)])
            found = values == value
            members[name] = members[name] | found if name in members else found
    return [RegionMask(one_form(atlas), name, found) for name, found in members.items()]

"""The events that betas answer to."""

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

from app.errors import InputError
from flows.sources.bids_betas import choose
from flows.sources.bids_files import BidsFile, BidsFiles
from flows.sources.tables import read_table

# What a derivative's name has in common with that of its source.
_OF_THE_SOURCE = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "echo")


def find_events(raw: BidsFiles, betas: BidsFile, task: str | None) -> list[BidsFile]:
    """The `events.tsv` files of betas, in order of their runs.

    Betas with a run have those of that run; betas without one hold all runs of their session.

    Parameters
    ----------
    raw : BidsFiles
        Where events lie.
    task : str, optional
        For betas whose name has no task.

    Raises
    ------
    InputError
        There are none, two of one run, or several tasks and none is chosen.
    """
    found = [
        file
        for file in raw.find(
            extension=(".tsv",),
            suffix="events",
            subject=betas.get("subject"),
            session=betas.get("session"),
        )
        if file.agrees(betas.named) and betas.get("run") in (None, file.get("run"))
    ]
    if not found:
        raise InputError(
            f"{_expected(raw, betas)}: no such file",
            hint="give the events of these betas, beside them or in the data set of the option raw",
        )
    if betas.get("task") is None:
        chosen = choose(raw.root, "task", [file.get("task") for file in found], task)
        found = [file for file in found if file.get("task") == chosen]
    ordered = sorted(found, key=lambda file: int(file.get("run") or 0))
    for before, file in pairwise(ordered):
        if before.get("run") in (None, file.get("run")):
            raise InputError(
                f"{file.path}: {before.path.name} holds events of the same run",
                hint="keep the events of these betas alone",
            )
    return ordered


def read_events(path: Path, *, column: str, ignore: Collection[str]) -> list[str]:
    """Stimuli of the trials of a run, in order of onset.

    Parameters
    ----------
    column : str
        Tells the stimulus; rows without a value there are no trials.
    ignore : collection of str
        Values of `column` that are no trials.

    Raises
    ------
    InputError
        `onset` or the column is missing, or trials are not in order of onset.
    """
    stimuli = []
    before = float("-inf")
    for row in read_table(path, columns=("onset", column)):
        stimulus = row.text(column)
        if not stimulus or stimulus in ignore:
            continue
        onset = row.number("onset")
        if onset < before:
            raise row.fault(
                f"onset {onset:g} comes after {before:g}", hint="sort the events by onset"
            )
        before = onset
        stimuli.append(stimulus)
    return stimuli


def _expected(raw: BidsFiles, betas: BidsFile) -> Path:
    labels = {"subject": "sub", "session": "ses"}
    folders = [f"{short}-{betas.get(key)}" for key, short in labels.items() if betas.get(key)]
    parts = [
        part for part in betas.path.name.split("_") if part.split("-")[0] in _OF_THE_SOURCE
    ] or [*folders, "task-*"]
    return raw.root.joinpath(*folders, "func", "_".join([*parts, "events.tsv"]))

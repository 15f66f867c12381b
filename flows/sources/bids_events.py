"""The events that betas answer to."""

from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path

from app.errors import InputError
from flows.sources.bids_betas import choose
from flows.sources.bids_files import NIFTI, BidsFile, BidsFiles
from flows.sources.tables import read_table

# What a derivative's name has in common with that of its source.
_OF_THE_SOURCE = {
    "sub": "subject",
    "ses": "session",
    "task": "task",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "dir": "direction",
    "run": "run",
    "echo": "echo",
}


def find_events(raw: BidsFiles, betas: BidsFile, task: str | None) -> list[BidsFile]:
    """The `events.tsv` files of betas, in order of their runs.

    Betas with a run have those of that run; betas without one hold all runs of their session.
    Where no events have the participant's name, those are taken that a run inherits from a folder
    above (`task-things_events.tsv` of the root): one file can then stand for several runs.

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
        return _inherited(raw, betas, task)
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


def _inherited(raw: BidsFiles, betas: BidsFile, task: str | None) -> list[BidsFile]:
    """What each run of some betas inherits, in order of the runs."""
    place = _expected(raw, betas)
    own = {key: value for key, value in betas.named.items() if key in _OF_THE_SOURCE.values()}
    above = [
        file
        for file in raw.find(extension=(".tsv",), suffix="events")
        if file.path.parent in place.parents and file.agrees(own)
    ]
    if above and "task" not in own:
        chosen = choose(raw.root, "task", [file.get("task") for file in above], task)
        own |= {} if chosen is None else {"task": chosen}
    events: list[BidsFile] = []
    for run in _runs(raw, own, above):
        of_run = own if run is None else own | {"run": run}
        applies = raw.inherited(BidsFile(place, of_run | {"suffix": "events"}), ".tsv")
        if not applies:
            raise InputError(
                f"{place}: no such file, nor one to inherit",
                hint="give the events of these betas, beside them or in the data set of the option "
                "raw",
            )
        events.append(applies[-1])
    return events


def _runs(raw: BidsFiles, own: Mapping[str, str], above: list[BidsFile]) -> list[str | None]:
    """Labels of the runs that betas hold: their own, those of the images, or of the events."""
    if "run" in own:
        return [own["run"]]
    images = raw.find(
        extension=NIFTI, suffix="bold", subject=own.get("subject"), session=own.get("session")
    )
    named = [file.get("run") for file in images if file.agrees(own)]
    runs = {run for run in named or [file.get("run") for file in above] if run}
    return [*sorted(runs, key=int)] or [None]


def _expected(raw: BidsFiles, betas: BidsFile) -> Path:
    labels = {"subject": "sub", "session": "ses"}
    folders = [f"{short}-{betas.get(key)}" for key, short in labels.items() if betas.get(key)]
    parts = [
        part for part in betas.path.name.split("_") if part.split("-")[0] in _OF_THE_SOURCE
    ] or [*folders, "task-*"]
    return raw.root.joinpath(*folders, "func", "_".join([*parts, "events.tsv"]))

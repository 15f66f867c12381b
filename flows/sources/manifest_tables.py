"""The two CSV tables of a manifest: a participant's trials, and the stimuli."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from app.errors import InputError
from flows.sources.base import Fold
from flows.sources.manifest_schema import ResponseTable
from flows.sources.runs import TrialTable, one_a_volume
from flows.sources.tables import Row, read_table

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class StimulusRow:
    """A line of the stimulus table; None where it says nothing."""

    captions: tuple[str, ...]
    shared: bool | None
    fold: Fold | None
    image: str | None


def read_trials(path: Path, *, response: ResponseTable | None) -> TrialTable:
    """Trials, ordered by session and (time series) volume.

    Parameters
    ----------
    response : ResponseTable, optional
        How a time series becomes responses; None for betas, whose rows of a session keep the
        table's order.

    Raises
    ------
    InputError
        A column or cell is missing or wrong, or a stimulus has two folds.
    """
    columns = ["stimulus", "session", *(["volume", "duration"] if response else [])]
    rows = read_table(path, columns=columns)
    if not rows:
        raise InputError(f"{path}: no trials", hint="give one line for each trial")
    folds: dict[str, Fold] = {}
    trials = []
    for row in rows:
        stimulus = row.required("stimulus")
        if (fold := _fold(row)) is not None and folds.setdefault(stimulus, fold) != fold:
            raise row.fault(
                f"{stimulus} is in fold {fold} here and in {folds[stimulus]} above",
                hint="the split is by stimulus: give each one fold",
            )
        start = stop = 0
        if response is not None:
            start = row.integer("volume", least=0) + response.lag
            stop = start + row.integer("duration", least=1)
        trials.append((row.integer("session", least=1), start, stop, stimulus))
    trials.sort(key=lambda trial: trial[:2])
    if response is not None and response.unit == "volume":
        trials = one_a_volume(trials)
    return TrialTable.of(path, trials, folds)


def read_stimuli(path: Path) -> dict[str, StimulusRow]:
    """Stimuli by key.

    Raises
    ------
    InputError
        The column `stimulus` or a key is missing, a key stands twice, or a cell is wrong.
    """
    stimuli: dict[str, StimulusRow] = {}
    for row in read_table(path, columns=("stimulus",)):
        key = row.required("stimulus")
        if key in stimuli:
            raise row.fault(f"stimulus {key} stands twice", hint="give each stimulus one line")
        words = row.text("captions") or row.text("category")
        captions = (" ".join(caption.split()) for caption in words.split("|"))
        stimuli[key] = StimulusRow(
            captions=tuple(filter(None, captions)),
            shared=_truth(row, "shared"),
            fold=_fold(row),
            image=row.text("image") or None,
        )
    return stimuli


def _fold(row: Row) -> Fold | None:
    value = row.text("fold")
    if value and value not in get_args(Fold):
        raise row.fault(f"fold is {value!r}", hint=f"folds are {', '.join(get_args(Fold))}")
    return cast(Fold, value) if value else None


def _truth(row: Row, column: str) -> bool | None:
    value = row.text(column).lower()
    if value and value not in _TRUTH:
        raise row.fault(f"{column} is {value!r}", hint="write true or false")
    return _TRUTH.get(value)

"""The CSV table of a participant's trials in a data set with a manifest."""

from pathlib import Path

from app.errors import InputError
from flows.sources.base import Fold
from flows.sources.manifest_schema import ResponseTable
from flows.sources.runs import TrialTable, one_a_volume
from flows.sources.stimulus_table import fold_of
from flows.sources.tables import read_table


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
        if (fold := fold_of(row)) is not None and folds.setdefault(stimulus, fold) != fold:
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

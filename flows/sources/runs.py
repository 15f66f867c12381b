"""Sessions of volumes, and the trials and responses that come of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from app.errors import InputError
from flows.sources.base import Fold
from flows.sources.manifest_schema import ResponseTable
from flows.sources.tables import Row
from flows.sources.timeseries import drift_basis, percent_change, window_means
from flows.sources.volumes import Series

Block = tuple[int, int, int, str]
Held = TypeVar("Held")


@dataclass(frozen=True)
class Session:
    """Volumes `start` to `stop` of a file."""

    series: Series
    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of volumes."""
        return self.stop - self.start


@dataclass(frozen=True)
class TrialTable:
    """A participant's trials in acquisition order.

    Attributes
    ----------
    stimulus, session : np.ndarray
        (N,) keys and 1-based sessions.
    start, stop : np.ndarray
        (N,) int, for time series: the volumes [start, stop) of the session that are averaged,
        the lag included. Zeros for betas.
    folds : mapping
        Folds that the table gives to stimuli.
    """

    path: Path
    stimulus: np.ndarray
    session: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    folds: Mapping[str, Fold]

    @classmethod
    def of(cls, path: Path, trials: Collection[Block], folds: Mapping[str, Fold]) -> Self:
        """The table of (session, start, stop, stimulus) in acquisition order, one at least."""
        session, start, stop, stimulus = zip(*trials, strict=True)
        return cls(
            path, np.array(stimulus), np.array(session), np.array(start), np.array(stop), folds
        )


def one_a_volume(trials: Collection[Block]) -> list[Block]:
    """Every volume of every block as a trial of its own."""
    return [
        (session, volume, volume + 1, stimulus)
        for session, start, stop, stimulus in trials
        for volume in range(start, stop)
    ]


def split_volumes(
    table: Path,
    rows: Sequence[Row],
    numbers: Sequence[int],
    series: Sequence[Series],
    lengths: Sequence[int],
    label: str,
) -> dict[int, Session]:
    """Sessions of a participant by the number that a table gives to each volume.

    Parameters
    ----------
    rows, numbers : sequence
        Lines of the table and their sessions, one for each volume in the order of the files.
    series, lengths : sequence
        The files and their numbers of volumes.
    label : str
        The participant.

    Raises
    ------
    InputError
        Table and files disagree, or a session is interrupted or spread over two files.
    """
    if len(rows) != sum(lengths):
        raise InputError(
            f"{table}: {len(rows)} volumes, the time series of {label} have {sum(lengths)}",
            hint="give one line for each volume, in the order of the files",
        )
    volumes = [
        (one, index) for one, length in zip(series, lengths, strict=True) for index in range(length)
    ]
    sessions: dict[int, Session] = {}
    for row, number, (one, index) in zip(rows, numbers, volumes, strict=True):
        so_far = sessions.get(number, Session(one, index, index))
        if so_far.series is not one or so_far.stop != index:
            raise row.fault(
                f"session {number} of {label} goes on after a break",
                hint="the volumes of a session follow each other in one file",
            )
        sessions[number] = Session(one, so_far.start, index + 1)
    return sessions


def pick_session(sessions: Mapping[int, Held], participant: str, session: int) -> Held:
    """What a participant has under a session's number; an `InputError` where it has none."""
    if session not in sessions:
        raise InputError(
            f"{participant} has no session {session}",
            hint=f"there are: {', '.join(map(str, sessions))}",
        )
    return sessions[session]


def require_trials(table: TrialTable, sessions: Mapping[int, Session], participant: str) -> None:
    """Raise `InputError` where a trial lies outside the sessions' volumes."""
    for row, number in enumerate(table.session.tolist()):
        if number not in sessions:
            raise InputError(
                f"{table.path}: session {number} of {participant} has trials, but no data",
                hint=f"sessions with data: {', '.join(map(str, sessions))}",
            )
        if table.stop[row] > sessions[number].length:
            raise InputError(
                f"{table.path}: a trial of {participant}, session {number} ends at volume "
                f"{table.stop[row]} with its lag, the session has {sessions[number].length}",
                hint="volumes count from 0 in each session; shorten or drop the last trial",
            )


def require_signal(
    sessions: Mapping[int, Session], response: ResponseTable, participant: str
) -> None:
    """Raise `InputError` where taking the drifts off a session would leave nothing of it."""
    for number, session in sessions.items():
        drifts = drift_basis(session.length, tr=response.tr, high_pass=response.high_pass)
        if drifts.shape[1] >= session.length:
            raise InputError(
                f"{session.series.path}: {participant}, session {number} has "
                f"{session.length} volumes, no more than its drifts have regressors",
                hint="lower high_pass, or leave the session out",
            )


def responses(
    volumes: np.ndarray, table: TrialTable, session: int, response: ResponseTable
) -> np.ndarray:
    """Responses of a session's trials.

    Parameters
    ----------
    volumes : np.ndarray
        (T, V), all volumes of the session.

    Returns
    -------
    np.ndarray
        float32 (trials of the session, V), percent signal change.
    """
    change = percent_change(volumes, tr=response.tr, high_pass=response.high_pass)
    rows = table.session == session
    return window_means(change, table.start[rows], table.stop[rows])

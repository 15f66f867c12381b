"""NSD's tables: which picture was shown when, and what is known of the pictures.

Three ways of counting pictures meet here: `masterordering` counts the 10,000 pictures of a
participant from 1, `subjectim` and `sharedix` count the 73,000 pictures from 1 (73k ids), and
`nsdId` of the stimulus table counts them from 0.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from app.errors import InputError
from flows.sources.fetching import require_file
from flows.sources.tables import read_table

N_STIMULI = 73_000


@dataclass(frozen=True)
class Design:
    """`nsd_expdesign.mat`.

    Attributes
    ----------
    order : np.ndarray
        (trials,) int, 1-based: the participant's how-manieth picture each trial shows.
    images : np.ndarray
        (participants, pictures) int, 1-based 73k ids.
    shared : np.ndarray
        (pictures,) int, 1-based 73k ids of what all participants saw.
    """

    path: Path
    order: np.ndarray
    images: np.ndarray
    shared: np.ndarray

    def shown(self, participant: str) -> np.ndarray:
        """1-based 73k id of every trial that the design plans for a participant, (trials,)."""
        row = int(participant.removeprefix("subj")) - 1
        if not 0 <= row < len(self.images):
            raise InputError(
                f"{self.path}: subjectim has {len(self.images)} rows, none for {participant}",
                hint="participants are subj01, subj02, … in the order of its rows",
            )
        ids: np.ndarray = self.images[row, self.order - 1]
        return ids


def read_design(path: Path, *, n_stimuli: int, counted_by: str) -> Design:
    """The experiment's design.

    Parameters
    ----------
    n_stimuli : int
        The highest 73k id there can be.
    counted_by : str
        What says so, for messages.

    Raises
    ------
    InputError
        The file is missing or foreign, or an id in it is impossible.
    """
    require_file(path)
    try:
        content = loadmat(path)
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise InputError(
            f"{path}: cannot be read as a MATLAB file: {str(error).splitlines()[0]}",
            hint="give NSD's nsd_expdesign.mat (MATLAB version 5, not 7.3)",
        ) from error
    order = _ids(path, content, "masterordering").ravel()
    images = np.atleast_2d(_ids(path, content, "subjectim"))
    shared = _ids(path, content, "sharedix").ravel()
    _require_range(path, "masterordering", order, images.shape[1], "columns of subjectim")
    _require_range(path, "subjectim", images, n_stimuli, counted_by)
    _require_range(path, "sharedix", shared, n_stimuli, counted_by)
    return Design(path, order, images, shared)


def read_coco_ids(path: Path) -> dict[int, int]:
    """COCO ids by 0-based nsdId, from `nsd_stim_info_merged.csv`.

    Raises
    ------
    InputError
        A column is missing, or the ids do not count from 0 without a gap.
    """
    rows = read_table(path, columns=("cocoId", "nsdId"))
    ids = {row.integer("nsdId", least=0): row.integer("cocoId", least=0) for row in rows}
    if set(ids) != set(range(len(rows))):
        raise InputError(
            f"{path}: nsdId does not count the {len(rows)} rows from 0",
            hint="nsdId is 0-based, each id once; 73k ids are 1-based",
        )
    return ids


def _ids(path: Path, content: dict[str, Any], name: str) -> np.ndarray:
    if name not in content:
        raise InputError(f"{path}: no variable {name}", hint="give NSD's nsd_expdesign.mat")
    values = np.asarray(content[name])
    numbers = values.dtype.kind in "iuf" and values.size > 0 and bool(np.isfinite(values).all())
    if not numbers or (values % 1 != 0).any():
        raise InputError(f"{path}: {name} holds no whole numbers", hint="ids are 1, 2, 3, …")
    return values.astype(np.int64)


def _require_range(path: Path, name: str, ids: np.ndarray, most: int, limit: str) -> None:
    if ids.min() < 1:
        raise InputError(
            f"{path}: {name} holds {ids.min()}, the least id is 1",
            hint="these ids are 1-based: add 1 to 0-based ones",
        )
    if ids.max() > most:
        raise InputError(
            f"{path}: {name} holds {ids.max()}, the highest is {most} ({limit})",
            hint="design and stimuli must be of one version, and ids 1-based",
        )

"""Which run is exported, and where to."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from sqlalchemy.orm import Session

from app.exports.bids import write_bids
from app.exports.neurovault import write_neurovault
from app.exports.parquet import write_parquet
from app.files import folder_aside
from app.masks.service import Progress
from app.runs import repository as runs
from app.runs.service import ChosenRun, choose_run

Format = Literal["bids", "parquet", "neurovault"]
DISTRIBUTION = "sdc-catalog"

_WRITERS: dict[Format, Callable[[Session, ChosenRun, Path, Progress], None]] = {
    "bids": write_bids,
    "parquet": write_parquet,
    "neurovault": write_neurovault,
}


def export(
    session: Session, target: str, folder: Path, kind: Format, on_progress: Progress
) -> ChosenRun:
    """Write one run into a new folder, whole or not at all.

    Parameters
    ----------
    session : Session
    target : str
        A dataset's name, for its current run, or a run's id.
    folder : Path
        One that is not there, or is empty.
    kind : {"bids", "parquet", "neurovault"}
    on_progress : callable
        Called with (stage, steps done, steps in all).

    Raises
    ------
    NotFoundError
        There is no such dataset or run, or the dataset has no published run.
    ConflictError
        The folder is not empty, or the run cannot be told in this form.
    InputError
        The folder cannot be written.
    StorageError
        The disk is full.
    """
    is_run = target.isascii() and target.isdecimal() and not runs.find_dataset(session, target)
    chosen = choose_run(session, run=int(target)) if is_run else choose_run(session, target)
    with folder_aside(folder) as aside:
        _WRITERS[kind](session, chosen, aside, on_progress)
        told = chosen.provenance | {
            "seed": chosen.run.seed,
            "published_at": chosen.run.published_at.isoformat(),
            "encoder_checksum": chosen.encoder.checksum,
            "embargoed": chosen.dataset.embargoed,
            "exported_by": f"{DISTRIBUTION} {version(DISTRIBUTION)}",
        }
        (aside / "provenance.json").write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    return chosen

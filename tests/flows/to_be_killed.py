"""What tests kill: a process that ingests and runs, and tells what the catalog holds.

``python -m tests.flows.to_be_killed FOLDER DATA [REPORT]`` writes into FOLDER: ``reports``, a line
for each report of progress; ``before.json`` and ``after.json``, what the catalog held when it began
and when it was done. With REPORT it kills itself at the report of that number.
"""

import hashlib
import json
import os
import re
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, select, text

FOLDS = {"n_test": 20, "n_validation": 20}
RUN = {
    "decoder": {"steps": 20, "evaluate_every": 10},
    "reduction": {"components": 8, "steps": 100, "starts": 6},
    "masks": {"lambdas": [1.0, 3.0], "draws": 1},
    "statistics": {"permutations": 99, "mixtures": 99},
    "stability": {"seeds": 2},
}
VIEWS = ("runs", "concepts", "concept_regions", "concept_voxels", "voxels")
# What differs between two runs of the same data: times and places alone.
ASIDE = {"timings", "artefact_uri"}
_ID = re.compile(
    r"(?:.*_)?(dataset|subject|region|voxel|encoder|stimulus|run|component|term)(?:_[ab])?_id"
)


def main() -> None:
    """Ingest, run, and tell."""
    folder, data = Path(sys.argv[1]), Path(sys.argv[2])
    last = int(sys.argv[3]) if len(sys.argv) > 3 else None
    from app.settings import get_settings
    from flows.prefect_home import configure_prefect

    configure_prefect(get_settings())
    from flows.ingest import ingest_dataset
    from flows.pipeline import run_pipeline
    from flows.progress import listening

    (folder / "before.json").write_text(json.dumps(visible()))
    count = 0

    with (folder / "reports").open("a") as reports:

        def hear(stage: str, done: int, total: int, _detail: str) -> None:
            nonlocal count
            count += 1
            print(stage, done, total, file=reports, flush=True)
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

        with listening(hear):
            ingest_dataset(str(data), FOLDS)
            run_pipeline("planted", RUN | {"encoder": f"vectors:{data / 'words.csv'}"})
    (folder / "after.json").write_text(json.dumps(whole()))


def visible() -> dict[str, int]:
    """Rows of the views that people ask."""
    from app.database.engine import open_session

    with open_session() as session:
        return {
            name: session.scalar(text(f"SELECT count(*) FROM catalog.{name}")) or 0  # noqa: S608
            for name in VIEWS
        }


def whole() -> dict[str, Any]:
    """Checksums of all tables, rows of the views, and what garbage collection finds and leaves."""
    from app.database.engine import open_session
    from app.garbage.service import collect_garbage
    from app.settings import get_settings
    from app.store import ArtefactStore

    store = ArtefactStore(get_settings().store_url)
    at_once: dict[str, Any] = {"older_than": timedelta(0), "remembered_for": timedelta(0)}
    with open_session() as session:
        sums = checksums(session)
        first = collect_garbage(session, store, **at_once)
        session.commit()
        again = collect_garbage(session, store, dry_run=True, **at_once)
    return {
        "tables": sums,
        "views": visible(),
        "kept": first.kept,
        "orphans": again.artefacts + again.results + again.unfinished,
        "files": sorted(file.sha256 or file.kind for file in store.files()),
    }


def checksums(session: Any) -> dict[str, str]:
    """Of each table's rows; ids are told by their rank, since killed transactions use up some."""
    from app.database.models import Base

    tables = {table.name: table for table in Base.metadata.tables.values()}
    ranks = {
        name: {
            one: rank for rank, one in enumerate(session.scalars(select(table.c.id).order_by("id")))
        }
        for name, table in tables.items()
        if "id" in table.c
    }
    sums = {}
    for name, table in tables.items():
        columns = [
            column
            for column in table.columns
            if column.name not in ASIDE and not isinstance(column.type, DateTime)
        ]
        rows = []
        for row in session.execute(select(*columns)):
            told = []
            for column, value in zip(columns, row, strict=True):
                match = _ID.fullmatch(column.name)
                of = match[1] if match else name if column.name == "id" else None
                told.append(str(ranks[of][value] if of and value is not None else value))
            rows.append("|".join(told))
        sums[name] = (
            f"{len(rows)} {hashlib.sha256(chr(10).join(sorted(rows)).encode()).hexdigest()}"
        )
    return sums


if __name__ == "__main__":
    main()

"""A run as parquet files: the SQL views' rows, with the same names and types."""

import json
from pathlib import Path
from typing import Any

import polars
from sqlalchemy.orm import Session

from app.errors import ConflictError
from app.exports import repository
from app.masks.service import Progress
from app.runs.service import ChosenRun

# By PostgreSQL's names; what JSON tells goes as its text.
_TYPES: dict[str, Any] = {
    "bool": polars.Boolean,
    "int2": polars.Int16,
    "int4": polars.Int32,
    "int8": polars.Int64,
    "float4": polars.Float32,
    "float8": polars.Float64,
    "text": polars.String,
    "jsonb": polars.String,
    "timestamptz": polars.Datetime("us", "UTC"),
    "_text": polars.List(polars.String),
    "_int4": polars.List(polars.Int32),
    "_int8": polars.List(polars.Int64),
    "_float4": polars.List(polars.Float32),
    "_float8": polars.List(polars.Float64),
}
# A map has as many values as a participant has voxels; of other views rows are small.
_ROWS = {"concept_maps": 8}
_MANY_ROWS = 100_000


def write_parquet(session: Session, chosen: ChosenRun, folder: Path, on_progress: Progress) -> None:
    """Write a file for each view, its metadata telling where the rows come from.

    Raises
    ------
    ConflictError
        The run is not its dataset's current one: the views show no other.
    """
    if not chosen.current:
        raise ConflictError(
            f"run {chosen.run.id} is not the current run of {chosen.dataset.slug}, and the SQL "
            "views show no other",
            hint="export the dataset, or the run with --format bids",
        )
    told = {name: str(value) for name, value in chosen.provenance.items()}
    for done, view in enumerate(repository.VIEWS):
        on_progress("writing parquet", done, len(repository.VIEWS))
        columns = repository.view_columns(session, view)
        size = _ROWS.get(view, _MANY_ROWS)
        parts = [
            polars.DataFrame(
                [tuple(map(_plain, row)) for row in rows],
                schema={name: _TYPES[kind] for name, kind in columns.items()},
                orient="row",
            )
            for rows in repository.view_rows(session, view, chosen.dataset.slug, size)
        ]
        table = polars.concat(parts)
        table.write_parquet(folder / f"{view}.parquet", metadata=told)
    on_progress("writing parquet", len(repository.VIEWS), len(repository.VIEWS))


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value

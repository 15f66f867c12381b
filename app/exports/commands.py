"""Exports, on the command line."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app import console
from app.commands import own_session


class Kind(StrEnum):
    """Forms that a run can be exported in."""

    bids = "bids"
    parquet = "parquet"
    neurovault = "neurovault"


def export(
    target: Annotated[
        str, typer.Argument(metavar="RUN|DATASET", help="A run's id, or a dataset's name.")
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder to write.")],
    kind: Annotated[Kind, typer.Option("--format", help="What to write.")],
) -> None:
    """Write a run's concepts into a folder, as other programs read them."""
    from app.exports import service

    with own_session() as session:
        chosen = service.export(session, target, to, kind.value, console.stage_progress())
        slug, run, embargoed = chosen.dataset.slug, chosen.run.id, chosen.dataset.embargoed
    console.print_line(f"wrote {to}: {slug}, run {run}")
    if embargoed:
        console.note(f"{slug} is under embargo: who gets {to} sees it all the same")

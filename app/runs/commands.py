"""Runs, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson, Dataset, actor, ask


def runs(
    dataset: Dataset = None,
    promote: Annotated[
        int | None, typer.Option(metavar="RUN", help="Let this run answer for its dataset.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the published runs; a star marks those that answer."""
    from app.answers import print_runs
    from app.runs.service import list_runs, promote_run

    if promote is not None:
        ask(
            lambda session: promote_run(session, promote, actor()),
            lambda catalog: catalog.promote_run(promote),
        )
    answer = ask(lambda session: list_runs(session, dataset), lambda catalog: catalog.runs(dataset))
    console.print_json(answer) if as_json else print_runs(answer)

"""Runs, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson, Dataset, actor, ask
from app.errors import InputError


def runs(
    run: Annotated[
        int | None, typer.Argument(help="Tell what this run is worth.", show_default=False)
    ] = None,
    dataset: Dataset = None,
    promote: Annotated[
        int | None, typer.Option(metavar="RUN", help="Let this run answer for its dataset.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the published runs, a star marking those that answer; or judge one of them."""
    if run is not None:
        if promote is not None or dataset is not None:
            raise InputError(
                f"run {run} is named, and --{'promote' if dataset is None else 'dataset'} too",
                hint="name one of them alone",
            )
        _show(run, as_json)
        return
    from app.answers import print_runs
    from app.runs.service import list_runs, promote_run

    if promote is not None:
        ask(
            lambda session: promote_run(session, promote, actor()),
            lambda catalog: catalog.promote_run(promote),
        )
    answer = ask(lambda session: list_runs(session, dataset), lambda catalog: catalog.runs(dataset))
    console.print_json(answer) if as_json else print_runs(answer)


def _show(run: int, as_json: bool) -> None:
    from app.runs.printing import print_run
    from app.runs.report import show_run

    answer = ask(lambda session: show_run(session, run), lambda catalog: catalog.show_run(run))
    console.print_json(answer) if as_json else print_run(answer)

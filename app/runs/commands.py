"""Runs, on the command line."""

from app import console
from app.commands import AsJson, Dataset, ask


def runs(dataset: Dataset = None, as_json: AsJson = False) -> None:
    """List the published runs; a star marks those that answer."""
    from app.answers import print_runs
    from app.runs.service import list_runs

    answer = ask(lambda session: list_runs(session, dataset), lambda catalog: catalog.runs(dataset))
    console.print_json(answer) if as_json else print_runs(answer)

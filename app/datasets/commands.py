"""Datasets, on the command line."""

from app import console
from app.commands import AsJson, ask


def datasets(as_json: AsJson = False) -> None:
    """List the datasets."""
    from app.answers import print_datasets
    from app.datasets.service import list_datasets

    answer = ask(list_datasets, lambda catalog: catalog.datasets())
    console.print_json(answer) if as_json else print_datasets(answer)

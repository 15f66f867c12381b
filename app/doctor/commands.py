"""The examination, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every artefact, and tell each that is damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check everything that the catalog leans on."""
    from app.answers import print_report
    from app.doctor.service import examine
    from app.settings import get_settings

    report = examine(get_settings(), deep=deep)
    console.print_json(report) if as_json else print_report(report)
    raise typer.Exit(0 if report.ok else 1)

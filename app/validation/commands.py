"""Validation against localisers, on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import console
from app.commands import AsJson, ask, asks_server, own_session
from app.errors import InputError

if TYPE_CHECKING:
    from app.client import ValidationOptions


def validate(
    dataset: Annotated[
        str | None, typer.Argument(help="Name of a dataset; see `sdc datasets`.")
    ] = None,
    run: Annotated[int | None, typer.Option(help="An older run's id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Tell of this participant alone.")] = None,
    atlas: Annotated[str | None, typer.Option(help="Tell of this atlas alone.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Hold what this finds against --atlas instead.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold the concepts that words find against the regions that localisers found."""
    from app.answers import print_validation
    from app.files import require_png
    from app.validation import service

    if figure is not None:
        require_png(figure)
        if asks_server():
            raise InputError("a server draws no figures", hint="leave out --figure, or --server")
    asked: ValidationOptions = {
        "dataset": dataset,
        "run": run,
        "subject": subject,
        "atlas": atlas,
        "prompt": prompt,
    }
    answer = ask(
        lambda session: service.validate(session, **asked),
        lambda catalog: catalog.validation(**asked),
    )
    if figure is not None:
        with own_session() as session:
            views = service.mask_views(session, answer)
        from app.validation.figure import write_figure

        write_figure(answer, views, figure)
        console.note(f"wrote {figure}")
    console.print_json(answer) if as_json else print_validation(answer)

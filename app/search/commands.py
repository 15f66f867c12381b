"""The catalog asked in words, on the command line."""

from typing import TYPE_CHECKING, Annotated

import typer

from app import console
from app.commands import AsJson, Dataset, Many, Minus, Negate, OldRun, Plus, ask
from app.errors import InputError

if TYPE_CHECKING:
    from app.client import SearchOptions


def search(
    text: Annotated[str, typer.Argument(help='What to look for, such as "a photo of a face".')],
    dataset: Dataset = None,
    run: OldRun = None,
    subject: Annotated[str | None, typer.Option(help="Regions of this participant alone.")] = None,
    atlas: Annotated[str | None, typer.Option(help="Regions of this atlas alone.")] = None,
    k: Many = 10,
    plus: Plus = None,
    minus: Minus = None,
    negate: Negate = False,
    template: Annotated[
        list[str] | None, typer.Option(help='A way to say it, such as "a photo of {}".')
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over several ways to say it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find the concepts nearest to a text, and the brain regions that carry them."""
    from app.answers import print_search
    from app.embedding.prompts import AS_TYPED, ENSEMBLE
    from app.search import service

    if template and ensemble:
        raise InputError("both --template and --ensemble are given", hint="choose one of them")
    asked: SearchOptions = {
        "dataset": dataset,
        "run": run,
        "subject": subject,
        "atlas": atlas,
        "k": k,
        "plus": plus or [],
        "minus": minus or [],
        "negate": negate,
        "templates": template or (ENSEMBLE if ensemble else AS_TYPED),
    }
    answer = ask(
        lambda session: service.search(session, text, **asked),
        lambda catalog: catalog.search(text, **asked),
    )
    console.print_json(answer) if as_json else print_search(answer)

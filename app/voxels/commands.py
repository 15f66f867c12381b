"""Search among voxels, on the command line."""

from typing import TYPE_CHECKING, Annotated

import typer

from app import console
from app.commands import AsJson, Many, Minus, Negate, OldRun, Plus, ask

if TYPE_CHECKING:
    from app.client import VoxelOptions


def voxels(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    dataset: Annotated[str | None, typer.Option(help="Of this dataset; of all by default.")] = None,
    run: OldRun = None,
    subject: Annotated[str | None, typer.Option(help="Of this participant alone.")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="ATLAS:NAME", help="Of this region alone.")
    ] = None,
    plus: Plus = None,
    minus: Minus = None,
    negate: Negate = False,
    k: Many = 10,
    as_json: AsJson = False,
) -> None:
    """Find the voxels whose decoder weights point nearest to a text."""
    from app.answers import print_voxels
    from app.voxels.service import search_voxels

    # Without a colon the name is lacking, which is for the service to tell.
    atlas, _, name = (region or "").partition(":")
    asked: VoxelOptions = {
        "dataset": dataset,
        "run": run,
        "subject": subject,
        "atlas": atlas or None,
        "region": name or None,
        "plus": plus or [],
        "minus": minus or [],
        "negate": negate,
        "k": k,
    }
    answer = ask(
        lambda session: search_voxels(session, text, **asked),
        lambda catalog: catalog.search_voxels(text, **asked),
    )
    console.print_json(answer) if as_json else print_voxels(answer)

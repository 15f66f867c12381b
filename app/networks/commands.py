"""Participants' networks, on the command line."""

from pathlib import Path
from typing import Annotated

import typer

from app import console
from app.commands import AsJson, Dataset, ask


def network(
    subject: Annotated[str, typer.Argument(help="A participant, as `sdc datasets` tells them.")],
    dataset: Dataset = None,
    run: Annotated[int | None, typer.Option(help="An older run's id.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw it to this .png file.")] = None,
    graphml: Annotated[Path | None, typer.Option(help="Write it to this file as GraphML.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell which concepts belong together in one participant, in communities."""
    from app.answers import print_network
    from app.files import require_png
    from app.networks import service

    if figure is not None:
        require_png(figure)
    answer = ask(
        lambda session: service.network(session, subject, dataset=dataset, run=run),
        lambda catalog: catalog.network(subject, dataset=dataset, run=run),
    )
    if graphml is not None:
        from app.networks.graph import write_graphml

        write_graphml(answer, graphml)
        console.note(f"wrote {graphml}")
    if figure is not None:
        from app.networks.figure import write_figure

        write_figure(answer, figure)
        console.note(f"wrote {figure}")
    console.print_json(answer) if as_json else print_network(answer)

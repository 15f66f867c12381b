"""Concepts, on the command line."""

from typing import TYPE_CHECKING, Annotated

import typer

from app import console
from app.commands import AsJson, Component, Many, ask

if TYPE_CHECKING:
    from app.client import SimilarOptions


def similar(
    component: Component,
    dataset: Annotated[str | None, typer.Option(help="Look in this dataset alone.")] = None,
    run: Annotated[int | None, typer.Option(help="Look in this run alone, current or not.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Look among those that this participant's brain decodes.")
    ] = None,
    k: Many = 10,
    as_json: AsJson = False,
) -> None:
    """Find the concepts nearest to a concept."""
    from app.answers import print_similar
    from app.concepts.service import similar_concepts

    asked: SimilarOptions = {"dataset": dataset, "run": run, "subject": subject, "k": k}
    answer = ask(
        lambda session: similar_concepts(session, component, **asked),
        lambda catalog: catalog.similar(component, **asked),
    )
    console.print_json(answer) if as_json else print_similar(answer)


def show(component: Component, as_json: AsJson = False) -> None:
    """Tell everything about one concept."""
    from app.answers import print_concept
    from app.concepts.service import show_concept

    answer = ask(
        lambda session: show_concept(session, component),
        lambda catalog: catalog.concept(component),
    )
    console.print_json(answer) if as_json else print_concept(answer)

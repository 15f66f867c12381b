"""Concepts, on the command line."""

from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from app import console
from app.commands import AsJson, Component, Many, OldRun, ask
from app.concepts.filters import ClaimFilter, FilterText, take_claim_filters

if TYPE_CHECKING:
    from app.client import ListOptions, SimilarOptions


def _option(name: str, text: FilterText) -> Any:
    return typer.Option(f"--{name}/--not-{name}", help=text.option)


@take_claim_filters("run", _option)
def concepts(
    dataset: Annotated[str | None, typer.Option(help="Of this dataset alone.")] = None,
    run: OldRun = None,
    subject: Annotated[
        str | None, typer.Option(help="That this participant's brain decodes.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Part of the label or nearest terms.")] = None,
    cursor: Annotated[
        str | None, typer.Option(help="Where the page before ended, as it told.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, at most.")] = 50,
    as_json: AsJson = False,
    **claims: Unpack[ClaimFilter],
) -> None:
    """List concepts by id, with what is claimed of them.

    A claim that was not measured neither holds nor fails: no option on it tells the concept.
    """
    from app.answers import print_concepts
    from app.concepts.service import list_concepts

    asked: ListOptions = {
        "dataset": dataset,
        "run": run,
        "subject": subject,
        "text": text,
        "limit": limit,
        **claims,
    }
    answer = ask(
        lambda session: list_concepts(session, cursor=cursor, **asked),
        lambda catalog: catalog.concept_page(cursor, **asked),
    )
    console.print_json(answer) if as_json else print_concepts(answer)


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

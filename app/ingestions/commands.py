"""Ingestions that were asked for, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson, actor, ask
from app.errors import InputError
from app.ingestions.schemas import State

Request = Annotated[int, typer.Argument(help="An ingestion's id, as `sdc ingestions` tells it.")]


def ingestions(
    state: Annotated[State | None, typer.Option(help="In this state alone.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Of this dataset alone.")] = None,
    limit: Annotated[int, typer.Option(help="How many, at most, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the ingestions that were asked for."""
    from app.answers import print_ingestions
    from app.ingestions.service import list_ingestions

    answer = ask(
        lambda session: list_ingestions(session, state=state, dataset=dataset, limit=limit),
        lambda catalog: catalog.ingestion_page(state=state, dataset=dataset, limit=limit),
    )
    console.print_json(answer) if as_json else print_ingestions(answer.items, answer.total)


def ingestion(
    request: Request,
    log: Annotated[int, typer.Option(help="Lines of its log to show.", min=0)] = 20,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try it again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an ingestion that was asked for, cancel it, or try it again."""
    from app.answers import print_ingestion
    from app.ingestions import service

    if cancel and retry:
        raise InputError("--cancel and --retry are given", hint="give one of the two")
    if cancel:
        answer = ask(
            lambda session: service.cancel_ingestion(session, request, actor()),
            lambda catalog: catalog.cancel_ingestion(request),
        )
    elif retry:
        answer = ask(
            lambda session: service.retry_ingestion(session, request, actor()),
            lambda catalog: catalog.retry_ingestion(request),
        )
    else:
        answer = ask(
            lambda session: service.get_ingestion(session, request),
            lambda catalog: catalog.ingestion(request),
        )
    if as_json:
        console.print_json(answer)
        return
    lines = []
    if log:
        told = ask(
            lambda session: service.tail_log(session, request, log),
            lambda catalog: catalog.ingestion_log(request, tail=log),
        )
        lines = told.lines
    print_ingestion(answer, lines)

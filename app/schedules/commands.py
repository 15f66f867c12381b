"""Schedules of ingestions, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson, actor, ask


def schedules(
    end: Annotated[int | None, typer.Option(metavar="ID", help="End this schedule.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the schedules of ingestions; `sdc ingest PATH --schedule CRON` makes one."""
    from app.answers import print_schedules
    from app.schedules import service

    if end is not None:
        ask(
            lambda session: service.end_schedule(session, end, actor()),
            lambda catalog: catalog.end_schedule(end),
        )
    answer = ask(service.list_schedules, lambda catalog: catalog.schedules())
    console.print_json(answer) if as_json else print_schedules(answer)

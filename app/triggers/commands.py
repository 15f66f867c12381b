"""Triggers of ingestions, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson, actor, own_session


def triggers(
    watch: Annotated[
        str | None, typer.Option(help="Ask for each data set that arrives in this folder.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Make a webhook that asks for data sets in this folder.")
    ] = None,
    settle: Annotated[
        int, typer.Option(help="Seconds in which nothing of what arrives may change.", min=1)
    ] = 60,
    then_run: Annotated[bool, typer.Option("--then-run", help="Run the pipeline next.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace datasets of the same names and their runs.")
    ] = False,
    end: Annotated[int | None, typer.Option(metavar="ID", help="End this trigger.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what asks for ingestions by itself; or make one of these, or end one."""
    from app.answers import print_triggers
    from app.console import note
    from app.ingestions.addresses import whole
    from app.triggers import service
    from app.triggers.schemas import TriggerWanted

    with own_session() as session:
        for kind, folder in (("watch", watch), ("webhook", webhook)):
            if folder is None:
                continue
            wanted = TriggerWanted.model_validate(
                {
                    "kind": kind,
                    "source": whole(folder),
                    "settle_s": settle,
                    "then_run": then_run,
                    "replace": replace,
                }
            )
            made = service.make_trigger(session, wanted, actor())
            if made.secret is not None:
                note(f"POST /v1/hooks/{made.id}, signed with {made.secret} (told this once)")
        if end is not None:
            service.end_trigger(session, end, actor())
        answer = service.list_triggers(session)
    console.print_json(answer) if as_json else print_triggers(answer)

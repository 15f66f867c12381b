"""Collection of garbage, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be deleted, and delete nothing.")
    ] = False,
    older_than: Annotated[
        float,
        typer.Option(
            metavar="HOURS", help="Leave files alone that are younger.", min=0, max=876_000
        ),
    ] = 24,
    remembered: Annotated[
        float,
        typer.Option(
            metavar="DAYS", help="Keep results of unpublished work for so long.", min=0, max=36500
        ),
    ] = 30,
    as_json: AsJson = False,
) -> None:
    """Delete what lies in the store and nothing refers to."""
    from datetime import timedelta

    from app.answers import print_garbage
    from app.database.engine import open_session
    from app.garbage.service import collect_garbage
    from app.settings import get_settings
    from app.store import ArtefactStore

    with open_session() as session, session.begin():
        garbage = collect_garbage(
            session,
            ArtefactStore(get_settings().store_url),
            older_than=timedelta(hours=older_than),
            remembered_for=timedelta(days=remembered),
            dry_run=dry_run,
        )
    console.print_json(garbage) if as_json else print_garbage(garbage)

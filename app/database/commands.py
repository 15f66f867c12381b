"""The catalog's database, on the command line."""

from typing import Annotated

import typer

from app import console

database_app = typer.Typer(help="The catalog's database.")


@database_app.command("upgrade")
def database_upgrade() -> None:
    """Make the catalog's schema, or bring it to this version."""
    from app.database.engine import get_engine
    from app.database.migrate import current_revision, upgrade

    engine = get_engine()
    before = current_revision(engine)
    upgrade(engine)
    after = current_revision(engine)
    console.print_line(f"at {after}" if before == after else f"from {before or 'none'} to {after}")


@database_app.command("index")
def database_index() -> None:
    """Index the runs that have many voxels, so that a search among all of them is quick."""
    from app.voxels.indexing import index_runs

    made = index_runs(console.stage_progress())
    told = ", ".join(f"run {run}" for run in made)
    console.print_line(f"indexed: {told}" if made else "nothing to index")


@database_app.command("url")
def database_url(
    password: Annotated[bool, typer.Option("--password", help="Show the password.")] = False,
) -> None:
    """Print the URL that other programs reach the catalog by."""
    from sqlalchemy import make_url

    from app.database import engine
    from app.settings import get_settings

    settings = get_settings()
    url = make_url(engine.database_url(settings))
    console.print_line(url.render_as_string(hide_password=not password))
    if settings.database_url is None:
        console.note("the embedded server is up while an sdc process holds it, as `sdc db shell`")


@database_app.command("shell", context_settings={"ignore_unknown_options": True})
def database_shell(
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments of psql's.")] = None,
) -> None:
    """Open psql on the catalog."""
    from app.database.engine import database_url
    from app.psql import run_psql
    from app.settings import get_settings

    status = run_psql(database_url(get_settings()), arguments or [])
    raise typer.Exit(1 if status else 0)

"""Keys and embargoes, on the command line."""

from typing import Annotated

import typer

from app import console
from app.commands import AsJson, actor, own_session

keys_app = typer.Typer(help="Keys to the REST API.")


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What it is for, such as a person or a program.")],
    scope: Annotated[
        list[str], typer.Option(help="read, ingest or admin; repeatable.", show_default=False)
    ],
    dataset: Annotated[
        list[str] | None, typer.Option(help="An embargoed dataset that it sees; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(help="How long it holds; 0 for ever.", min=0)] = 365,
    as_json: AsJson = False,
) -> None:
    """Make a key to the REST API; its secret is shown this once."""
    from app.answers import print_new_key
    from app.keys.service import create_key, wanted_key

    wanted = wanted_key(name, scope, dataset or [], days or None)
    with own_session() as session:
        answer = create_key(session, wanted, actor())
    console.print_json(answer) if as_json else print_new_key(answer)


@keys_app.command("list")
def keys_list(as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    from app.answers import print_keys
    from app.keys.service import list_keys

    with own_session() as session:
        answer = list_keys(session)
    console.print_json(answer) if as_json else print_keys(answer)


@keys_app.command("revoke")
def keys_revoke(
    key: Annotated[int, typer.Argument(help="Its id, as `sdc keys list` tells it.")],
    as_json: AsJson = False,
) -> None:
    """Make a key invalid, for good."""
    from app.answers import print_keys
    from app.keys.schemas import KeyList
    from app.keys.service import revoke_key

    with own_session() as session:
        answer = revoke_key(session, key, actor())
    console.print_json(answer) if as_json else print_keys(KeyList(keys=[answer]))


def embargo(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset; see `sdc datasets`.")],
    lift: Annotated[bool, typer.Option("--lift", help="Show it again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hide a dataset from every key that does not name it, and from the SQL role of readers."""
    from app.keys.service import set_embargo

    with own_session() as session:
        answer = set_embargo(session, dataset, not lift, actor())
    if as_json:
        console.print_json(answer)
    else:
        state = "embargoed" if answer.embargoed else "open"
        console.print_line(f"{answer.dataset} is {state}")

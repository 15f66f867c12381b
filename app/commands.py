"""What commands share: options that several take, and whom they ask."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.client import Catalog

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Dataset = Annotated[str | None, typer.Option(help="Name of a dataset; see `sdc datasets`.")]
Encoder = Annotated[str | None, typer.Option(help="Name or spec of an encoder.")]
Plus = Annotated[list[str] | None, typer.Option(help="A prompt to add; repeatable.")]
Minus = Annotated[list[str] | None, typer.Option(help="A prompt to take off; repeatable.")]
Negate = Annotated[bool, typer.Option("--negate", help="Ask for what is least like it.")]
OldRun = Annotated[int | None, typer.Option("--run", help="An older run's id.")]
Many = Annotated[int, typer.Option("-k", help="How many, 1 to 1,000 (SDC_K_LIMIT).")]
Component = Annotated[int, typer.Argument(help="A concept's id, as `sdc search` tells it.")]

Answer = TypeVar("Answer")

_server: ContextVar[str | None] = ContextVar("server", default=None)
_key: ContextVar[str | None] = ContextVar("key", default=None)


def ask_server(url: str | None, key: str | None) -> None:
    """Name the server that `ask` asks from now on; None for this machine's catalog."""
    _server.set(url)
    _key.set(key)


def asks_server() -> bool:
    """Whether a server is asked, and not this machine's catalog."""
    return _server.get() is not None


def ask(here: "Callable[[Session], Answer]", there: "Callable[[Catalog], Answer]") -> Answer:
    """The answer of this machine's catalog, or of the server that --server names."""
    server = _server.get()
    if server is None:
        with own_session() as session:
            return here(session)
    from app.client import Catalog

    with Catalog(server, key=_key.get()) as catalog:
        return there(catalog)


@contextmanager
def own_session() -> "Iterator[Session]":
    """A session on this machine's catalog, see `app.reading.reading_session`."""
    # Loaded when a command needs it: help is told without a database.
    from app.reading import reading_session

    with reading_session() as session:
        yield session


def actor() -> str:
    """Who the audit names for what this process changes."""
    from getpass import getuser

    try:
        return f"command line ({getuser()})"
    except (OSError, KeyError):
        return f"command line (user {os.getuid()})"

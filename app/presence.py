"""Whether whoever asked is still there: work for somebody who has gone ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from threading import Event

from starlette.requests import Request

from app.errors import UnavailableError

LOOK_S = 0.25
# Of a request's scope: its body has been read, so that what comes next is its client's leave.
BODY_READ = "sdc.body_read"
_BODYLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

_gone: ContextVar[Event | None] = ContextVar("gone", default=None)


class ClientGoneError(UnavailableError):
    """Whoever asked has gone, and nobody reads the answer."""


def require_client() -> None:
    """End work that nobody waits for any more; called between its parts.

    Raises
    ------
    ClientGoneError
        The request's client has closed the connection. Work that no request asked for goes on.
    """
    gone = _gone.get()
    if gone is not None and gone.is_set():
        raise ClientGoneError("whoever asked has gone")


@asynccontextmanager
async def watching(request: Request) -> AsyncIterator[None]:
    """Look after a request's client for the time of the block; threads started in it know."""
    gone = Event()
    _gone.set(gone)

    async def look() -> None:
        while not gone.is_set():
            await asyncio.sleep(LOOK_S)
            read = request.method in _BODYLESS or request.scope.get(BODY_READ, False)
            if read and await request.is_disconnected():
                gone.set()

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

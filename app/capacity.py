"""How many requests a server works on at once; others wait in a line that is short.

Each that is worked on has a thread of its own when it computes, and a connection to the database as
long as it lasts. Where there were fewer of either, requests that have the one would wait for those
that have the other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import BusyError
from app.settings import get_settings

# Threads and connections beyond those of requests: for health checks and metrics, and for those
# that ask on a second connection.
RESERVE = 4
# For each that is worked on so many may wait, and no longer than that.
LINE = 3
WAIT_S = 10.0
_RETRY_S = 2


def connections() -> int:
    """Connections to the database that a process has at most, as the settings say."""
    return get_settings().requests_at_once + RESERVE


def size_threads() -> None:
    """Let the running event loop have as many threads as there are connections."""
    from anyio.to_thread import current_default_thread_limiter

    current_default_thread_limiter().total_tokens = connections()


class Capacity:
    """Places of one server process, as many as the setting ``requests_at_once`` says."""

    def __init__(self) -> None:
        self._free: asyncio.Semaphore | None = None
        self._line = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for the time of the block; called on the event loop.

        Raises
        ------
        BusyError
            The line is full, or no place was free in `WAIT_S` seconds.
        """
        most = get_settings().requests_at_once
        if self._free is None:
            self._free = asyncio.Semaphore(most)
        if self._free.locked() and self._line >= LINE * most:
            raise _busy()
        self._line += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._line -= 1
        try:
            yield
        finally:
            self._free.release()


def _busy() -> BusyError:
    return BusyError(
        "the server is working on as many requests as it can, the setting SDC_REQUESTS_AT_ONCE",
        hint=f"ask again in {_RETRY_S} s",
        retry_after_s=_RETRY_S,
    )

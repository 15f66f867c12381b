"""Connections that send a part of a request, and no more: they are ended."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.settings import get_settings

# A body may take longer than the setting ``slow_request_s`` where it comes at least so fast.
BYTES_PER_S = 10_000


class PatientProtocol(H11Protocol):
    """Uvicorn's HTTP, where the head of a request has to come within ``slow_request_s``.

    The time runs from the connection on, and from the first byte of each further request; a byte
    now and then does not prolong it. How long a body may take is `app.uploads.BodyLimit`'s to say.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came, and look whether a request's head is whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._forget()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(get_settings().slow_request_s, self._end)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()

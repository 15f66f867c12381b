"""Requests, each with a name: counted, timed and logged."""

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observing.context import HEADER, bind, request_id
from app.observing.metrics import REQUEST_SECONDS, REQUESTS

# A path that no route serves is anything at all, and would make a series of metrics of its own.
_NOWHERE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

logger = logging.getLogger(__name__)


class Observed:
    """Middleware that names every request, and tells of it when it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and look at what becomes of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        name = request_id(headers.get(HEADER, ""))
        bind(request_id=name)
        status = 500

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        started = time.perf_counter()
        try:
            await self.app(scope, receive, named)
        finally:
            took = time.perf_counter() - started
            operation = getattr(scope.get("route"), "name", _NOWHERE)
            REQUESTS.labels(method, operation, status).inc()
            REQUEST_SECONDS.labels(method, operation).observe(took)
            logger.info(
                "%s %s %d in %.0f ms",
                *(method, operation, status, 1e3 * took),
                extra={"operation": operation, "status": status, "seconds": round(took, 4)},
            )

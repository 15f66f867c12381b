"""What a request must be before anything answers it, and what every answer says to browsers."""

import ipaddress
import socket
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.hosts import host_of, is_named
from app.page import PAGE
from app.problems import problem_response
from app.settings import get_settings

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
# The API's own page loads scripts and styles, from here alone; Swagger UI writes styles of its own.
_PAGE = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'"
)


class Guard:
    """Middleware that believes no proxy but those that are trusted, and no name but its own.

    A page of a name that an attacker owns can have a browser ask this server under that name, once
    the name leads here (DNS rebinding). What cannot be such a name is let in: addresses, names
    without a dot, this machine's own, and those of the setting ``allowed_hosts``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                policy = _PAGE if scope["path"] == PAGE else _NOTHING
                headers.setdefault("Content-Security-Policy", policy)
            await send(message)

        headers = Headers(scope=scope)
        name = host_of(headers.get("host", ""))
        if not is_allowed(name, get_settings().allowed_hosts):
            refused = problem_response(
                421,
                f"this server is not {name[:200] or 'without a name'!r}",
                hint="ask by its address, or add the name to SDC_ALLOWED_HOSTS",
            )
            await refused(scope, receive, told)
            return
        if "content-length" in headers and "transfer-encoding" in headers:
            refused = problem_response(
                400,
                "the request has both Content-Length and Transfer-Encoding",
                headers={"Connection": "close"},
                hint="send one of them: a proxy may go by the other",
            )
            await refused(scope, receive, told)
            return
        await self._app(scope, receive, told)


class TrustedProxies:
    """Middleware that takes the client's address from ``X-Forwarded-For`` of trusted proxies alone,
    those of the setting ``trusted_proxies``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the address that it comes from."""
        trusted = get_settings().trusted_proxies
        app = ProxyHeadersMiddleware(self._app, trusted) if trusted else self._app  # type: ignore[arg-type]
        await app(scope, receive, send)  # type: ignore[arg-type]


def is_allowed(name: str, allowed: Sequence[str]) -> bool:
    """Whether a request for this name is one for this server.

    Parameters
    ----------
    name : str
        See `app.hosts.host_of`.
    allowed : sequence of str
        Further names, see `app.hosts.is_named`.
    """
    if "." not in name.removesuffix(".localhost") and ":" not in name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        return True
    return is_named(name, [socket.gethostname(), *allowed])

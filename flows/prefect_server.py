"""Prefect's own server behind a guard; a program that `sdc prefect` runs.

Who may register flows and runs has the workers run what they like, so that every request needs the
login (`flows.prefect_home.prefect_login`), which Prefect itself asks for. Pages of other sites are
kept off by the guard: their browser names their site (Origin), and where they have the server's
address under a name of their own (DNS rebinding) the request names that (Host).
"""

import argparse
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from app.hosts import is_named
from flows.lifetime import end_with

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Listened at, they are every address, and no name.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened at


class Guarded:
    """An application that is asked by known names alone, and by no page of another site.

    Parameters
    ----------
    application
        The ASGI application.
    hosts : collection of str
        Names and addresses that requests may be for, without port, see `app.hosts.is_named`.
    origins : collection of str
        Sites (``https://name:port``) whose pages may ask, beside the server's own.
    """

    def __init__(
        self, application: Application, hosts: Collection[str], origins: Collection[str] = ()
    ) -> None:
        self._application = application
        self._hosts = [_bare(host) for host in hosts]
        self._origins = {origin.rstrip("/").lower() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        status, refusal = self._refusal(scope["headers"])
        if not refusal:
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal})
        else:
            body = json.dumps({"exception_message": refusal}).encode()
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str]:
        told = [(name.lower(), value.decode("latin-1").lower()) for name, value in headers]
        hosts = [value for name, value in told if name == b"host"]
        asked = _hostname(hosts[0]) if len(hosts) == 1 else None
        if asked is None or not is_named(asked, self._hosts):
            return 421, "this server is not asked by that name (SDC_ALLOWED_HOSTS)"
        for name, origin in told:
            own = urlsplit(origin).netloc == hosts[0] and origin.startswith(("http://", "https://"))
            if name == b"origin" and not own and origin not in self._origins:
                return 403, "pages of other sites may not ask this server"
        return 0, ""


def _hostname(host: str) -> str | None:
    """The name in a ``Host`` header; None where there is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if not (parts.username or parts.path or parts.query) else None


def _bare(host: str) -> str:
    return host.strip("[]").lower()


def main() -> None:
    """Serve Prefect until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", action="append", default=[], help="A host of requests.")
    parser.add_argument("--temporary", action="store_true", help="For one process, as it is set.")
    parser.add_argument("--parent", type=int, help="A process that it ends with.")
    options = parser.parse_args()
    if options.parent is not None:
        end_with(options.parent)

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    settings = get_current_settings().server
    if settings.api.auth_string is None and not options.temporary:
        raise SystemExit("error: a Prefect server without a login is none of ours")
    own = () if options.host in EVERYWHERE else (options.host,)
    origins = [each for each in settings.api.cors_allowed_origins.split(",") if each != "*"]
    uvicorn.run(
        Guarded(create_app(), (*LOOPBACK, *own, *options.name), origins),
        host=options.host,
        port=options.port,
        log_level="error",
        access_log=False,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        server_header=False,
    )


if __name__ == "__main__":
    main()

"""The server: on stdin and stdout for one client, or over HTTP."""

import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stdout, suppress
from importlib.metadata import version
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from app import console
from app.capacity import size_threads
from app.database.engine import get_engine
from app.errors import InputError
from app.guard import TrustedProxies
from app.mcp.tools import make_tools
from app.patience import PatientProtocol
from app.settings import get_settings

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
INSTRUCTIONS = (
    "A catalog of shared decodable concepts: fMRI responses to pictures, decoded to CLIP space."
    " Concepts are directions of that space which brains carry; their masks are the voxels that"
    " respond to them, more or less than to other stimuli (`responds`). Begin with `datasets`, ask"
    " in words with `search` or `regions`, list `concepts`,"
    " look at one with `show` and `similar`, and use `sql` for anything else. Name dataset, run and"
    " encoder with what you report, call nothing a finding whose q_value is 0.05 or more, and no"
    " concept shared unless `shared` is true: null says that it was not measured."
)


def serve_stdio() -> None:
    """Serve one client on stdin and stdout, until it closes them.

    Raises
    ------
    CatalogError
        The settings cannot be used, or the embedded server does not start.
    """
    _prepare()
    if sys.stdin.isatty():
        console.note("MCP is spoken on stdin and stdout: a client starts this, see docs/mcp.md")
    make_server(lifespan=_stdout_aside).run("stdio")


def serve_http(host: str, port: int, names: Sequence[str] = ()) -> None:
    """Serve many clients over streamable HTTP, until the process is told to end.

    Parameters
    ----------
    host : str
        Address to listen at.
    port : int
        0 takes a free one.
    names : sequence of str
        Host names that clients may use besides `host` and those of the loopback: a request
        for another name comes from a page that a browser was led to.

    Raises
    ------
    CatalogError
        As `serve_stdio`, or the address cannot be listened at.
    """
    _prepare()
    listener = _listen(host, port)
    bound = f"[{host}]" if ":" in host else host
    app = make_server(lifespan=_living).streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        transport_security=_security([*LOOPBACK, bound, *names, *get_settings().allowed_hosts]),
    )
    console.note(f"serving MCP at http://{bound}:{listener.getsockname()[1]}{PATH}")
    # The embedded server is stopped by functions that run when Python ends of itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        config = uvicorn.Config(
            TrustedProxies(app), log_config=None, proxy_headers=False, http=PatientProtocol
        )
        uvicorn.Server(config).run(sockets=[listener])


def make_server(**options: Any) -> MCPServer[Any]:
    """The catalog's server, of no transport yet."""
    return MCPServer(
        "sdc",
        title="Shared decodable concepts",
        instructions=INSTRUCTIONS,
        version=version("sdc-catalog"),
        tools=[*make_tools()],
        log_level="WARNING",
        **options,
    )


def _prepare() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    # Calls come on several threads at once, and each would start what is not there.
    get_engine()


@asynccontextmanager
async def _living(_: MCPServer[Any]) -> AsyncIterator[None]:
    """Answer as many at a time as there are connections to the database."""
    size_threads()
    yield


@asynccontextmanager
async def _stdout_aside(_: MCPServer[Any]) -> AsyncIterator[None]:
    """Send what anything prints to stderr: stdout belongs to the protocol."""
    size_threads()
    with redirect_stdout(sys.stderr):
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Who reads below where it is may come before it is served: they wait.
        listener.listen()
    except OSError as error:
        raise InputError(
            f"port {port} of {host} cannot be listened at: {error.strerror or error}",
            hint="choose others with --host and --port",
        ) from error
    return listener


def _security(names: Sequence[str]) -> TransportSecuritySettings:
    hosts = [form for name in names for form in (name, f"{name}:*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts],
    )

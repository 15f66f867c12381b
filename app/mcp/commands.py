"""The server for language models, on the command line."""

from typing import Annotated

import typer


def mcp(
    http: Annotated[
        bool, typer.Option("--http", help="Over HTTP, not on stdin and stdout.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address that HTTP listens at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Its port; 0 takes a free one.", min=0, max=65535)
    ] = 8300,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that clients may reach it by; repeatable.")
    ] = None,
) -> None:
    """Let language models ask the catalog, over the Model Context Protocol."""
    from app.mcp.server import serve_http, serve_stdio

    serve_http(host, port, allow_host or []) if http else serve_stdio()

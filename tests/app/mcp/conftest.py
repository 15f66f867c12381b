"""The catalog's server as a process of its own, asked by the SDK's own client."""

import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult
from sqlalchemy import make_url

from app.database.reader import READER
from tests.app.conftest import SharedCatalog

ROOT = Path(__file__).resolve().parents[3]
START = "from app.cli import main; main()"

Ask = Callable[..., CallToolResult]


def reader_of(url: str) -> str:
    """The same database, logged in to as the catalog's reader."""
    return make_url(url).set(username=READER).render_as_string(hide_password=False)


def environment(home: Path, url: str) -> dict[str, str]:
    """What a server's process is started with."""
    own = {"SDC_HOME": str(home), "SDC_DATABASE_URL": url, "SDC_READER_URL": reader_of(url)}
    return os.environ | {"PYTHONPATH": str(ROOT)} | own


def over_stdio(own: dict[str, str], script: str = START) -> StdioServerParameters:
    """How a client starts the server; `script` runs instead of the command."""
    return StdioServerParameters(command=sys.executable, args=["-c", script, "mcp"], env=own)


def with_client(target: Any, act: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    """What a client gets while it is connected."""

    async def run() -> Any:
        async with Client(target, **options) as client:
            return await act(client)

    return anyio.run(run)


def call(target: Any, tool: str, arguments: dict[str, Any], **options: Any) -> CallToolResult:
    """What one tool answers."""
    return with_client(target, lambda client: client.call_tool(tool, arguments), **options)


def fault(result: CallToolResult) -> str:
    """The one line of a refusal."""
    assert result.is_error
    assert result.structured_content is None
    (content,) = result.content
    assert "\n" not in content.text
    return content.text


@pytest.fixture(scope="session")
def settings_of_shared(shared_catalog: SharedCatalog) -> dict[str, str]:
    """The environment of servers of the shared catalog."""
    return environment(shared_catalog.home, shared_catalog.url)


@contextmanager
def over_http(own: dict[str, str]) -> Iterator[str]:
    """URL of a server that is started with these settings."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, "mcp", "--http", "--port", "0"],
        env=own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.fullmatch(r"serving MCP at (http://127\.0\.0\.1:\d+/mcp)\n", line)
    assert found, line + process.stderr.read()
    yield found[1]
    process.terminate()
    stdout, _ = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, "")


@pytest.fixture(scope="session")
def url(settings_of_shared: dict[str, str]) -> Iterator[str]:
    """URL of a server of the shared catalog over HTTP."""
    with over_http(settings_of_shared | {"SDC_REQUESTS_PER_MINUTE": "1000000"}) as served:
        yield served


@pytest.fixture(params=["stdio", "http"])
def target(request: pytest.FixtureRequest, settings_of_shared: dict[str, str]) -> Any:
    """What a client connects to, over either transport."""
    if request.param == "http":
        return request.getfixturevalue("url")
    return over_stdio(settings_of_shared)


@pytest.fixture
def ask(target: Any) -> Ask:
    """Calls a tool over either transport."""
    return lambda tool, **arguments: call(target, tool, arguments)


@pytest.fixture
def ask_http(url: str) -> Ask:
    """Calls a tool over HTTP."""
    return lambda tool, **arguments: call(url, tool, arguments)

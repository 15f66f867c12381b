import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.types import CallToolResult
from sqlalchemy import delete

from app.database.engine import open_session
from app.database.models import Term
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.mcp.conftest import START, call, environment, fault, over_stdio, with_client
from tests.app.published import Published, publish

# What a careless library would do while a tool runs.
NOISY = """
import logging, os, subprocess, sys
from app.mcp import tools
plain = tools.list_datasets
def noisy(session):
    print("printed")
    os.write(1, b"written\\n")
    subprocess.run(["echo", "echoed"])
    logging.getLogger("library").warning("logged")
    return plain(session)
tools.list_datasets = noisy
from app.cli import main; main()
"""
FAULTY = """
from app.mcp import tools
def fail(session):
    raise ZeroDivisionError("a secret of the house")
tools.list_datasets = fail
from app.cli import main; main()
"""
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def speak(script: str, own: dict[str, str], *calls: tuple[str, dict[str, Any]]) -> tuple[Any, str]:
    """Every line that a server writes to stdout, as JSON, and its stderr."""
    messages = [HELLO, {"jsonrpc": "2.0", "method": "notifications/initialized"}] + [
        {
            "jsonrpc": "2.0",
            "id": number,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        }
        for number, (tool, arguments) in enumerate(calls, start=2)
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", script, "mcp"],
        env=own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answers = []
    for message in messages:
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
        if "id" in message:
            answers.append(json.loads(process.stdout.readline()))
    rest, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    return [*answers, *map(json.loads, rest.splitlines())], stderr


def test_stdout_belongs_to_the_protocol(settings_of_shared: dict[str, str]) -> None:
    # What Python holds back until it ends is not to reach stdout either.
    own = settings_of_shared | {"PYTHONUNBUFFERED": ""}
    answers, stderr = speak(NOISY, own, ("datasets", {}))
    assert [each["id"] for each in answers] == [1, 2]
    assert answers[1]["result"]["structuredContent"]["datasets"][0]["dataset"] == "lab-a"
    assert sorted(stderr.splitlines()) == [
        "WARNING library: logged",
        *("echoed", "printed", "written"),
    ]


@pytest.mark.slow
def test_a_model_that_loads_says_nothing_on_stdout(catalog: Path) -> None:
    settings = get_settings()
    assert settings.database_url is not None
    with open_session() as session, session.begin():
        publish(session, "caption:all-MiniLM-L6-v2", ArtefactStore(settings.store_url))
    own = environment(catalog, settings.database_url.get_secret_value())
    answers, _ = speak(START, own, ("search", {"prompt": "a smiling woman"}))
    assert [each["id"] for each in answers] == [1, 2]
    assert answers[1]["result"]["structuredContent"]["concepts"][0]["label"].startswith("face")


def test_what_nobody_foresaw_tells_no_internals(settings_of_shared: dict[str, str]) -> None:
    answers, stderr = speak(FAULTY, settings_of_shared, ("datasets", {}), ("runs", {}))
    assert answers[1]["result"]["isError"]
    assert answers[1]["result"]["content"][0]["text"] == "Error executing tool datasets"
    assert "a secret of the house" in stderr
    assert not answers[2]["result"].get("isError")


def test_an_unreachable_database_is_one_line_without_the_password(
    tmp_path: Path, settings_of_shared: dict[str, str]
) -> None:
    own = environment(tmp_path, "postgresql://who:secret@127.0.0.1:1/nowhere")
    text = fault(call(over_stdio(own), "datasets", {}))
    assert "127.0.0.1/nowhere cannot be reached" in text
    assert "secret" not in text
    own = settings_of_shared | {"SDC_READER_URL": own["SDC_READER_URL"]}
    text = fault(call(over_stdio(own), "sql", {"statement": "SELECT 1"}))
    assert "127.0.0.1/nowhere cannot be reached as catalog_reader" in text


def test_settings_that_cannot_be_used_stop_it_before_it_serves(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", START, "mcp"],
        env=environment(tmp_path, "mysql://who:secret@127.0.0.1/nowhere"),
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: SDC_DATABASE_URL is no PostgreSQL URL")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_clients_of_both_protocol_eras_are_told_what_this_is(target: Any, mode: str) -> None:
    async def greet(client: Client) -> tuple[Any, str | None, CallToolResult]:
        return client.server_info, client.instructions, await client.call_tool("datasets", {})

    info, instructions, answer = with_client(target, greet, mode=mode)
    assert (info.name, info.title) == ("sdc", "Shared decodable concepts")
    assert instructions is not None
    assert "`search`" in instructions
    assert not answer.is_error


def test_calls_of_one_client_run_side_by_side(target: Any, published: Published) -> None:
    async def ask(client: Client) -> list[int]:
        found: dict[int, CallToolResult] = {}

        async def show(number: int, component: int) -> None:
            found[number] = await client.call_tool("show", {"component": component})

        async with anyio.create_task_group() as group:
            for number, component in enumerate([*published.components.values()] * 4):
                group.start_soon(show, number, component)
        return [found[number].structured_content["id"] for number in sorted(found)]

    assert with_client(target, ask) == [*published.components.values()] * 4


def test_what_is_searched_for_can_then_be_asked_in_sql(
    own_published: Published, catalog: Path
) -> None:
    settings = get_settings()
    assert settings.database_url is not None
    with open_session() as session, session.begin():
        session.execute(delete(Term).where(Term.text == "a street"))
    own = environment(catalog, settings.database_url.get_secret_value())
    asked = "SELECT component_id FROM catalog.search_concepts('a street', 1)"

    async def ask(client: Client) -> list[CallToolResult]:
        return [
            await client.call_tool(tool, arguments)
            for tool, arguments in (
                ("sql", {"statement": asked}),
                ("search", {"prompt": "a street", "k": 1}),
                ("sql", {"statement": asked}),
            )
        ]

    before, found, after = with_client(over_stdio(own), ask)
    assert "a street" in fault(before)
    house = own_published.components["house"]
    assert found.structured_content["concepts"][0]["id"] == house
    assert after.structured_content["rows"] == [[house]]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8300"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8300"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:5000"}, 200),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_are_refused(url: str, headers: dict[str, str], status: int) -> None:
    accepts = {"Accept": "application/json, text/event-stream"}
    assert httpx.post(url, json=HELLO, headers=accepts | headers).status_code == status


def test_http_keeps_no_sessions(url: str) -> None:
    answer = httpx.post(url, json=HELLO, headers={"Accept": "application/json, text/event-stream"})
    assert "mcp-session-id" not in answer.headers
    assert answer.headers["content-type"] == "application/json"


def test_http_serves_other_names_where_it_is_told_to(settings_of_shared: dict[str, str]) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            START,
            "mcp",
            "--http",
            "--port",
            "0",
            "--allow-host",
            "lab.example",
        ],
        env=settings_of_shared,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = process.stderr.readline().split()[-1]
    try:
        for host, status in (("lab.example", 200), ("lab.example:80", 200), ("evil.example", 421)):
            headers = {"Accept": "application/json, text/event-stream", "Host": host}
            assert httpx.post(url, json=HELLO, headers=headers).status_code == status
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid"])
def test_an_address_that_cannot_be_listened_at(
    settings_of_shared: dict[str, str], host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-c", START, "mcp", "--http", "--host", host, "--port", str(port)],
            env=settings_of_shared,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: port {port} of {host} cannot be listened at: ")
    assert result.stderr.count("\n") == 1


def test_it_listens_on_the_loopback_alone(url: str) -> None:
    assert url.startswith("http://127.0.0.1:")
    others = {
        info[4][0]
        for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not info[4][0].startswith("127.")
    }
    for address in others:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, int(url.split(":")[2].split("/")[0])), timeout=5)


def test_an_embedded_server_is_started_and_read(tmp_path: Path) -> None:
    # Where tests run as root the server runs as another user, who must get at its folder.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path(folder.anchor):
            folder.chmod(folder.stat().st_mode | 0o055)
    own = environment(tmp_path, "postgresql://")
    del own["SDC_DATABASE_URL"], own["SDC_READER_URL"]
    upgrade = "import sys; sys.argv[1:] = ['db', 'upgrade']; " + START
    subprocess.run([sys.executable, "-c", upgrade], env=own, check=True, capture_output=True)
    answers, stderr = speak(
        START, own, ("sql", {"statement": "SELECT session_user"}), ("datasets", {})
    )
    assert answers[1]["result"]["structuredContent"]["rows"] == [["catalog_reader"]]
    assert answers[2]["result"]["structuredContent"] == {"datasets": []}
    assert stderr == ""

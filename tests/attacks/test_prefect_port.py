"""Attacks on the port of `sdc prefect`, behind which workers run what is registered."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from flows.deployments import JOB, POOL
from flows.prefect_server import Guarded
from tests.app.database.servers import ROOT


@dataclass(frozen=True)
class Port:
    """A Prefect server that is up."""

    home: Path
    port: int
    login: tuple[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def sdc(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `sdc` that knows the server."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *words],
            cwd=ROOT,
            env=clean_environment()
            | {"SDC_HOME": str(self.home), "PREFECT_API_URL": self.url}
            | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, method: str, path: str, json: Any = None, **headers: str) -> httpx.Response:
        """One request with the login."""
        return httpx.request(
            method, f"{self.url}{path}", json=json, headers=headers, auth=self.login, timeout=60
        )


def clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("SDC_", "PREFECT_"))}


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with TemporaryDirectory(prefix="sdc-attack-", ignore_cleanup_errors=True) as name:
        home = Path(name).resolve() / "home"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "prefect", "--port", str(number)],
            cwd=ROOT,
            env=clean_environment() | {"SDC_HOME": str(home)},
        )
        try:
            until = time.monotonic() + 240
            while True:
                assert process.poll() is None
                assert time.monotonic() < until
                try:
                    if httpx.get(f"http://127.0.0.1:{number}/api/health").is_success:
                        break
                except httpx.HTTPError:
                    time.sleep(0.2)
            user, _, password = (home / "prefect.auth").read_text().partition(":")
            yield Port(home, number, (user, password))
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def deployment(port: Port) -> str:
    """Id of a deployment that workers work on, in a pool that was made by an older version."""
    older = {"name": POOL, "type": "process", "base_job_template": OPEN_JOB}
    assert port.ask("POST", "/work_pools/", older).status_code == 201
    flow = port.ask("POST", "/flows/", {"name": "ingest"}).json()["id"]
    left = {
        "name": "nightly",
        "flow_id": flow,
        "work_pool_name": POOL,
        "job_variables": OWN_COMMAND,
    }
    assert port.ask("POST", "/deployments/", left).status_code == 201
    made = port.sdc("deploy", "ingest")
    assert made.returncode == 0, made.stderr
    # Goes on as it was, but for the command.
    found = port.ask("GET", "/deployments/name/ingest/nightly").json()
    assert found["job_variables"] == {}
    begun = port.ask("POST", f"/deployments/{found['id']}/create_flow_run", {})
    assert begun.status_code == 201, begun.text
    found = port.ask("GET", "/deployments/name/ingest/sdc")
    return str(found.json()["id"])


OPEN_JOB = {
    "job_configuration": {"command": "{{ command }}", "env": "{{ env }}"},
    "variables": {
        "type": "object",
        "properties": {"command": {"type": "string"}, "env": {"type": "object"}},
    },
}
OWN_COMMAND = {"command": "touch /tmp/run-by-another"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/flow_runs/"),
        ("POST", "/flow_runs/filter"),
        ("POST", "/deployments/"),
        ("POST", "/work_pools/"),
        ("PATCH", f"/work_pools/{POOL}"),
        ("POST", f"/work_pools/{POOL}/get_scheduled_flow_runs"),
        ("POST", "/block_documents/filter"),
        ("GET", "/admin/settings"),
        ("POST", "/admin/database/drop"),
    ],
)
def test_nobody_asks_without_the_login(port: Port, method: str, path: str) -> None:
    login = port.login
    for auth in (None, (login[0], "guessed"), ("", ""), (login[1], login[0]), (login[0], "")):
        asked = httpx.request(method, f"{port.url}{path}", json={}, auth=auth)
        assert asked.status_code == 401, asked.text


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out"])
def test_nobody_listens_or_tells_without_the_login(port: Port, path: str) -> None:
    address = f"ws://127.0.0.1:{port.port}/api{path}"
    guessed = json.dumps({"type": "auth", "token": "guessed"})
    for options, first in (
        ({}, "{}"),
        ({"subprotocols": ["prefect"]}, guessed),
        ({"origin": "https://evil.example"}, guessed),
    ):
        with pytest.raises((ConnectionClosed, InvalidStatus)):
            listen(address, first, options)


def listen(address: str, first: str, options: Any) -> None:
    """Say one thing, and listen until it is over; whoever is let in is told so: a fault."""
    with connect(address, **options) as told:
        told.send(first)
        while True:
            assert json.loads(told.recv(10))["type"] != "auth_success"


def test_the_login_is_for_its_owner_alone(port: Port) -> None:
    assert stat.S_IMODE((port.home / "prefect.auth").stat().st_mode) == 0o600
    assert len(port.login[1]) >= 40
    assert port.ask("POST", "/flow_runs/filter", {}).status_code == 200
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = process.read_bytes()
        except OSError:
            continue
        assert port.login[1].encode() not in told


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4200", "127.0.0.1.evil.example", "", "x@127.0.0.1"]
)
def test_a_name_of_somebody_else_leads_to_nothing(port: Port, host: str) -> None:
    """Whose name leads a browser here (DNS rebinding), though it has the login."""
    for path in ("/flow_runs/filter", "/../", "/health"):
        asked = port.ask("POST", path, {}, Host=host)
        assert asked.status_code == 421, asked.text


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"]
)
def test_pages_of_other_sites_ask_nothing(port: Port, origin: str) -> None:
    asked = port.ask("POST", "/flow_runs/filter", {}, Origin=origin)
    assert asked.status_code == 403
    flight = {"Access-Control-Request-Method": "POST", "Origin": origin}
    before = httpx.options(f"{port.url}/flow_runs/filter", headers=flight)
    assert before.status_code == 403
    assert not [name for name in before.headers if name.startswith("access-control")]
    own = port.ask("POST", "/flow_runs/filter", {}, Origin=f"http://127.0.0.1:{port.port}")
    assert own.status_code == 200
    assert "*" not in own.headers.get("access-control-allow-origin", "")


def test_it_listens_on_the_loopback_alone(port: Port) -> None:
    others = {
        info[4][0]
        for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not str(info[4][0]).startswith("127.")
    }
    for address in others:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((str(address), port.port), timeout=5)


@pytest.mark.parametrize(
    "variables",
    [
        OWN_COMMAND,
        {"env": {"PYTHONPATH": "/tmp"}},  # noqa: S108
        {"env.LD_PRELOAD": "/tmp/x.so"},  # noqa: S108
        {"working_dir": "/tmp"},  # noqa: S108
    ],
)
def test_a_run_brings_nothing_of_its_own(
    port: Port, deployment: str, variables: dict[str, Any]
) -> None:
    """Not even one of somebody who has the login, or had the pool before."""
    from prefect.workers.process import ProcessJobConfiguration

    pool = port.ask("GET", f"/work_pools/{POOL}").json()
    assert pool["base_job_template"] == JOB
    asked = port.ask(
        "POST",
        f"/deployments/{deployment}/create_flow_run",
        {"job_variables": variables, "state": {"type": "SCHEDULED"}},
    )
    assert asked.status_code in {409, 422}, asked.text
    job = asyncio.run(
        # A client, which it does not need, or it starts a server.
        ProcessJobConfiguration.from_template_and_values(
            pool["base_job_template"],
            variables,
            client=object(),  # type: ignore[arg-type]
        )
    )
    assert job.command == JOB["job_configuration"]["command"]
    assert not job.env
    assert job.working_dir is None


def test_another_login_is_told_in_one_line(port: Port) -> None:
    refused = port.sdc("deploy", SDC_PREFECT_AUTH="sdc:of-another-home")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: the Prefect server at {port.url} does not take this catalog's login "
        "(use the SDC_HOME that it was started with, or give its login as SDC_PREFECT_AUTH)\n"
    )


def test_the_temporary_server_of_a_flow_has_a_login_too(port: Port) -> None:
    code = """
import httpx
from app.settings import get_settings
from flows.prefect_home import configure_prefect
configure_prefect(get_settings())
from prefect.client.orchestration import get_client
from prefect.server.api.server import SubprocessASGIServer
server = SubprocessASGIServer()
server.start()
origin = {"Origin": "https://evil.example"}
print(httpx.post(f"{server.api_url}/flow_runs/filter", json={}).status_code)
health = httpx.get(f"{server.api_url}/health", headers=origin)
print("access-control-allow-origin" in health.headers)
with get_client(sync_client=True) as client:
    print(len(client.read_variables(limit=5)))
server.stop()
"""
    asked = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment() | {"SDC_HOME": str(port.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.split() == ["401", "False", "0"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "prefect:4200"}, 200),
        ({"host": "PREFECT:4200"}, 200),
        ({"host": "[::1]:4200"}, 200),
        ({"host": "prefect:4200", "origin": "http://prefect:4200"}, 200),
        ({"host": "prefect:4200", "origin": "https://lab.example"}, 200),
        ({"host": "prefect:4200", "origin": "https://lab.example.evil"}, 403),
        ({"host": "prefect:4200", "origin": "prefect:4200"}, 403),
        ({"host": "prefect:nonsense"}, 421),
        ({"host": "a.lab.example:4200"}, 200),
        ({"host": "lab.example.evil"}, 421),
        ({"host": "[::1"}, 421),
        ({}, 421),
    ],
)
def test_the_guard(headers: dict[str, str], status: int) -> None:
    async def well(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    guarded = Guarded(well, ["prefect", "::1", "*.lab.example"], ["https://lab.example"])
    told: list[Any] = []

    async def take(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(guarded(scope, None, take))  # type: ignore[arg-type]
    assert told[0]["status"] == status

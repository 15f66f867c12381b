"""`sdc serve` as a process, of several that serve together."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from app.settings import get_settings
from tests.app.published import Published

ROOT = Path(__file__).resolve().parents[2]
START = "from app.cli import main; main()"
PATIENCE_S = 120.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(what: str, done: object) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_that_serve_together_count_and_end_together(
    published: Published, number: int
) -> None:
    url = get_settings().database_url
    assert url is not None
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", START, "serve", "--port", str(port), "--workers", "2"],
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "SDC_HOME": str(get_settings().home),
            "SDC_DATABASE_URL": url.get_secret_value(),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        at = f"http://127.0.0.1:{port}"

        def is_up() -> bool:
            try:
                return httpx.get(f"{at}/readyz").is_success
            except httpx.HTTPError:
                return False

        until("it is up", is_up)
        # A client of its own each time: connections stay with one process.
        for _ in range(12):
            assert httpx.get(f"{at}/v1/datasets").status_code == 200
        counted = httpx.get(f"{at}/metrics").text
        assert (
            'sdc_requests_total{method="GET",operation="list_datasets",status="200"} 12.0'
            in counted
        )
        workers = [
            each
            for each in psutil.Process(process.pid).children()
            if "spawn_main" in " ".join(each.cmdline())
        ]
        assert len(workers) == 2
    finally:
        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE_S)
    until("its processes end too", lambda: not any(each.is_running() for each in workers))
    if number == signal.SIGTERM:
        assert process.returncode == 0, told
        assert "Traceback" not in told

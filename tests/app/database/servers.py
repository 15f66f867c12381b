"""Programs of tests' own that use an embedded server, which ends with them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]

# Says the server's address, and uses it until its stdin ends.
USE = """
import sys
from pathlib import Path
from app.database.embedded import start_server
print(start_server(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def use_server(home: Path, **environment: str) -> "subprocess.Popen[str]":
    """A process that uses the server of a home; its first line is the address."""
    return subprocess.Popen(
        [sys.executable, "-c", USE, str(home)],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def at_work(home: Path) -> list[psutil.Process]:
    """PostgreSQL's processes that work for a home."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and Path(process.cwd()) == home / "postgres":
                found.append(process)
        except psutil.Error:
            continue
    return found


def server_of(home: Path) -> psutil.Process:
    """The first of a server's processes."""
    return psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))


def wait_until(done: Callable[[], bool], within_s: float = 60) -> None:
    """Wait until something is so."""
    until = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)

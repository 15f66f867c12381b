"""What commands start ends with them, whatever ends them; and what succeeds ends quietly."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from tests.app.database.servers import ROOT, at_work, wait_until
from tests.flows.planted import write_planted

FOLDS = ("--set", "n_test=20", "--set", "n_validation=20")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with a name that shells and URLs read in a way of their own, and a data set."""
    with TemporaryDirectory(prefix="My lab's #1, 50% ", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        write_planted(folder / "data set")
        yield folder


def start(place: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    """A command of `sdc` in a group of its own."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("SDC_", "PREFECT_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *words],
        cwd=ROOT,
        env=own | {"SDC_HOME": str(place / "home")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_of(place: Path) -> list[str]:
    """Commands of processes that work for the home, the servers' among them."""
    mark = f"SDC_HOME={place / 'home'}".encode()
    found = []
    for process in at_work(place / "home"):
        # One may end between the two looks.
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            if mark in environment.split(b"\0"):
                told = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                # One that has ended and is not waited for yet has no command line.
                found += [told] if told else []
        except OSError:
            continue
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def started(place: Path, program: str) -> Callable[[], bool]:
    return lambda: any(program in command for command in left_of(place))


def test_a_good_ingestion_ends_quietly_and_leaves_nobody(place: Path) -> None:
    # What other work left in the environment changes nothing either.
    foreign = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "lab.example",
        "PGHOST": "192.0.2.1",
        "PGOPTIONS": "-c no_such_setting=1",
        "LC_ALL": "xx_YY.UTF-8",
    }
    ingestion = start(place, "ingest", str(place / "data set"), *FOLDS, **foreign)
    _, stderr = ingestion.communicate()
    assert ingestion.returncode == 0, stderr
    for word in ("Traceback", "ERROR", "Error", "WARNING", "Stopping", "temporary server"):
        assert word not in stderr
    assert len(stderr.splitlines()) < 20, stderr
    wait_until(lambda: not left_of(place), 20)
    shutil.rmtree(place / "home")


@pytest.mark.parametrize(
    "end", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL], ids=lambda end: end.name
)
def test_an_ingestion_that_is_ended_leaves_nobody(place: Path, end: signal.Signals) -> None:
    ingestion = start(place, "ingest", str(place / "data set"), *FOLDS)
    wait_until(started(place, "flows.prefect_server"), 240)
    wait_until(started(place, "keeper.py"))
    # The process alone is told, as by a service manager, or by a shell that ends.
    ingestion.send_signal(end)
    _, stderr = ingestion.communicate(timeout=60)
    assert ingestion.returncode != 0
    assert "Traceback" not in stderr
    # Looks every half second, and ends what it does.
    wait_until(lambda: not left_of(place), 30)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_servers_that_are_ended_leave_nobody(place: Path, end: signal.Signals) -> None:
    upgraded = start(place, "db", "upgrade")
    upgraded.communicate()
    assert upgraded.returncode == 0
    ports = free_port(), free_port()
    serve = start(place, "serve", "--port", str(ports[0]))
    prefect = start(place, "prefect", "--port", str(ports[1]))
    for port in ports:
        wait_until(lambda port=port: listens(port), 240)
    for server in (serve, prefect):
        server.send_signal(end)
        server.communicate(timeout=60)
        # Who is told to stop has served well.
        assert server.returncode == (0 if end == signal.SIGTERM else -end)
    wait_until(lambda: not left_of(place), 30)

"""Tests of what keeps a worker up."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.errors import InputError, UnavailableError
from flows import worker
from flows.intervals import seconds_of
from flows.worker import keep_up, prefect_worker, require_server
from tests.app.conftest import Sdc, sdc

__all__ = ["sdc"]


def wait_for(path: Path, lines: int) -> list[str]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if path.exists() and len(told := path.read_text().splitlines()) >= lines:
            return told
        time.sleep(0.02)
    raise AssertionError(f"{path} has not {lines} lines")


def test_what_ends_is_started_again_until_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FIRST_PAUSE_S", 0.01)
    told = tmp_path / "told"
    stop = threading.Event()
    command = ["/bin/sh", "-c", f"echo $$ $PREFECT_WORKER_QUERY_SECONDS >> {told}"]
    thread = threading.Thread(target=keep_up, args=(command, stop))
    thread.start()
    lines = wait_for(told, 3)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len({line.split()[0] for line in lines}) == len(lines)
    assert {line.split()[1] for line in lines} == {"2"}


def test_what_runs_is_told_to_end_and_killed_where_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "GRACE_S", 0.5)
    told = tmp_path / "told"
    stubborn = f"trap 'echo asked >> {told}' TERM; echo $$ >> {told}; while :; do sleep 0.1; done"
    stop = threading.Event()
    thread = threading.Thread(target=keep_up, args=(["/bin/sh", "-c", stubborn], stop))
    thread.start()
    pid = int(wait_for(told, 1)[0])
    stop.set()
    thread.join(20)
    assert told.read_text().splitlines()[1] == "asked"
    assert not Path(f"/proc/{pid}").exists()


def test_the_command_is_one_that_prefect_takes() -> None:
    command = prefect_worker(3, "sdc")
    assert command[-2:] == ["--limit", "3"]
    shown = subprocess.run([*command[:5], "--help"], capture_output=True, text=True, check=True)
    for word in ("--pool", "--type", "--limit"):
        assert word in shown.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/api", "nonsense", "http://["])
def test_a_server_that_does_not_answer(url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = url.format(port=taken.getsockname()[1])
        with pytest.raises(UnavailableError) as caught:
            require_server(url, 0.1)
    assert caught.value.message == f"no Prefect server answers at {url}"
    assert "sdc prefect" in caught.value.hint


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("6h", 21600), ("1d", 86400)])
def test_intervals(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "0h", "-1h", "1.5h", "6", "6w", "٣h", "999999999h"])
def test_intervals_that_are_none(text: str) -> None:
    with pytest.raises(InputError) as caught:
        seconds_of(text)
    assert caught.value.message == f"{text!r} is no interval"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ingest", "--cron", "0 3 * * *"], "nothing is named that ingest should be run on"),
        (["both", "/x", "--cron", "0 3 * *"], "'0 3 * *' is no time of a schedule"),
        (["both", "/x", "--cron", "0 3 * * *", "--interval", "1h"], "several of --cron"),
        (["both", "/x", "--event", "arrived"], "/x is named, and --event"),
        (["both", "--event", "{{ x }}"], "'{{ x }}' is no name of an event"),
        (["both", "/x", "--interval", "soon"], "'soon' is no interval"),
        (["--cron", "0 3 * * *"], "no flow is named"),
        (["ingest", "/x", "--set", "y=1"], "y: Extra inputs are not permitted"),
        (["ingest", "/x", "--run-set", "seed=1"], "--run-set is of a run"),
        (["run", "x", "--set", "n_test=9"], "--set is of an ingestion"),
        (["nothing", "x"], "'nothing' is not one of"),
    ],
)
def test_a_deployment_that_is_none(catalog: Path, sdc: Sdc, words: list[str], message: str) -> None:
    refused = sdc("deploy", *words)
    assert (refused.exit_code, message in refused.stderr) == (2, True), refused.stderr


def test_a_worker_stops_when_it_is_told() -> None:
    code = (
        "import signal, sys; from flows import worker;"
        "worker.prefect_worker = lambda *_, **__: ['/bin/sleep', '60'];"
        "print('ready', flush=True); worker.work(limit=1, pool='sdc', dispatch=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()

"""200 ingestions asked for at once, with 4 workers: each runs once, and the API still answers."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import httpx
import numpy as np
import psycopg

from tests.docker.loading import ROOT, load_stack
from tests.docker.test_stack import free_ports, wait_until
from tests.flows.planted import write_planted

REQUESTS, WORKERS, CLIENTS, DATASETS = 200, 4, 16, 8
# Between two looks of somebody who watches while all is worked on.
LOOK_S = 1.0
LONGEST_S = 3600.0


def measure() -> Iterator[str]:
    """Times of the API while it is asked and while all is worked on; how often each one ran."""
    with (
        TemporaryDirectory(prefix="sdc-bench-", ignore_cleanup_errors=True) as name,
        ExitStack() as up,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        for number in range(DATASETS):
            source = write_planted(folder / "incoming" / f"lab{number}")
            manifest = source / "dataset.toml"
            text = manifest.read_text().replace('slug = "planted"', f'slug = "lab{number}"')
            manifest.write_text(text)
        port, prefect_port, *worker_ports = free_ports(2 + WORKERS)
        url = f"http://127.0.0.1:{port}"
        _start(folder, port, prefect_port, worker_ports[0], up)
        for worker_port in worker_ports[1:]:
            variables = load_stack().variables_of(folder, port, prefect_port, worker_port)
            _worker(load_stack().Stack(folder, variables), up)
        client = up.enter_context(httpx.Client(base_url=url, timeout=60, headers=_key(folder)))
        asked = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            posts = list(clients.map(lambda number: _ask(client, folder, number), range(REQUESTS)))
        took = time.perf_counter() - asked
        looks = _watch(client, Event())
        total = time.perf_counter() - asked
        ran = _ran(folder)
        states = Counter(state for state, _, _ in ran)
        once = sum(begun == 1 and attempt == 1 for _, attempt, begun in ran)
        yield f"{REQUESTS} requests by {CLIENTS} clients in {took:.1f} s"
        yield f"all of them worked on by {WORKERS} workers after {total:.0f} s"
        yield f"asking: {_times(posts)}"
        yield f"looking, meanwhile: {_times(looks)} ({len(looks)} answers)"
        yield f"{dict(states)}; {once} of {len(ran)} were begun exactly once"


def _start(folder: Path, port: int, prefect_port: int, worker_port: int, up: ExitStack) -> None:
    log = up.enter_context((folder / "log").open("wb"))
    stack = subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "docker" / "stack.py"), "--folder", str(folder)),
            *("--port", str(port), "--prefect-port", str(prefect_port)),
            *("--worker-port", str(worker_port)),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=log,
    )
    up.callback(stack.wait)
    up.callback(stack.terminate)
    wait_until(lambda: b"\nup: " in (folder / "log").read_bytes() or stack.poll() is not None, 240)
    if stack.poll() is not None:
        raise RuntimeError((folder / "log").read_text())


def _worker(stack: "object", up: ExitStack) -> None:
    service = stack.services["worker"]  # type: ignore[attr-defined]
    worker = subprocess.Popen(
        service.command,
        env=stack.environment(service) | {"OMP_NUM_THREADS": "1"},  # type: ignore[attr-defined]
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    up.callback(worker.wait)
    up.callback(worker.terminate)


def _key(folder: Path) -> dict[str, str]:
    own = {
        "SDC_HOME": str(folder / "home"),
        "SDC_SECRETS": str(folder / "secrets"),
    }
    command = [
        sys.executable,
        "-m",
        "app.cli",
        "keys",
        "create",
        "b",
        "--scope",
        "ingest",
        "--json",
    ]
    made = subprocess.run(
        command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}


def _ask(client: httpx.Client, folder: Path, number: int) -> float:
    wanted = {
        "source": str(folder / "incoming" / f"lab{number % DATASETS}"),
        "options": {"n_test": 20, "n_validation": 20},
    }
    started = time.perf_counter()
    client.post("/v1/ingestions", json=wanted).raise_for_status()
    return time.perf_counter() - started


def _watch(client: httpx.Client, pause: Event) -> list[float]:
    """Seconds of each answer until all requests have ended."""
    looks: list[float] = []
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        ended = 0
        for path in (
            "/v1/datasets",
            "/v1/ingestions/1/log",
            *(f"/v1/ingestions?state={state}&limit=1" for state in ("done", "failed")),
        ):
            started = time.perf_counter()
            answer = client.get(path).raise_for_status().json()
            looks.append(time.perf_counter() - started)
            ended += answer.get("total", 0)
        if ended >= REQUESTS:
            return looks
        pause.wait(LOOK_S)
    raise RuntimeError(f"{ended} of {REQUESTS} have ended after {LONGEST_S:.0f} s")


def _ran(folder: Path) -> list[tuple[str, int, int]]:
    """State and attempts of each request, and how often a process began to work on it."""
    with psycopg.connect((folder / "secrets" / "sdc_database_url").read_text()) as connection:
        return connection.execute(
            "SELECT state, attempt, (SELECT count(*) FROM catalog.ingestion_log"
            " WHERE request_id = request.id AND message LIKE 'attempt % begins on %')"
            " FROM catalog.ingestion_request AS request"
        ).fetchall()


def _times(seconds: list[float]) -> str:
    middle, high, longest = 1e3 * np.quantile(seconds, [0.5, 0.95, 1])
    return f"median {middle:.0f} ms, p95 {high:.0f} ms, longest {longest:.0f} ms"

"""The whole service, without containers, driven as a lab drives it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.docker.loading import ROOT
from tests.flows.planted import write_planted

RUN = {
    "decoder": {"steps": 20, "evaluate_every": 10},
    "reduction": {"components": 4, "steps": 20},
    "masks": {"lambdas": [5.0]},
    "statistics": {"permutations": 99},
    "stability": {"seeds": 1},
}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Up:
    """A stack that is up: its folder, a client with a key, and what tells its processes apart."""

    folder: Path
    client: httpx.Client
    prefect: str
    mark: str

    def sdc(self, *words: str, **environment: str) -> str:
        own = environment | {
            "SDC_HOME": str(self.folder / "home"),
            "SDC_SECRETS": str(self.folder / "secrets"),
            "SDC_STORE": str(self.folder / "store"),
        }
        command = [sys.executable, "-m", "app.cli", *words]
        done = subprocess.run(
            command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        url = (self.folder / "secrets" / "sdc_database_url").read_text()
        with psycopg.connect(url) as connection:
            return connection.execute(query, values).fetchall()

    def flow_processes(self) -> list[int]:
        """Processes that work on a flow of this stack."""
        return [pid for pid in processes_with(self.mark) if processes_with("FLOW_RUN_ID", pid)]

    def ingestion(self, request: int) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get(f"/v1/ingestions/{request}").json()
        return answer

    def log(self, request: int) -> str:
        """What an ingestion has told, a line each."""
        lines = self.client.get(f"/v1/ingestions/{request}/log").json()["lines"]
        return "\n".join(line["message"] for line in lines)

    def wait(self, request: int, *states: str, within: float = 240) -> dict[str, Any]:
        return wait_until(
            lambda: (told := self.ingestion(request))["state"] in states and told, within
        )


def processes_with(text: str, *pids: int) -> list[int]:
    """Processes in whose environment a text stands."""
    found = []
    for pid in pids or [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if text.encode() in environment and pid != os.getpid():
            found.append(pid)
    return found


def wait_until(look: Callable[[], Any], within: float) -> Any:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing after {within:.0f} s")


def free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The stack, and a data set where it may be read."""
    # Where tests run as root the database's server runs as another user, see tests/conftest.py.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="sdc-stack-") as name:
        folder = Path(name)
        port, prefect_port, worker_port = free_ports(3)
        write_planted(folder / "incoming" / "planted")
        log = tmp_path_factory.mktemp("stack") / "log"
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SDC_", "PREFECT_"))
        }
        with log.open("wb") as file:
            process = subprocess.Popen(
                [
                    *(sys.executable, str(ROOT / "docker" / "stack.py"), "--folder", name),
                    *("--port", str(port), "--prefect-port", str(prefect_port)),
                    *("--worker-port", str(worker_port)),
                ],
                env=clean | {"PYTHONPATH": str(ROOT)},
                stdout=file,
                stderr=file,
            )
        try:
            wait_until(lambda: b"\nup: " in log.read_bytes() or process.poll() is not None, 240)
            assert process.poll() is None, log.read_text()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                prefect = f"http://127.0.0.1:{prefect_port}/api"
                up = Up(folder, client, prefect, f"SDC_STORE={folder.resolve()}/store")
                key = json.loads(up.sdc("keys", "create", "t", "--scope", "ingest", "--json"))
                client.headers["Authorization"] = f"Bearer {key['key']}"
                yield up
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
            left = wait_until(lambda: not processes_with(up.mark), 30)
        assert left


def run_options(stack: Up, **changes: Any) -> dict[str, Any]:
    words = stack.folder / "incoming" / "planted" / "words.csv"
    return RUN | {"encoder": f"vectors:{words}"} | changes


def wanted(stack: Up, **changes: Any) -> dict[str, Any]:
    return {
        "source": str(stack.folder / "incoming" / "planted"),
        "options": {"n_test": 20, "n_validation": 20},
        "then_run": True,
        "run_options": run_options(stack),
    } | changes


def test_what_is_asked_for_over_rest_is_worked_on_and_answers_over_rest_and_sql(
    stack: Up,
) -> None:
    made = stack.client.post("/v1/ingestions", json=wanted(stack))
    assert made.status_code == 202, made.text
    done = stack.wait(made.json()["id"], "done", "failed")
    assert (done["state"], done["error"], done["attempt"]) == ("done", None, 1)
    lines = stack.client.get(f"/v1/ingestions/{done['id']}/log").json()["lines"]
    assert lines[-1]["message"] == "done"
    answer = stack.client.get("/v1/search", params={"q": "word001", "k": 3}).json()
    assert (answer["dataset"], answer["run"]) == ("planted", done["run"])
    assert len(answer["concepts"]) == 3
    rows = stack.sql("SELECT component_id FROM catalog.search_concepts(%s, %s)", "word001", 3)
    assert [row[0] for row in rows] == [each["id"] for each in answer["concepts"]]
    told = stack.client.get("/metrics").text
    assert 'sdc_ingestions{state="done"} 1.0' in told


def test_a_killed_process_is_noticed_and_its_work_done_once(stack: Up) -> None:
    long = run_options(stack, seed=1, statistics={"permutations": 200_000})
    made = stack.client.post("/v1/ingestions", json=wanted(stack, run_options=long)).json()
    stack.wait(made["id"], "running")
    wait_until(lambda: "masking" in stack.log(made["id"]), 120)
    (killed,) = stack.flow_processes()
    os.kill(killed, signal.SIGKILL)
    done = wait_until(
        lambda: (told := stack.ingestion(made["id"]))["state"] in {"done", "failed"} and told, 400
    )
    assert (done["state"], done["attempt"]) == ("done", 2)
    assert "its process is gone" in stack.log(made["id"]).splitlines()
    keys = stack.sql("SELECT count(*), count(DISTINCT key) FROM catalog.run WHERE seed = 1")
    assert keys == [(1, 1)]


def test_what_is_worked_on_is_cancelled(stack: Up) -> None:
    long = run_options(stack, seed=2, statistics={"permutations": 1_000_000})
    made = stack.client.post("/v1/ingestions", json=wanted(stack, run_options=long)).json()
    stack.wait(made["id"], "running")
    stack.client.post(f"/v1/ingestions/{made['id']}/cancel")
    ended = stack.wait(made["id"], "cancelled", "done", "failed")
    assert ended["state"] == "cancelled"
    wait_until(lambda: not stack.flow_processes(), 60)
    assert stack.sql("SELECT count(*) FROM catalog.run WHERE seed = 2") == [(0,)]


def test_a_schedule_asks_by_itself(stack: Up) -> None:
    planned = stack.client.post(
        "/v1/schedules", json=wanted(stack, then_run=False, run_options={}, cron="* * * * *")
    ).json()
    try:

        def asked() -> Any:
            items = stack.client.get("/v1/ingestions").json()["items"]
            return [each["id"] for each in items if each["schedule"] == planned["id"]]

        request = wait_until(asked, 90)[0]
        done = stack.wait(request, "done", "failed")
        assert (done["state"], done["changed"], done["trigger"]) == ("done", False, "schedule")
    finally:
        stack.client.delete(f"/v1/schedules/{planned['id']}")


def test_a_prefect_event_starts_what_is_deployed_on_it(stack: Up) -> None:
    source = str(stack.folder / "incoming" / "planted")
    told = (stack.folder / "home" / "prefect.auth").read_text()
    login = (told.partition(":")[0], told.partition(":")[2])
    own = {
        "PREFECT_API_URL": stack.prefect,
        "PREFECT_API_AUTH_STRING": told,
        "PREFECT_HOME": str(stack.folder / "events"),
    }
    folds = ("--set", "n_test=20", "--set", "n_validation=20", "--set", "seed=9", "--set")
    stack.sdc("deploy", "ingest", "--event", "lab.arrived", *folds, "zscore=all", **own)
    emit = (
        "from prefect.events import emit_event;"
        "from prefect.events.worker import EventsWorker;"
        f"emit_event('lab.arrived', resource={{'prefect.resource.id': 'lab.x'}},"
        f" payload={{'path': {source!r}}});"
        "EventsWorker.instance().drain()"
    )
    subprocess.run([sys.executable, "-c", emit], env=os.environ | own, check=True)

    def started() -> Any:
        # The queue's own ingestions are flows within another.
        own_runs = {"parent_task_run_id": {"is_null_": True}}
        asked = {"flows": {"name": {"any_": ["ingest"]}}, "flow_runs": own_runs}
        runs = httpx.post(f"{stack.prefect}/flow_runs/filter", json=asked, auth=login).json()
        return [run for run in runs if run["parameters"].get("path") == source]

    wait_until(started, 60)
    # Its data set is there with runs and other options, so that it is refused.
    ended = wait_until(lambda: [run for run in started() if run["state_type"] == "FAILED"], 120)
    assert "the catalog has another planted" in ended[0]["state"]["message"]


def test_a_backup_is_the_command_of_the_compose_file(stack: Up) -> None:
    told = stack.sdc("backup", f"{stack.folder}/backups/")
    assert told.startswith(f"wrote {stack.folder}/backups/catalog-")
    assert len(list((stack.folder / "backups").iterdir())) == 1

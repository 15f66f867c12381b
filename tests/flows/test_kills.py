"""Whatever is killed, wherever it is killed: the same command again ends in the same bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from tests.flows.planted import write_planted

ROOT = Path(__file__).parents[2]
SEED = 20261126
# How many points lie in each phase: ingestion, until masks begin, masks and the other seed,
# publication.
PHASES = ("ingestion", "decoding", "masks", "publication")
FLOWS, SERVERS, DISKS = (4, 4, 4, 4), (1, 1, 1, 2), (1, 1, 1, 0)

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Place:
    """Where one process after another works: a folder for what it tells, and its environment."""

    folder: Path
    environment: dict[str, str]

    def start(self, data: Path, *words: str) -> "subprocess.Popen[bytes]":
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SDC_", "PREFECT_"))
        }
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.flows.to_be_killed", self.folder, data, *words],
                cwd=ROOT,
                env=clean | {"OMP_NUM_THREADS": "1"} | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def reports(self) -> int:
        path = self.folder / "reports"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def told(self, when: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / f"{when}.json").read_text())
        return told

    def finish(self, data: Path) -> dict[str, Any]:
        """What the catalog held when a process began and when it was done, which it must be."""
        process = self.start(data)
        assert process.wait(300) == 0, (self.folder / "log").read_text()[-3000:]
        return self.told("after") | {"before": self.told("before")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that tests read and none changes."""
    return write_planted(tmp_path_factory.mktemp("kills") / "planted")


@pytest.fixture
def place(
    server_url: str, template_database: str, prefect_server: str, tmp_path: Path
) -> Iterator[Place]:
    yield from make_place(server_url, template_database, prefect_server, tmp_path)


def make_place(url: str, template: str, prefect: str, folder: Path) -> Iterator[Place]:
    name = f"killed_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    own = make_url(url).set(database=name).render_as_string(hide_password=False)
    environment = {"SDC_HOME": str(folder), "SDC_DATABASE_URL": own, "PREFECT_API_URL": prefect}
    yield Place(folder, environment)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass(frozen=True)
class Untouched:
    """What a process that nobody killed told; its reports, and how its store grew with them."""

    told: dict[str, Any]
    reports: list[str]
    sizes: dict[int, int]

    def span(self, phase: int) -> tuple[int, int]:
        """Numbers of a phase's first report and of the one behind its last."""
        begins = [
            0,
            self._first("embedding stimuli"),
            self._first("masking"),
            self._first("publishing"),
            len(self.reports),
        ]
        return begins[phase] + 1, begins[phase + 1] + 1

    def report(self, phase: int, share: float) -> int:
        """A report of a phase."""
        first, end = self.span(phase)
        return first + int(share * (end - first))

    def size(self, phase: int, share: float) -> int:
        """Bytes that the store reaches in a phase."""
        low, high = (
            max(size for report, size in self.sizes.items() if report < limit)
            for limit in self.span(phase)
        )
        return low + int(share * (high - low))

    def _first(self, stage: str) -> int:
        return next(at for at, line in enumerate(self.reports) if line.startswith(stage))


@pytest.fixture(scope="module")
def untouched(
    server_url: str,
    template_database: str,
    prefect_server: str,
    data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Untouched]:
    """What the same command ends in when nothing is killed."""
    folder = tmp_path_factory.mktemp("untouched")
    for one in make_place(server_url, template_database, prefect_server, folder):
        process = one.start(data)
        sizes = {0: 0}
        while process.poll() is None:
            reports = one.reports
            sizes[reports] = max(sizes.get(reports, 0), size_of(folder / "store"))
            time.sleep(0.01)
        assert process.returncode == 0, (folder / "log").read_text()[-3000:]
        told = one.told("after")
        assert one.told("before") == dict.fromkeys(told["views"], 0)
        assert min(told["views"].values()) > 0
        assert told["orphans"] == 0
        yield Untouched(told, (folder / "reports").read_text().splitlines(), sizes)


def size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def assert_ends_as_untouched(place: Place, data: Path, untouched: Untouched) -> None:
    """Nothing or all was seen when the next process began, and its end is the same."""
    told = place.finish(data)
    before = told.pop("before")
    # All where it was killed just after publication.
    assert before in (dict.fromkeys(before, 0), untouched.told["views"])
    differ = {
        name for name, sum_ in told["tables"].items() if sum_ != untouched.told["tables"][name]
    }
    assert not differ
    assert told == untouched.told


def points(kind: str, counts: tuple[int, ...]) -> list[Any]:
    """Phases, and numbers from 0 to 1 that are drawn by the seed."""
    draw = random.Random(f"{SEED} {kind}")
    return [
        pytest.param(phase, draw.random(), draw.random(), id=f"{kind}-{PHASES[phase]}-{number}")
        for phase, count in enumerate(counts)
        for number in range(count)
    ]


@pytest.mark.parametrize(("phase", "share", "wait"), points("flow", FLOWS))
def test_a_flow_that_is_killed(
    place: Place, data: Path, untouched: Untouched, phase: int, share: float, wait: float
) -> None:
    at = untouched.report(phase, share)
    if wait < 0.5:
        process = place.start(data, str(at))
    else:
        process = place.start(data)
        while place.reports < at and process.poll() is None:
            time.sleep(0.002)
        time.sleep((wait - 0.5) / 5)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(300) == -signal.SIGKILL
    assert_ends_as_untouched(place, data, untouched)


@pytest.fixture(scope="module")
def home(template_database: str) -> Iterator[Path]:
    """A home with an embedded server's migrated catalog, which is down; to be copied."""
    # Where tests run as root the server runs as another user, see tests/conftest.py.
    with tempfile.TemporaryDirectory(prefix="sdc-kills-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("SDC_")
        }
        subprocess.run(
            [sys.executable, "-m", "app.cli", "db", "upgrade"],
            cwd=ROOT,
            env=environment | {"SDC_HOME": str(folder / "home")},
            check=True,
            capture_output=True,
        )
        yield folder / "home"


@pytest.mark.parametrize(("phase", "share", "wait"), points("server", SERVERS))
def test_a_database_server_that_is_killed(
    home: Path,
    prefect_server: str,
    data: Path,
    untouched: Untouched,
    phase: int,
    share: float,
    wait: float,
) -> None:
    with tempfile.TemporaryDirectory(prefix="sdc-kills-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run(["cp", "-a", f"{home}/.", name], check=True)
        environment = {"SDC_HOME": name, "PREFECT_API_URL": prefect_server, "SDC_RETRIES": "1"}
        place = Place(folder, environment | {"SDC_RETRY_DELAY_S": "0.1"})
        process = place.start(data)
        at = untouched.report(phase, share)
        while place.reports < at and process.poll() is None:
            time.sleep(0.002)
        time.sleep(wait / 20)
        assert process.poll() is None
        assert kill_servers_in(folder / "postgres") > 0
        process.wait(300)
        assert_ends_as_untouched(place, data, untouched)


def kill_servers_in(folder: Path) -> int:
    """Kill PostgreSQL's processes that work in a folder; how many these were."""
    killed = 0
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and Path(process.cwd()) == folder.resolve():
                process.kill()
                killed += 1
        except psutil.Error:
            continue
    return killed


@pytest.mark.parametrize(("phase", "share", "wait"), points("disk", DISKS))
def test_a_disk_that_is_full(
    place: Place, data: Path, untouched: Untouched, phase: int, share: float, wait: float
) -> None:
    store = place.folder / "store"
    store.mkdir()
    # Memory file systems give whole pages.
    kilobytes = 64 + untouched.size(phase, share * 0.9) // 1024
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(store)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs the right to mount a small file system")
    try:
        process = place.start(data)
        assert process.wait(300) == 1
        assert "the disk is full" in (place.folder / "log").read_text()
        larger = ["mount", "-o", "remount,size=1g", str(store)]
        subprocess.run(larger, check=True)
        assert_ends_as_untouched(place, data, untouched)
    finally:
        subprocess.run(["umount", "--lazy", str(store)], check=True)
    shutil.rmtree(store, ignore_errors=True)

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
FLOWS, SERVERS, DISKS = 16, 5, 3

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
    """What a process that nobody killed told, how often, and how large its store became."""

    told: dict[str, Any]
    reports: int
    store_bytes: int


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
        largest = 0
        while process.poll() is None:
            largest = max(largest, size_of(folder / "store"))
            time.sleep(0.05)
        assert process.returncode == 0, (folder / "log").read_text()[-3000:]
        told = one.told("after")
        assert one.told("before") == dict.fromkeys(told["views"], 0)
        assert min(told["views"].values()) > 0
        assert told["orphans"] == 0
        yield Untouched(told, one.reports, largest)


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
    assert before in (
        dict.fromkeys(before, 0),
        # Killed after publication: the catalog is whole already.
        untouched.told["views"],
        # Killed between ingestion and publication: the dataset has no run yet.
        dict.fromkeys(before, 0) | {"voxels": untouched.told["views"]["voxels"]},
    )
    differ = {
        name for name, sum_ in told["tables"].items() if sum_ != untouched.told["tables"][name]
    }
    assert not differ
    assert told == untouched.told


def points(kind: str, count: int) -> list[Any]:
    """Numbers from 0 to 1, drawn by the seed."""
    draw = random.Random(f"{SEED} {kind}")
    return [
        pytest.param(draw.random(), draw.random(), id=f"{kind}{number:02d}")
        for number in range(count)
    ]


@pytest.mark.parametrize(("share", "wait"), points("flow", FLOWS))
def test_a_flow_that_is_killed(
    place: Place, data: Path, untouched: Untouched, share: float, wait: float
) -> None:
    at = 1 + int(share * (untouched.reports - 1))
    if wait < 0.5:
        process = place.start(data, str(at))
    else:
        process = place.start(data)
        while place.reports < at and process.poll() is None:
            time.sleep(0.002)
        time.sleep((wait - 0.5) / 2)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(300) in (-signal.SIGKILL, 0)
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


@pytest.mark.parametrize(("share", "wait"), points("server", SERVERS))
def test_a_database_server_that_is_killed(
    home: Path, prefect_server: str, data: Path, untouched: Untouched, share: float, wait: float
) -> None:
    with tempfile.TemporaryDirectory(prefix="sdc-kills-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run(["cp", "-a", f"{home}/.", name], check=True)
        environment = {"SDC_HOME": name, "PREFECT_API_URL": prefect_server, "SDC_RETRIES": "1"}
        place = Place(folder, environment | {"SDC_RETRY_DELAY_S": "0.1"})
        process = place.start(data)
        at = 1 + int(share * (untouched.reports - 1))
        while place.reports < at and process.poll() is None:
            time.sleep(0.002)
        time.sleep(wait / 4)
        killed = kill_servers_in(folder / "postgres")
        ended = process.wait(300)
        assert killed or ended == 0
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


@pytest.mark.parametrize(("share", "wait"), points("disk", DISKS))
def test_a_disk_that_is_full(
    place: Place, data: Path, untouched: Untouched, share: float, wait: float
) -> None:
    store = place.folder / "store"
    store.mkdir()
    # Memory file systems give whole pages.
    kilobytes = 64 + int(share * 0.9 * untouched.store_bytes / 1024)
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

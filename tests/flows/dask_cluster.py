"""A real Dask cluster for tests: a scheduler and workers, each a process that a test can kill."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

ROOT = Path(__file__).resolve().parents[2]
START_S = 120


class Cluster:
    """One scheduler, and workers of one thread each, on the loopback interface.

    Parameters
    ----------
    folder : Path
        Takes logs and the workers' scratch space.
    environment : mapping, optional
        Variables of the processes beside what they need; the tests' own go no further.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = environment or {}
        self._processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        # Idle for so long it is an orphan, whose tests were killed.
        self.scheduler = self._start(
            *("scheduler", "--port", "0", "--no-dashboard", "--idle-timeout", "600"),
            *("--scheduler-file", str(file)),
        )
        self._until(file.exists)
        self._file = file
        with self.client() as client:
            self.address = str(client.scheduler_info()["address"])

    def client(self) -> Client:
        """A connection to the scheduler."""
        return Client(scheduler_file=str(self._file), timeout=START_S, set_as_default=False)

    def add_workers(self, count: int) -> None:
        """Start workers until there are `count`."""
        with self.client() as client:
            for _ in range(count - len(client.scheduler_info()["workers"])):
                self._start(
                    *("worker", self.address, "--no-nanny", "--nthreads", "1"),
                    *("--no-dashboard", "--local-directory", str(self.folder)),
                )
            if count:
                client.wait_for_workers(count, timeout=START_S)

    def logs(self) -> str:
        """Everything that the processes have written."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{arguments[0]}-{len(self._processes)}.log"
        command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self._variables(), stdout=output, stderr=output
            )
        self._processes.append(process)
        return process

    def _variables(self) -> dict[str, str]:
        # A worker on another machine knows nothing of the settings of the process that runs.
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SDC_", "PREFECT_")) and name != "DO_NOT_TRACK"
        }
        return own | {"PYTHONPATH": str(ROOT), "HOME": str(self.folder)} | self._environment

    def _until(self, done: object) -> None:
        deadline = time.monotonic() + START_S
        while not done():  # type: ignore[operator]
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)


@contextmanager
def dask_cluster(folder: Path, workers: int, **environment: str) -> Iterator[Cluster]:
    """A cluster with so many workers, for the block."""
    cluster = Cluster(folder, environment)
    try:
        cluster.add_workers(workers)
        yield cluster
    finally:
        cluster.stop()

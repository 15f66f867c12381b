"""Keeps a server up for as long as processes use it: a program of its own, run by its path.

It imports nothing but Python's own library, so that it is there at once. Whoever uses the server
holds a shared lock on a file, which the system takes back when they end, whatever ends them. When
nobody holds it any more the server is stopped, and this process ends.

While the server is up, and each of its processes too, an exclusive lock on another file is held:
where it can be taken, nobody is at work on the server's data.
"""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

# Exit status of one that came when another was there.
BUSY = 75
# Signals of PostgreSQL's: to break off what is going on and end, and to end at once.
STOP, STOP_AT_ONCE = signal.SIGINT, signal.SIGQUIT
STOP_S = 60.0
# A server that was killed leaves processes that notice only after a moment.
TRIES = 8
FIRST_PAUSE_S = 0.1
LONG_ENOUGH_S = 1.0

_SET_DEATH_SIGNAL = 1


def main() -> None:
    """Keep up what is told on stdin (JSON), in the background."""
    told = json.load(sys.stdin)
    up = os.open(told["up"], os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(up, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(BUSY)
    for name in told["stale"]:
        Path(name).unlink(missing_ok=True)
    users = os.open(told["users"], os.O_RDWR | os.O_CREAT, 0o600)
    # A link there would let the server's user choose what this one writes to.
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    # Nobody waits for it, so that it is nobody's child.
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    copied = copy_programs(Path(told["programs"])) if told["copy"] else None
    try:
        _keep_up(_Server(told, copied, up=up, log=log), users)
    finally:
        if copied is not None:
            remove_copy(copied)


def copy_programs(programs: Path) -> Path:
    """A copy of PostgreSQL's folder that everybody may read, with the libraries beside it."""
    folder = Path(tempfile.mkdtemp(prefix="sdc-postgres-"))
    folder.chmod(0o755)
    package = programs.parent
    copied = Path(shutil.copytree(programs, folder / package.name / programs.name, symlinks=True))
    # Its programs look for them from where they are.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return copied


def remove_copy(copied: Path) -> None:
    """Remove what `copy_programs` made."""
    shutil.rmtree(copied.parents[1], ignore_errors=True)


class _Server:
    """The server's process, which may be started again."""

    def __init__(self, told: dict[str, Any], copied: Path | None, *, up: int, log: int) -> None:
        self._told, self._up, self._log = told, up, log
        self._command = list(told["command"])
        if copied is not None:
            self._command[0] = str(copied / "bin" / "postgres")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        keeper = os.getpid()

        def end_with_its_keeper() -> None:
            if library is not None:
                library.prctl(_SET_DEATH_SIGNAL, STOP)
                if os.getppid() != keeper:
                    os._exit(1)

        user = {} if self._told["user"] is None else {**self._told["user"], "extra_groups": []}
        self._process = subprocess.Popen(  # noqa: S603 - what the product says
            self._command,
            cwd=self._told["folder"],
            env=self._told["environment"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[self._up],
            start_new_session=True,
            preexec_fn=end_with_its_keeper,
            **user,
        )

    def wait(self) -> None:
        if self._process is not None:
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def _keep_up(server: _Server, users: int) -> None:
    """Start a server again when it ends, until nobody uses it or it does not hold."""
    stopping = threading.Event()
    starting = threading.Lock()

    def stop_after_the_last() -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        with starting:
            stopping.set()
            server.signal(STOP)
        time.sleep(STOP_S)
        server.signal(STOP_AT_ONCE)

    server.start()
    threading.Thread(target=stop_after_the_last, daemon=True).start()
    failures, has_run, started = 0, False, time.monotonic()
    while True:
        server.wait()
        lived = time.monotonic() - started > LONG_ENOUGH_S
        has_run |= lived
        failures = 0 if lived else failures + 1
        if not has_run or failures > TRIES or stopping.wait(FIRST_PAUSE_S * 2 ** min(failures, 4)):
            return
        with starting:
            if stopping.is_set():
                return
            started = time.monotonic()
            server.start()


if __name__ == "__main__":
    main()

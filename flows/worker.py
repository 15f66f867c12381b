"""A worker: hands on what the queue holds, and keeps a Prefect worker up that works on it."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import httpx

from app.errors import UnavailableError

POLL_S = 2
# Between one start of a Prefect worker that ends and the next, doubled up to the longest.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# How long a worker that is told to stop has before it is killed; what it worked on is queued again.
GRACE_S = 20.0

logger = logging.getLogger(__name__)


def require_server(url: str, wait_s: float) -> None:
    """Wait until a Prefect server answers.

    Raises
    ------
    UnavailableError
        It did not in `wait_s` seconds.
    """
    until = time.monotonic() + wait_s
    while True:
        try:
            if httpx.get(f"{url.rstrip('/')}/health", timeout=5).is_success:
                return
        except (httpx.HTTPError, httpx.InvalidURL):
            pass
        if time.monotonic() > until:
            raise UnavailableError(
                f"no Prefect server answers at {url}",
                hint="start it (`sdc prefect`), or mend PREFECT_API_URL; where that is not set, "
                "ingest, run and demo start one of their own",
            )
        time.sleep(0.5)


def require_login(url: str) -> None:
    """Refuse a Prefect server that does not take the login that this process has for it.

    Raises
    ------
    UnavailableError
        It does not.
    """
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    asked = httpx.get(
        f"{url.rstrip('/')}/admin/version", auth=(user, password) if user else None, timeout=5
    )
    if asked.status_code in {401, 403}:
        raise UnavailableError(
            f"the Prefect server at {url} does not take this catalog's login",
            hint="use the SDC_HOME that it was started with, or give its login as SDC_PREFECT_AUTH",
        )


def stop_when_told() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set, instead of ending this process."""
    stop = threading.Event()

    def told(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    return stop


def work(*, limit: int, pool: str, dispatch: bool = True, health_port: int | None = None) -> None:
    """Work until told to stop (SIGTERM, Ctrl-C).

    Parameters
    ----------
    limit : int
        Ingestions that are worked on at a time.
    pool : str
        Prefect's work pool.
    dispatch : bool
        Whether this worker hands on what the catalog's queue holds, as any number of them may.
    health_port : int, optional
        Where the Prefect worker answers whether it is well.
    """
    stop = stop_when_told()
    dispatching = None
    if dispatch:
        from flows.dispatch import dispatch_until

        dispatching = threading.Thread(target=dispatch_until, args=(stop,), daemon=True)
        dispatching.start()
    if health_port is not None:
        os.environ["PREFECT_WORKER_WEBSERVER_PORT"] = str(health_port)
    keep_up(prefect_worker(limit, pool, healthy=health_port is not None), stop)
    if dispatching is not None:
        dispatching.join(GRACE_S)


def prefect_worker(limit: int, pool: str, *, healthy: bool = False) -> list[str]:
    """The command of a Prefect worker; `healthy` makes it answer whether it is."""
    return [
        *(sys.executable, "-m", "prefect", "worker", "start"),
        *("--pool", pool, "--type", "process", "--limit", str(limit)),
        *(["--with-healthcheck"] if healthy else []),
    ]


def keep_up(command: list[str], stop: threading.Event) -> None:
    """Run a command, and run it again whenever it ends, until told to stop.

    A Prefect worker ends where its server is away for a moment; it is started again after pauses
    that grow while it does not hold.
    """
    os.environ["PREFECT_WORKER_QUERY_SECONDS"] = str(POLL_S)
    # Flows are started by the name of Python, which has to be this one.
    own = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([own, os.environ.get("PATH", os.defpath)])
    pause = FIRST_PAUSE_S
    while not stop.is_set():
        started = time.monotonic()
        code = run_until(command, stop)
        if stop.is_set():
            return
        if time.monotonic() - started > LONGEST_PAUSE_S:
            pause = FIRST_PAUSE_S
        logger.warning("the Prefect worker ended (%s), it is started again in %.0f s", code, pause)
        stop.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def run_until(command: list[str], stop: threading.Event) -> int:
    """Run a command until it ends, or until told to stop; its status, 0 where it was stopped."""
    # Its own session: Ctrl-C is this process's to pass on.
    process = subprocess.Popen(  # noqa: S603 - what the product itself says
        command,
        start_new_session=True,
        preexec_fn=_end_with_this_thread,
    )
    while process.poll() is None and not stop.wait(0.2):
        pass
    if process.returncode is not None:
        return process.returncode
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return 0


# Loaded here, since little may be done between fork and exec.
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None
_SET_DEATH_SIGNAL = 1


def _end_with_this_thread() -> None:
    """Let the process that is being started be told to end when the one that starts it is gone."""
    if _LIBRARY is not None:
        _LIBRARY.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)

"""What `sdc serve` does: the API in this process, or in several beside each other."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGTERM
from typing import TYPE_CHECKING

import uvicorn

from app.api import make_api
from app.database.engine import open_session
from app.ingestions.options import load_checks
from app.observing.logs import configure_logs
from app.observing.traces import configure_traces
from app.patience import PatientProtocol
from app.settings import get_settings
from app.threads import share_cores

if TYPE_CHECKING:
    from fastapi import FastAPI

# Where processes write what they count, for whichever of them is asked.
COUNTED = "PROMETHEUS_MULTIPROC_DIR"
# Loading an encoder may keep a process from saying that it is well.
_UNWELL_S = 120
_LOOK_S = 0.5


def serve_api(host: str, port: int, workers: int = 1) -> None:
    """Serve the API until told to end.

    Parameters
    ----------
    host : str
        Address to listen at.
    port : int
        0 takes a free one.
    workers : int
        Processes that share the port. Each has its threads, its connections and its own count of
        who asks how often.

    Raises
    ------
    UnavailableError
        The database cannot be used; told here, and not at the first question.
    """
    _prepare()
    open_session().close()
    # Whose word on addresses counts is said by the application's own settings.
    told = {
        "host": host,
        "port": port,
        "http": PatientProtocol,
        "access_log": False,
        "log_config": None,
        "proxy_headers": False,
        "server_header": False,
    }
    if workers == 1:
        # Takes seconds, which whoever asks first for an ingestion need not wait.
        load_checks()
        uvicorn.run(make_api(), **told)  # type: ignore[arg-type]
        return
    share_cores(workers)
    with _counted_together():
        uvicorn.run(
            "app.serving:make_worker_api",
            factory=True,
            workers=workers,
            timeout_worker_healthcheck=_UNWELL_S,
            **told,  # type: ignore[arg-type]
        )


def make_worker_api() -> "FastAPI":
    """The application of one of several processes, which ends with the one that started it."""
    _end_with(os.getppid())
    _prepare()
    load_checks()
    return make_api()


def _prepare() -> None:
    configure_logs(get_settings())
    configure_traces()


@contextmanager
def _counted_together() -> Iterator[None]:
    """Let processes that are started in the block add up what they count."""
    if COUNTED in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sdc-metrics-") as folder:
        os.environ[COUNTED] = folder
        try:
            yield
        finally:
            del os.environ[COUNTED]


def _end_with(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os.kill(os.getpid(), SIGTERM)

    threading.Thread(target=watch, name="ends with another", daemon=True).start()

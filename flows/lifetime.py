"""Processes that end with the one that they were started for, whatever ends that."""

import contextlib
import os
import signal
import threading
import time

import psutil

LOOK_S = 0.5
# How long a process that is told to end has before it is ended.
GRACE_S = 10.0


def end_with(pid: int) -> None:
    """Tell this process to end (SIGTERM) when another one has, and make it if it does not.

    Parameters
    ----------
    pid : int
        The other's number; where there is none any more this process is told at once.
    """
    try:
        other = psutil.Process(pid)
        # Read now, for the number may be another's later.
        other.create_time()
    except psutil.NoSuchProcess:
        other = None

    def watch() -> None:
        while other is not None and _is_alive(other):
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="ends with another", daemon=True).start()


def _is_alive(other: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(other.is_running() and other.status() != psutil.STATUS_ZOMBIE)
    return False

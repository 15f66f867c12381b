"""Seconds and peak memory of a function, in a process that has done nothing else."""

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Spent:
    """What a function returned, and what it took.

    Attributes
    ----------
    result : object
    seconds : float
        Of the function alone, without the start of its process.
    peak : int
        Bytes resident at most, Python and its packages included.
    """

    result: Any
    seconds: float
    peak: int


def run_afresh(function: Callable[..., Any], *arguments: Any) -> Spent:
    """Call a function of a module in a fresh process; all that goes in and out is pickled."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_spend, function, arguments).result()


def _spend(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Spent:
    started = time.perf_counter()
    result = function(*arguments)
    return Spent(result, time.perf_counter() - started, peak_memory())


def peak_memory() -> int:
    """Bytes that this process held resident at most.

    What getrusage tells of a process that another one started is no less than what that one held
    when it started it; Linux keeps the process's own peak in its status.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

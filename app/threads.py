"""Threads that computing takes: said to libraries before they are loaded; this loads none of them.

Threads that spin while they wait for each other are quickest where they have the cores to
themselves. Beside other processes they take the cores from these, and from each other: two
processes of two threads each took ten times as long on two cores as they do when waiting threads
sleep.
"""

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

# What OpenMP's libraries read when they are loaded. GNU's, which torch for Linux brings: how often
# a thread looks before it sleeps, 300,000 times if it is not said. With so few torch alone is
# about as quick, and beside others nearly as quick as with none (docs/benchmarks.md). LLVM's and
# Intel's, of torch for macOS and of MKL: the policy, and for how many milliseconds.
POLICY = "OMP_WAIT_POLICY"
PASSIVE = {POLICY: "PASSIVE", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
# How many threads they take; what it says stands.
COUNT = "OMP_NUM_THREADS"
_LOOK_S = 0.2
_BUSY = Path("/proc/stat")
_CGROUP = Path("/sys/fs/cgroup")


def wait_asleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads sleep while they wait, unless the environment says how they are to wait."""
    if POLICY in environment:
        return
    for variable, value in PASSIVE.items():
        environment.setdefault(variable, value)


def given_cores() -> int:
    """How many cores this process may use, by its affinity and its control group, at least one."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota()
    return max(1, cores if quota is None else min(cores, round(quota)))


def free_cores() -> int:
    """How many of `given_cores` nobody else computes on now, at least one."""
    cores = given_cores()
    if cores == 1:
        return 1
    busy = _busy_cores()
    return max(1, min(cores, round((os.cpu_count() or cores) - busy)))


def take_free_cores(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let what is loaded from now on compute on the cores that are free, unless it is said."""
    if COUNT not in environment:
        environment[COUNT] = str(free_cores())


def share_cores(processes: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Let processes that are started from now on share the cores, unless it is said."""
    environment.setdefault(COUNT, str(max(1, given_cores() // processes)))


def _busy_cores() -> float:
    """Cores that were computing in a short time; 0 where the system does not tell."""
    try:
        before, began = _idle_ticks(), time.monotonic()
        time.sleep(_LOOK_S)
        idle = (_idle_ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, (os.cpu_count() or 1) - idle)


def _idle_ticks() -> int:
    """Ticks that all cores have been idle or waiting for a disk."""
    words = _BUSY.read_text().split("\n", 1)[0].split()
    return int(words[4]) + int(words[5])


def _quota() -> float | None:
    """Cores that a container's control group allows (version 2, or 1); None where it does not."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (_CGROUP / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (_CGROUP / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)

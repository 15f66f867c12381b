"""Torch in one, two and four processes of two threads each, by how its threads wait.

Small products and sums, whose threads wait for each other often. Medians over processes and rounds,
each way of waiting in turn; as a user finds them, whatever the environment of this process says.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping

from app.threads import PASSIVE

ROUNDS = 5
PROCESSES = (1, 2, 4)
WAYS: Mapping[str, Mapping[str, str]] = {
    "as torch does": {},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "asleep after a short look, as sdc does": PASSIVE,
}
WORK = """
import time, torch
torch.set_num_threads(2)
square, row = torch.randn(400, 400), torch.randn(200_000)
began = time.perf_counter()
for _ in range(600):
    (square @ square).sum()
    (row * 2 + 1).sum()
print(time.perf_counter() - began)
"""


def measure() -> Iterator[str]:
    """A line for each way and number of processes."""
    took: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for number in PROCESSES:
            for way in WAYS:
                took.setdefault((way, number), []).extend(seconds(way, number))
    for (way, number), each in took.items():
        yield f"{way}, {number} at a time: {statistics.median(each):.2f} s each"


def seconds(way: str, number: int) -> list[float]:
    """What each of several processes took that work at the same time."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "GOMP_", "KMP_"))
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK], env=clean | WAYS[way], stdout=subprocess.PIPE, text=True
        )
        for _ in range(number)
    ]
    return [float(each.communicate()[0]) for each in processes]

"""Answers over REST to 16 clients at once: how long the slow ones take against the median."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from tests.benchmarks.voxel_catalog import WORDS, voxel_catalog

VOXELS, CLIENTS, REQUESTS, ROUNDS = 18_000, 16, 30, 3
SERVE, PORT = "from app.cli import main; main()", 8765
QUESTIONS = {
    "concepts and regions by text": ("/v1/search", {"dataset": "lab-0"}),
    "voxels of a participant": ("/v1/search/voxels", {"dataset": "lab-0", "subject": "subj1"}),
}


def measure() -> Iterator[str]:
    """p50 and p95 of each question; no prompt can be embedded, since there is no such encoder."""
    with voxel_catalog(VOXELS) as catalog, _served(catalog.url) as url:
        for name, (path, params) in QUESTIONS.items():
            asyncio.run(_ask(url + path, params, clients=1))
            rounds = [asyncio.run(_ask(url + path, params, CLIENTS)) for _ in range(ROUNDS)]
            seconds = np.concatenate(rounds)
            p50, p95 = np.percentile(seconds, [50, 95])
            ratios = [np.percentile(each, 95) / np.median(each) for each in rounds]
            yield (
                f"{name}: {CLIENTS} clients, {len(seconds)} answers, p50 {1e3 * p50:.0f} ms,"
                f" p95 {1e3 * p95:.0f} ms, ratio {p95 / p50:.2f}"
                f" (of {ROUNDS} rounds {min(ratios):.2f} to {max(ratios):.2f})"
            )


async def _ask(url: str, params: dict[str, str], clients: int) -> np.ndarray:
    seconds: list[float] = []
    async with httpx.AsyncClient(timeout=60) as http:

        async def client(number: int) -> None:
            for step in range(REQUESTS):
                prompt = f"word {(number * REQUESTS + step) % WORDS}"
                started = time.perf_counter()
                answer = await http.get(url, params=params | {"q": prompt})
                seconds.append(time.perf_counter() - started)
                answer.raise_for_status()

        await asyncio.gather(*map(client, range(clients)))
    return np.array(seconds)


@contextmanager
def _served(database: str) -> Iterator[str]:
    """URL of a server on a catalog, a process of its own as users run it."""
    with TemporaryDirectory(prefix="sdc-bench-") as home:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, "serve", "--port", str(PORT)],
            env=os.environ
            | {
                "SDC_HOME": home,
                "SDC_DATABASE_URL": database,
                "SDC_REQUESTS_PER_MINUTE": "1000000",
            },
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{PORT}"
        try:
            _wait_for(f"{url}/readyz", process)
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("the server does not answer")

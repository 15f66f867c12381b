"""One training step of the linear decoder, against the two matrix products that it cannot avoid."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import torch

from flows.science.decoder import DecoderConfig, train_decoder

VOXELS, DIMENSION, BATCH, TRIALS = (3_000, 18_000), 512, 128, 1_280
ROUNDS, STEPS = 9, 20
WARM_UP = 2


def measure(
    voxels: tuple[int, ...] = VOXELS,
    dimension: int = DIMENSION,
    rounds: int = ROUNDS,
    steps: int = STEPS,
) -> Iterator[str]:
    """Milliseconds a step of both, taking turns, and the median ratio."""
    yield (
        f"{dimension} dimensions, batch {BATCH}, {torch.get_num_threads()} threads, "
        f"{rounds} rounds of {steps} steps"
    )
    for count in voxels:
        turns = _take_turns(count, dimension, rounds, steps)
        ratios = np.array(turns.step) / np.array(turns.bare)
        yield (
            f"{count:,} voxels: step {1e3 * median(turns.step):.1f} ms (loss, noise, Adam), "
            f"bare products {1e3 * median(turns.bare):.1f} ms; "
            f"ratio: median {np.median(ratios):.2f}, "
            f"from {ratios.min():.2f} to {ratios.max():.2f}; target 1.5 at most"
        )


@dataclass
class _Turns:
    """Seconds a step of training and of the bare products, one entry a round."""

    step: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def _take_turns(voxels: int, dimension: int, rounds: int, steps: int) -> _Turns:
    """Train for real; each time that it reports, the bare products have their turn."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((TRIALS, voxels), dtype=np.float32)
    y = rng.standard_normal((TRIALS, dimension), dtype=np.float32)
    products = BareProducts(x[:BATCH], dimension)
    turns = _Turns()
    started = time.perf_counter()

    def on_progress(_step: int, _steps: int, _metrics: Mapping[str, float]) -> None:
        nonlocal started
        turns.step.append((time.perf_counter() - started) / steps)
        turns.bare.append(products.seconds(steps))
        started = time.perf_counter()

    train_decoder(
        x,
        y,
        np.arange(TRIALS),
        # So few that what a round spends on them counts for nothing beside its steps.
        x[:2],
        np.arange(2),
        DecoderConfig(
            batch=BATCH,
            steps=(WARM_UP + rounds) * steps,
            evaluate_every=steps,
            patience=WARM_UP + rounds,
        ),
        seed=0,
        device="cpu",
        on_progress=on_progress,
    )
    return _Turns(turns.step[WARM_UP:], turns.bare[WARM_UP:])


class BareProducts:
    """X W and X^T G of one batch, into memory that is there already.

    Parameters
    ----------
    x : ndarray
        (B, V).
    dimension : int
        D.
    """

    def __init__(self, x: np.ndarray, dimension: int) -> None:
        batch, voxels = x.shape
        self.x = torch.from_numpy(x)
        self.weight = torch.randn(dimension, voxels)
        self.slope = torch.randn(batch, dimension)
        self.decoded = torch.empty(batch, dimension)
        self.gradient = torch.empty(dimension, voxels)

    def seconds(self, repeats: int) -> float:
        """Seconds that both products take, the mean of some repeats."""
        started = time.perf_counter()
        for _ in range(repeats):
            torch.mm(self.x, self.weight.T, out=self.decoded)
            torch.mm(self.slope.T, self.x, out=self.gradient)
        return (time.perf_counter() - started) / repeats

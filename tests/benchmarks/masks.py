"""Masks of all components together, against the published procedure, one component at a time."""

import time
from collections.abc import Iterator

import numpy as np
import torch

from flows.science.mask_descent import LinearObjective, descend
from flows.science.metrics import dice
from flows.science.model import Decoder
from flows.science.ridge import fit_ridge
from tests.flows.science.literal_masks import literal_masks

VOXELS, DIMENSION, COMPONENTS, TRIALS = 5000, 512, 64, 1000
# Steps of the published size, 2e-3, after which the literal masks are neither full nor empty.
LAMBDA, STEPS = 1.0, 100
LITERAL = 2


def measure() -> Iterator[str]:
    """Seconds per component of both on the same data, lambda and steps, and the masks' overlap."""
    torch.manual_seed(0)
    x, y, decoder, components = _simulate(np.random.default_rng(0))
    yield (
        f"{VOXELS} voxels, {TRIALS} trials, {DIMENSION} dimensions, {COMPONENTS} components, "
        f"lambda {LAMBDA:g}, {STEPS} steps"
    )
    ours: list[float] = []
    theirs: list[float] = []
    literal: list[np.ndarray] = []
    for number in range(LITERAL):
        started = time.perf_counter()
        masks = _together(x, y, decoder, components)
        ours.append((time.perf_counter() - started) / COMPONENTS)
        started = time.perf_counter()
        literal.append(literal_masks(x, y, decoder, components[[number]], LAMBDA, steps=STEPS)[0])
        theirs.append(time.perf_counter() - started)
    overlaps = [dice(masks[i] >= 0.5, each >= 0.5) for i, each in enumerate(literal)]
    ratios = np.array(theirs) / np.array(ours)
    yield f"literal {np.median(theirs):.2f} s, together {np.median(ours):.4f} s a component"
    yield f"ratio: median {np.median(ratios):.0f}, from {ratios.min():.0f} to {ratios.max():.0f}"
    sizes = ", ".join(str(int((each >= 0.5).sum())) for each in literal)
    yield f"Dice of the hard masks {np.mean(overlaps):.3f} (literal ones of {sizes} voxels)"


def _together(x: np.ndarray, y: np.ndarray, decoder: Decoder, components: np.ndarray) -> np.ndarray:
    """Hard-mask candidates (K, V) of all components after the same steps."""
    kept: list[torch.Tensor] = []

    def keep(_: int, masks: torch.Tensor) -> bool:
        kept.append(masks)
        return True

    responses = torch.from_numpy(x)
    objective = LinearObjective(
        responses,
        torch.from_numpy(np.maximum(y @ components.T, 0)),
        torch.from_numpy(components),
        [(torch.arange(len(x)), decoder.layers(responses.device))],
        torch.arange(len(components)),
    )
    prices = torch.full((len(components),), LAMBDA)
    descend(objective, (x.shape[1], len(components)), prices, 2e-3, [STEPS], keep)
    return kept[0].numpy().T


def _simulate(
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, Decoder, np.ndarray]:
    """Trials whose voxels carry one component each or plain noise, and a ridge decoder."""
    components = np.linalg.qr(rng.normal(size=(DIMENSION, COMPONENTS)))[0].T
    carried = rng.integers(0, 2 * COMPONENTS, VOXELS)
    mixing = np.where((carried < COMPONENTS)[:, None], 0.3 * components[carried % COMPONENTS], 0)

    def trials(count: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.normal(size=(count, DIMENSION))
        x = y @ mixing.T + rng.normal(size=(count, VOXELS))
        unit = y / np.linalg.norm(y, axis=1, keepdims=True)
        return x.astype(np.float32), unit.astype(np.float32)

    train, check, fit = trials(3000), trials(300), trials(TRIALS)
    decoder = fit_ridge(*train, *check, alphas=(1e3, 1e4, 1e5))
    return *fit, decoder, components.astype(np.float32)

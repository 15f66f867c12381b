"""A made-up participant in a store, as ingestion leaves it, for stages to work on."""

import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.settings import get_settings
from app.store import ArtefactStore

Json = dict[str, Any]


@dataclass(frozen=True)
class ParticipantSize:
    """How much is made up.

    Attributes
    ----------
    in_mask, voxels : int
        In the sessions' files, and kept.
    images, fold : int
        Each seen three times; images of the test fold, and of the validation fold.
    ceiling : float
        Noise ceiling, in percent, of the voxels that carry something.
    trials_per_session, dimension, components, regions : int
    """

    in_mask: int
    voxels: int
    images: int
    fold: int
    ceiling: float = 20.0
    trials_per_session: int = 750
    dimension: int = 512
    components: int = 128
    regions: int = 12


def write_participant(folder: str, size: ParticipantSize) -> Json:
    """Put a participant into a store, and give the references that stages take.

    Half of the voxels carry one of the components' directions each; the others are noise.
    """
    rng = np.random.default_rng(0)
    store = ArtefactStore(folder)
    directions = np.linalg.qr(rng.standard_normal((size.dimension, size.components)))[0].T
    y = rng.standard_normal((size.images, size.dimension))
    signal = np.zeros((size.images, 2 * size.components), dtype=np.float32)
    gain = np.sqrt(size.ceiling / (100 - size.ceiling))
    signal[:, : size.components] = gain * y @ directions.T
    carried = rng.integers(0, signal.shape[1], size.in_mask)
    image = rng.permutation(np.repeat(np.arange(size.images), 3))
    flags = np.zeros(size.in_mask, dtype=bool)
    sessions = []
    for start in range(0, len(image), size.trials_per_session):
        shown = image[start : start + size.trials_per_session]
        betas = rng.standard_normal((size.in_mask, len(shown)), dtype=np.float32)
        betas += signal[shown].T[carried]
        arrays = {"betas": betas.astype(np.float16), "not_finite": flags, "constant": flags}
        sessions.append(store.put(arrays).model_dump())
    kept = np.sort(rng.choice(size.in_mask, size.voxels, replace=False))
    voxels: dict[str, np.ndarray] = {
        "kept": kept,
        "noise_ceiling": np.full(len(kept), 20, dtype=np.float32),
        "image": image,
    }
    edge = int(np.ceil(size.in_mask ** (1 / 3)))
    stretch = np.arange(size.voxels) * size.regions * 4 // size.voxels
    tables = {
        "side": np.zeros(size.voxels, dtype=np.int8),
        "native": 1.8 * np.argwhere(np.ones((edge, edge, edge)))[kept],
        "regions": (stretch == 2 * np.arange(size.regions)[:, None]).astype(np.uint8),
    }
    fold = np.full(size.images, "train", dtype=object)
    drawn = rng.permutation(size.images)
    fold[drawn[: size.fold]] = "test"
    fold[drawn[size.fold : 2 * size.fold]] = "validation"
    unit = y / np.linalg.norm(y, axis=1, keepdims=True)
    return {
        "artefacts": {"sessions": sessions, "voxels": store.put(voxels).model_dump()},
        "tables": store.put(tables).model_dump(),
        "vectors": store.put({"vectors": unit.astype(np.float32)}).model_dump(),
        "components": store.put({"components": directions.astype(np.float32)}).model_dump(),
        "folds": fold.tolist(),
    }


def use_store(folder: str) -> None:
    """Have the stages of this process, which does nothing else, work on a store."""
    os.environ |= {"SDC_HOME": folder, "SDC_STORE": folder}
    get_settings.cache_clear()


def clocked(module: Any, *names: str) -> dict[str, float]:
    """Have a stage's module count the seconds spent in some of the functions that it calls."""
    seconds: dict[str, float] = defaultdict(float)

    def clock(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds[name] += time.perf_counter() - started

        return call

    for name in names:
        setattr(module, name, clock(name, getattr(module, name)))
    return seconds

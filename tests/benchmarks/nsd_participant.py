"""One participant of NSD's size: decoder and masks from the store, in time and in memory."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from app.settings import get_settings
from app.store import ArtefactStore
from flows import mask, train
from flows.science.decoder import DecoderConfig
from flows.science.masks import MaskConfig
from tests.benchmarks.fresh_process import Spent, run_afresh

MEMORY = 8e9
LAMBDAS = (2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0)
PUBLISHED, DEFAULT = DecoderConfig(), MaskConfig(lambdas=LAMBDAS)


@dataclass(frozen=True)
class Size:
    """What is made up, and how much of the work is done; the rest of it is extrapolated.

    Attributes
    ----------
    in_mask, voxels : int
        In the sessions' files, and kept.
    images, fold : int
        Each seen three times; images of the test fold, and of the validation fold.
    trials_per_session, dimension, components, regions : int
    steps : int
        Of the decoder's training.
    descent : int
        Steps of a mask, each so much longer that masks come as far as in the default's.
    permutations : int
    """

    in_mask: int = 24_000
    voxels: int = 18_000
    images: int = 9_000
    fold: int = 1_000
    trials_per_session: int = 750
    dimension: int = 512
    components: int = 128
    regions: int = 12
    steps: int = 300
    descent: int = 10
    permutations: int = 1000


def measure(size: Size = Size()) -> Iterator[str]:
    """Write the participant, then run both stages, each in a fresh process."""
    yield (
        f"{size.voxels:,} of {size.in_mask:,} voxels, {3 * size.images:,} trials in sessions of "
        f"{size.trials_per_session} (float16), {size.dimension} dimensions, "
        f"{torch.get_num_threads()} threads"
    )
    with TemporaryDirectory(prefix="sdc-bench-") as folder:
        written = run_afresh(write_participant, folder, size)
        yield f"made up and written in {written.seconds:.0f} s"
        trained = run_afresh(_train, folder, written.result, size)
        yield from _tell(
            "train_subject",
            trained,
            {"train_decoder": (PUBLISHED.steps / size.steps, f"{PUBLISHED.steps:,} steps")},
            f"{size.steps} of {PUBLISHED.steps:,} steps",
        )
        top1 = trained.result["metrics"]
        yield (
            f"  top-1 of {top1['pool']} images: decoder {top1['test']['top1']:.3f}, "
            f"ridge {top1['ridge']['top1']:.3f}"
        )
        masked = run_afresh(_mask, folder, written.result, trained.result, size)
        more = DEFAULT.snapshots[-1] * DEFAULT.draws / size.descent
        yield from _tell(
            "mask_subject",
            masked,
            {"fit_masks": (more, f"{DEFAULT.snapshots[-1]} steps, {DEFAULT.draws} draws")},
            f"{size.components} components, {len(LAMBDAS)} lambdas, {size.descent} of "
            f"{DEFAULT.snapshots[-1]} steps (longer ones), 1 of {DEFAULT.draws} draws",
        )
        found = sum(reason is None for reason in masked.result["reasons"])
        yield f"  {found} of {size.components} components have a mask"
        peak = max(trained.peak, masked.peak)
        verdict = "within" if peak <= MEMORY else "beyond"
        yield f"peak memory {peak / 1e9:.1f} GB, {verdict} the target of {MEMORY / 1e9:.0f} GB"


def _tell(
    name: str, spent: Spent, further: dict[str, tuple[float, str]], what: str
) -> Iterator[str]:
    """What a stage took, its parts, and what it would take with all steps."""
    seconds = spent.result["seconds"]
    rest = spent.seconds - sum(seconds.values())
    parts = ", ".join(f"{part} {taken:.0f} s" for part, taken in seconds.items())
    yield f"{name} ({what}): {spent.seconds:.0f} s, peak memory {spent.peak / 1e9:.1f} GB"
    yield f"  of which {parts}, the rest {rest:.0f} s"
    for part, (factor, full) in further.items():
        whole = spent.seconds + (factor - 1) * seconds[part]
        yield f"  extrapolated to {full}: {whole / 60:.0f} min"


def write_participant(folder: str, size: Size) -> dict[str, Any]:
    """Put a participant into a store as ingestion does, and give the references to it.

    Half of the voxels carry one of the components' directions each, at a noise ceiling of about
    20 %; the others are noise.
    """
    rng = np.random.default_rng(0)
    store = ArtefactStore(folder)
    directions = np.linalg.qr(rng.standard_normal((size.dimension, size.components)))[0].T
    y = rng.standard_normal((size.images, size.dimension))
    signal = np.zeros((size.images, 2 * size.components), dtype=np.float32)
    signal[:, : size.components] = 0.5 * y @ directions.T
    carried = rng.integers(0, signal.shape[1], size.in_mask)
    image = rng.permutation(np.repeat(np.arange(size.images), 3))
    sessions = []
    for start in range(0, len(image), size.trials_per_session):
        shown = image[start : start + size.trials_per_session]
        betas = rng.standard_normal((size.in_mask, len(shown)), dtype=np.float32)
        betas += signal[shown].T[carried]
        flags = np.zeros(size.in_mask, dtype=bool)
        arrays = {"betas": betas.astype(np.float16), "not_finite": flags, "constant": flags}
        sessions.append(store.put(arrays).model_dump())
    kept = np.sort(rng.choice(size.in_mask, size.voxels, replace=False))
    voxels = {
        "kept": kept,
        "noise_ceiling": np.full(len(kept), 20, dtype=np.float32),
        "image": image,
    }
    edge = int(np.ceil(size.in_mask ** (1 / 3)))
    native = 1.8 * np.argwhere(np.ones((edge, edge, edge)))[kept]
    regions = np.arange(size.voxels) * size.regions * 4 // size.voxels
    tables = {
        "native": native,
        "regions": (regions == 2 * np.arange(size.regions)[:, None]).astype(np.uint8),
    }
    unit = (y / np.linalg.norm(y, axis=1, keepdims=True)).astype(np.float32)
    components = directions.astype(np.float32)
    fold = np.full(size.images, "train", dtype=object)
    drawn = rng.permutation(size.images)
    fold[drawn[: size.fold]] = "test"
    fold[drawn[size.fold : 2 * size.fold]] = "validation"
    return {
        "artefacts": {"sessions": sessions, "voxels": store.put(voxels).model_dump()},
        "tables": store.put(tables).model_dump(),
        "vectors": store.put({"vectors": unit}).model_dump(),
        "components": store.put({"components": components}).model_dump(),
        "folds": fold.tolist(),
    }


def _train(folder: str, written: dict[str, Any], size: Size) -> dict[str, Any]:
    _use_store(folder)
    seconds = _clocked(train, "load_responses", "fit_ridge", "train_decoder")
    result = train.train_subject.function(
        "subj01",
        written["artefacts"],
        written["vectors"],
        written["folds"],
        asdict(PUBLISHED) | {"steps": size.steps},
        "drawn",
        0,
        "cpu",
    )
    return result | {"seconds": dict(seconds)}


def _mask(
    folder: str, written: dict[str, Any], trained: dict[str, Any], size: Size
) -> dict[str, Any]:
    _use_store(folder)
    seconds = _clocked(
        mask,
        "load_responses",
        "fit_masks",
        "masked_correlations",
        "decodability",
        "region_test",
    )
    shorter = {
        "snapshots": (size.descent,),
        "learning_rate": DEFAULT.learning_rate * DEFAULT.snapshots[-1] / size.descent,
        "draws": 1,
    }
    result = mask.mask_subject.function(
        "subj01",
        written["artefacts"],
        written["tables"],
        {"decoder": trained["decoder"], "kind": trained["kind"]},
        written["vectors"],
        written["components"],
        written["folds"],
        asdict(DEFAULT) | shorter,
        size.permutations,
        0,
        "cpu",
    )
    return result | {"seconds": dict(seconds)}


def _use_store(folder: str) -> None:
    """Of this process, which does nothing else."""
    os.environ |= {"SDC_HOME": folder, "SDC_STORE": str(Path(folder))}
    get_settings.cache_clear()


def _clocked(module: Any, *names: str) -> dict[str, float]:
    """Have a stage's module count the seconds spent in some of the functions that it calls."""
    seconds: dict[str, float] = defaultdict(float)

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds[name] += time.perf_counter() - started

        return call

    for name in names:
        setattr(module, name, clocked(name, getattr(module, name)))
    return seconds

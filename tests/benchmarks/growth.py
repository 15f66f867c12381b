"""Time and memory of training, reduction and masks as trials and as voxels grow."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from tempfile import TemporaryDirectory

import torch

from flows.demo.show import RUN
from flows.mask import mask_subject
from flows.reduce import reduce_components
from flows.train import train_subject
from tests.benchmarks.fresh_process import Spent, run_afresh
from tests.benchmarks.stored_participant import (
    Json,
    ParticipantSize,
    use_store,
    write_participant,
)

# The demo's participant: 3,600 trials, half of them training, and about 3,900 voxels.
DEMO = ParticipantSize(
    in_mask=4_800, voxels=3_900, images=1_200, fold=300, dimension=384, components=64
)
TIMES = (2, 4)
# Steps are the same at every size: nothing stops early, and one draw of masks tells as much.
DECODER = replace(RUN.decoder, patience=RUN.decoder.steps)
# Of a number that is given: what is tried by itself depends on the data.
REDUCTION = replace(RUN.reduction, components=24)
MASKS = replace(RUN.masks, draws=1)
STAGES = ("train", "reduce", "mask")


def measure(size: ParticipantSize = DEMO, times: tuple[int, ...] = TIMES) -> Iterator[str]:
    """Each size in a fresh process, the smallest first; ratios to it."""
    yield (
        f"one planted participant, {3 * size.images:,} trials of {size.voxels:,} voxels, "
        f"{size.dimension} dimensions; {DECODER.steps} steps, {REDUCTION.components} components, "
        f"{torch.get_num_threads()} threads"
    )
    first = _run(size)
    yield "time and peak memory, by stage: " + ", ".join(STAGES)
    yield _row("as above", first)
    sizes: dict[str, Callable[[int], ParticipantSize]] = {
        "trials": lambda by: replace(size, images=by * size.images, fold=by * size.fold),
        "voxels": lambda by: replace(size, in_mask=by * size.in_mask, voxels=by * size.voxels),
    }
    for what, grow in sizes.items():
        for by in times:
            spent = _run(grow(by))
            longer, larger = spent.seconds / first.seconds, spent.peak / first.peak
            verdict = "no worse" if max(longer, larger) <= by else "worse"
            yield (
                f"{_row(f'{by} x {what}', spent)}; "
                f"time x {longer:.2f}, memory x {larger:.2f}: {verdict} than linear"
            )


def _row(name: str, spent: Spent) -> str:
    stages = ", ".join(f"{spent.result[stage]:.1f}" for stage in STAGES)
    return f"  {name}: {spent.seconds:.1f} s ({stages}), {spent.peak / 1e9:.2f} GB"


def _run(size: ParticipantSize) -> Spent:
    with TemporaryDirectory(prefix="sdc-bench-") as folder:
        written = run_afresh(write_participant, folder, size).result
        return run_afresh(_run_stages, folder, written)


def _run_stages(folder: str, written: Json) -> dict[str, float]:
    """Seconds of each stage's inner code, one after the other as in a run."""
    use_store(folder)
    ends = [time.perf_counter()]
    trained = train_subject.function(
        "subj01",
        written["artefacts"],
        written["vectors"],
        written["folds"],
        asdict(DECODER),
        RUN.start,
        0,
        "cpu",
        "float32",
    )
    ends.append(time.perf_counter())
    reduce_components.function(
        written["vectors"],
        [trained["predictions"]],
        written["folds"],
        asdict(REDUCTION),
        0,
        "cpu",
    )
    ends.append(time.perf_counter())
    mask_subject.function(
        "subj01",
        written["artefacts"],
        written["tables"],
        trained,
        written["vectors"],
        # The planted ones: as many masks at every size, whatever was found.
        written["components"],
        written["folds"],
        asdict(MASKS),
        0,
        "cpu",
        "float32",
    )
    ends.append(time.perf_counter())
    return {name: end - start for name, start, end in zip(STAGES, ends, ends[1:], strict=False)}

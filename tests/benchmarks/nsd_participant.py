"""One participant of NSD's size: decoder, masks and their places, in time and in memory."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Any

import torch

from flows import locate, mask, train
from flows.science.decoder import DecoderConfig
from flows.science.masks import MaskConfig
from flows.science.response_maps import DRAWS
from tests.benchmarks.fresh_process import Spent, run_afresh
from tests.benchmarks.stored_participant import (
    Json,
    ParticipantSize,
    clocked,
    use_store,
    write_participant,
)

MEMORY = 8e9
NSD = ParticipantSize(in_mask=24_000, voxels=18_000, images=9_000, fold=1_000)
LAMBDAS = (2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0)
TRAINING, DEFAULT = DecoderConfig(), MaskConfig(lambdas=LAMBDAS)


@dataclass(frozen=True)
class Share:
    """How much of the work is done; the rest is extrapolated.

    Attributes
    ----------
    steps : int
        Of the decoder's training.
    descent : int
        Steps of a mask, each so much longer that masks come as far as by the default's.
    """

    steps: int = 300
    descent: int = 10


SHARE = Share()


def measure(size: ParticipantSize = NSD, share: Share = SHARE) -> Iterator[str]:
    """Write the participant, then run the stages, each in a fresh process."""
    yield (
        f"{size.voxels:,} of {size.in_mask:,} voxels, {3 * size.images:,} trials in sessions of "
        f"{size.trials_per_session} (float16), {size.dimension} dimensions, "
        f"{torch.get_num_threads()} threads"
    )
    with TemporaryDirectory(prefix="sdc-bench-") as folder:
        written = run_afresh(write_participant, folder, size)
        yield f"made up and written in {written.seconds:.0f} s"
        trained = run_afresh(_train, folder, written.result, share)
        yield from _tell(
            "train_subject",
            trained,
            f"at most {share.steps} of {TRAINING.steps:,} steps",
            "train_decoder",
            TRAINING.steps / share.steps,
        )
        top1 = trained.result["metrics"]
        yield (
            f"  top-1 of {top1['pool']} images: decoder {top1['test']['top1']:.3f}, "
            f"ridge {top1['ridge']['top1']:.3f}"
        )
        masked = run_afresh(_mask, folder, written.result, trained.result, share)
        yield from _tell(
            "mask_subject",
            masked,
            f"{size.components} components, {len(LAMBDAS)} lambdas, {share.descent} of "
            f"{DEFAULT.snapshots[-1]} steps (longer ones), 1 of {DEFAULT.draws} draws",
            "fit_masks",
            DEFAULT.snapshots[-1] * DEFAULT.draws / share.descent,
        )
        found = sum(reason is None for reason in masked.result["reasons"])
        yield f"  {found} of {size.components} components have a mask"
        located = run_afresh(_locate, folder, written.result, masked.result)
        yield f"locate_subject: {located.seconds:.0f} s, peak memory {located.peak / 1e9:.1f} GB"
        varied = run_afresh(_intervals, folder, written.result, located.result)
        yield (
            f"interval_regions ({DRAWS} draws, {size.regions} regions): {varied.seconds:.0f} s, "
            f"peak memory {varied.peak / 1e9:.1f} GB"
        )
        peak = max(each.peak for each in (trained, masked, located, varied))
        verdict = "within" if peak <= MEMORY else "beyond"
        yield f"peak memory {peak / 1e9:.1f} GB, {verdict} the target of {MEMORY / 1e9:.0f} GB"


def _tell(name: str, spent: Spent, done: str, part: str, times: float) -> Iterator[str]:
    """What a stage took, its parts, and what it would take were one of them done in full."""
    seconds = spent.result["seconds"]
    rest = spent.seconds - sum(seconds.values())
    parts = ", ".join(f"{each} {taken:.0f} s" for each, taken in seconds.items())
    whole = spent.seconds + (times - 1) * seconds[part]
    yield f"{name} ({done}): {spent.seconds:.0f} s, peak memory {spent.peak / 1e9:.1f} GB"
    yield f"  of which {parts}, the rest {rest:.0f} s"
    yield f"  extrapolated to all steps, {part} x {times:.3g}: {whole / 60:.0f} min"


def _train(folder: str, written: Json, share: Share) -> Json:
    use_store(folder)
    seconds = clocked(train, "load_responses", "cross_fit_ridge", "train_decoder")
    result = train.train_subject.function(
        "subj01",
        written["artefacts"],
        written["vectors"],
        written["folds"],
        asdict(TRAINING) | {"steps": share.steps},
        "auto",
        0,
        "cpu",
        "float32",
    )
    metrics = train.measure_decoder.function(
        "subj01", result["predictions"], written["vectors"], result["training"], 0
    )
    return result | metrics | {"seconds": dict(seconds)}


def _mask(folder: str, written: Json, trained: Json, share: Share) -> Json:
    use_store(folder)
    seconds = clocked(
        mask,
        "load_responses",
        "fit_masks",
    )
    shorter = {
        "snapshots": (share.descent,),
        "learning_rate": DEFAULT.learning_rate * DEFAULT.snapshots[-1] / share.descent,
        "draws": 1,
    }
    result = mask.mask_subject.function(
        "subj01",
        written["artefacts"],
        written["tables"],
        trained,
        written["vectors"],
        written["components"],
        written["folds"],
        asdict(DEFAULT) | shorter,
        0,
        "cpu",
        "float32",
    )
    return result | {"seconds": dict(seconds)}


def _locate(folder: str, written: Json, masked: Json) -> Json:
    use_store(folder)
    result: Json = locate.locate_subject.function("subj01", *_measured(written), masked)
    return result


def _intervals(folder: str, written: Json, located: Json) -> Json:
    use_store(folder)
    result: Json = locate.interval_regions.function("subj01", *_measured(written), located, 0)
    return result


def _measured(written: Json) -> list[Any]:
    return [written[name] for name in ("artefacts", "tables", "vectors", "components", "folds")]

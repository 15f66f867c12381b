"""Training, reduction and masks of a made-up cohort, with their times and operations."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from flows.science.benchmark.cohort import FOLDS, Cohort, Scale
from flows.science.benchmark.flops import decoder_flops, mask_flops, reduction_flops
from flows.science.benchmark.rate import wait_for
from flows.science.decoder import PUBLISHED, Decoder, train_decoder
from flows.science.device import resolve_device
from flows.science.mask_path import split_images
from flows.science.masks import MaskConfig, fit_masks
from flows.science.metrics import top_k
from flows.science.precision import Precision
from flows.science.reduction import ReductionConfig, reduce_contrastively

# A path of eight prices, each 1.6 times the one before.
LAMBDAS = tuple(round(2 * 1.6**point, 3) for point in range(8))

Told = Callable[[str], None]


@dataclass
class Measure:
    """What a stage took, summed over participants.

    Attributes
    ----------
    stage : str
    seconds : float
    precision : {"float32", "bfloat16"}
        Of its large products.
    flop : float
        Operations of the products it needs; 0 where they are not counted.
    peak_bytes : int
        The most memory in use during it: what torch held on a GPU; on a CPU all that the process
        ever held until then.
    """

    stage: str
    precision: Precision = "float32"
    seconds: float = 0.0
    flop: float = 0.0
    peak_bytes: int = 0


@dataclass
class Outcome:
    """Measures of all stages, and what shows that they did their work.

    Attributes
    ----------
    measures : list of Measure
    top1 : list of float
        Of each participant's decoder among the test images.
    chance : float
        Of top-1.
    found : int
        Directions that enough starts of the reduction found.
    masks : list of int
        Usable masks of each participant.
    """

    chance: float
    measures: list[Measure] = field(default_factory=list)
    top1: list[float] = field(default_factory=list)
    found: int = 0
    masks: list[int] = field(default_factory=list)


def run_stages(
    scale: Scale,
    *,
    device: str,
    precision: Precision = "float32",
    steps: int | None = None,
    seed: int = 0,
    told: Told = lambda line: None,
) -> Outcome:
    """Train, reduce and mask a made-up cohort.

    Training runs its published steps to the end (early stopping would make its time depend on the
    data), the reduction all starts of this project's for the number that was planted, and masks are
    this project's, along a path of eight prices: of the planted directions, as many whatever was
    found. One participant's responses are in memory at a time. Predictions are made on the CPU, as
    in the pipeline, and their operations are not counted. The ridge baseline is left out: an
    eigendecomposition is most of its work.

    Parameters
    ----------
    scale : Scale
    device : str
        As `resolve_device` takes it.
    precision : {"float32", "bfloat16"}
        Of the decoder's and the masks' products.
    steps : int, optional
        At most so many of each stage.
    seed : int
    told : callable
        Called with a line after each part of the work.
    """
    place = resolve_device(device)
    limit = steps or sys.maxsize
    published = PUBLISHED["linear"]
    training = replace(published, steps=min(published.steps, limit), patience=sys.maxsize)
    reducing = ReductionConfig(components=scale.components)
    reducing = replace(reducing, steps=min(reducing.steps, limit))
    masking = replace(
        MaskConfig(), lambdas=LAMBDAS, snapshots=(min(MaskConfig().snapshots[-1], limit),)
    )
    cohort = Cohort(scale, seed=seed, device=place)
    image = {fold: cohort.images_of(fold) for fold in FOLDS}
    result = Outcome(chance=1 / scale.held_out)
    generating, predict, reduce = Measure("generate"), Measure("predict"), Measure("reduce")
    train, mask = Measure("train", precision), Measure("mask", precision)
    result.measures = [generating, train, predict, reduce, mask]
    decoders: list[Decoder] = []
    predictions = []
    for participant in range(scale.participants):
        with _measured(generating, place):
            x, held, test = (cohort.responses(participant, fold) for fold in FOLDS)
        with _measured(train, place):
            decoder, history = train_decoder(
                x,
                cohort.vectors,
                image["train"],
                held,
                image["validation"],
                training,
                seed=seed,
                device=place,
                precision=precision,
            )
        train.flop += decoder_flops(
            training,
            batch=history.batch,
            steps=history.step[-1],
            evaluations=len(history.step),
            voxels=scale.voxels,
            dimension=scale.dimension,
            validation=len(held),
            pool=history.pool,
        )
        with _measured(predict, place):
            predictions.append(decoder.predict(held))
            told_test = decoder.predict(test)
        pool, own = np.unique(image["test"], return_inverse=True)
        result.top1.append(top_k(told_test, cohort.vectors[pool], own, ks=(1,))[1])
        decoders.append(decoder)
        told(f"participant {participant + 1} trained, top-1 {result.top1[-1]:.3f}")
        del x, held, test

    shown = np.tile(image["validation"], scale.participants)
    with _measured(reduce, place):
        reduced = reduce_contrastively(
            cohort.vectors[shown],
            np.concatenate(predictions),
            shown,
            reducing,
            seed=seed,
            device=place,
        )
    reduce.flop = reduction_flops(
        batch=reducing.batch,
        steps=reducing.steps,
        components=scale.components,
        dimension=scale.dimension,
        starts=reducing.starts,
    )
    result.found = len(reduced.components)
    told(f"{result.found} components found by enough of {reducing.starts} starts")

    fitted, judged = split_images(image["validation"], masking.holdout, seed)
    for participant, decoder in enumerate(decoders):
        with _measured(generating, place):
            held = cohort.responses(participant, "validation")
        with _measured(mask, place):
            found = fit_masks(
                held,
                cohort.vectors[image["validation"]],
                image["validation"],
                decoder,
                cohort.directions,
                masking,
                seed=seed,
                device=place,
                precision=precision,
            )
        mask.flop += mask_flops(
            masking,
            fitted=len(fitted),
            trials=len(held),
            held_out=len(judged),
            voxels=scale.voxels,
            dimension=scale.dimension,
            varying=sum(reason != "constant response" for reason in found.reason),
            chosen=int(np.isfinite(found.lam).sum()),
            members=int(found.path_size.sum()),
        )
        result.masks.append(int(found.usable.sum()))
        told(f"participant {participant + 1} masked, {result.masks[-1]} masks usable")
    return result


@contextmanager
def _measured(measure: Measure, place: torch.device) -> Iterator[None]:
    """Add the block's time to a measure, and take in its peak of memory."""
    wait_for(place)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    started = time.perf_counter()
    yield
    wait_for(place)
    measure.seconds += time.perf_counter() - started
    measure.peak_bytes = max(measure.peak_bytes, _peak(place))


def _peak(place: torch.device) -> int:
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux tells kilobytes, macOS bytes.
    return held if sys.platform == "darwin" else 1024 * held

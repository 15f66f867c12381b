"""Counted operations are those that torch counts in the stages themselves."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from flows.science.benchmark.flops import decoder_flops, mask_flops, reduction_flops
from flows.science.decoder import PUBLISHED, Decoder, DecoderConfig, train_decoder
from flows.science.mask_path import split_images
from flows.science.masks import MaskConfig, fit_masks
from flows.science.reduction import ReductionConfig, reduce_contrastively

VOXELS, DIMENSION, COMPONENTS = 60, 16, 4
RNG = np.random.default_rng(0)
Y = RNG.normal(size=(90, DIMENSION)).astype(np.float32)
X = (Y.repeat(2, axis=0) @ RNG.normal(size=(DIMENSION, VOXELS))).astype(np.float32)
IMAGE = np.arange(90).repeat(2)


def counted(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def test_of_training() -> None:
    config = DecoderConfig(steps=20, evaluate_every=10, batch=32)
    train, held = slice(0, 120), slice(120, 180)
    found = counted(
        lambda: train_decoder(
            *(X[train], Y, IMAGE[train], X[held], IMAGE[held], config), seed=0, device="cpu"
        )
    )
    assert found == decoder_flops(
        config,
        batch=32,
        steps=20,
        evaluations=2,
        voxels=VOXELS,
        dimension=DIMENSION,
        validation=60,
        pool=30,
    )


def test_of_the_reduction() -> None:
    # Of stimuli that are drawn, rows are judged once on those that are left: not a step's products.
    config = ReductionConfig(components=COMPONENTS, steps=10, batch=32, starts=3, resample=False)
    found = counted(
        lambda: reduce_contrastively(Y[IMAGE], Y[IMAGE], IMAGE, config, seed=0, device="cpu")
    )
    assert found == reduction_flops(
        batch=32, steps=10, components=COMPONENTS, dimension=DIMENSION, starts=3
    )


@pytest.mark.parametrize("part", [20, 0])
def test_of_the_masks(part: int) -> None:
    weight = RNG.normal(size=(DIMENSION, VOXELS)).astype(np.float32)
    decoder = Decoder("linear", {"weight": weight, "bias": np.zeros(DIMENSION, np.float32)})
    config = MaskConfig(lambdas=(0.1, 0.3), snapshots=(15,), part=part, draws=2)
    components = np.eye(COMPONENTS, DIMENSION, dtype=np.float32)
    masks = []
    found = counted(
        lambda: masks.append(
            fit_masks(X, Y[IMAGE], IMAGE, decoder, components, config, seed=0, device="cpu")
        )
    )
    fitted, judged = split_images(IMAGE, config.holdout, 0)
    expected = mask_flops(
        config,
        fitted=len(fitted),
        trials=len(X),
        held_out=len(judged),
        voxels=VOXELS,
        dimension=DIMENSION,
        varying=COMPONENTS,
        chosen=int(np.isfinite(masks[0].lam).sum()),
        members=int(masks[0].path_size.sum()),
    )
    # What is small beside them is not counted: gains of each part, and responses of single masks.
    assert expected == pytest.approx(found, rel=0.02)
    assert expected <= found


def test_only_a_linear_decoder_is_counted() -> None:
    sizes = dict.fromkeys(
        ("batch", "steps", "evaluations", "voxels", "dimension", "validation", "pool"), 1
    )
    with pytest.raises(ValueError, match="only a linear decoder's operations"):
        decoder_flops(replace(PUBLISHED["mlp"]), **sizes)

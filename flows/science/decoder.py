"""How a decoder from brain responses to the embedding space is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from flows.science.checks import check_responses, check_targets, check_varies, on_device
from flows.science.device import resolve_device
from flows.science.losses import contrastive_loss
from flows.science.model import (
    NAMES,
    Decoder,
    Kind,
    Layers,
    apply_further_layers,
    apply_layers,
    check_kind,
)
from flows.science.normal_noise import NormalNoise
from flows.science.precision import Precision, add_product, product_type, products_in

__all__ = ["PUBLISHED", "Decoder", "DecoderConfig", "History", "apply_layers", "train_decoder"]

Progress = Callable[[int, int, Mapping[str, float]], None]

_TRIAL_BLOCK = 2048

# Cosines in single precision are no finer than this.
_TIE = 1e-6


@dataclass(frozen=True)
class DecoderConfig:
    """How a decoder is built and trained; `PUBLISHED` holds the papers' settings.

    The defaults refine a ridge solution; from a draw they would end before they have learnt.

    Parameters
    ----------
    kind : {"linear", "mlp"}
        V -> D, or V -> `hidden` -> D with LeakyReLU(0.01).
    hidden : int
        Width of the MLP's hidden layer.
    temperature : float
        Cosines are divided by it before the softmax.
    learning_rate : float
        Of Adam.
    drop_epochs : tuple of int
        Epochs (0-based) from which the learning rate is a further 10 times smaller.
    batch : int
        Trials per step; shrunk to the number of trials where there are fewer.
    steps : int
        Steps at most.
    noise : float
        Standard deviation of the normal noise added to the responses at each step.
    evaluate_every : int
        Steps between two evaluations on the validation trials.
    patience : int
        Evaluations in a row without improvement after which training stops.
    """

    kind: Kind = "linear"
    hidden: int = 5000
    temperature: float = 0.1
    learning_rate: float = 2e-4
    drop_epochs: tuple[int, ...] = ()
    batch: int = 128
    steps: int = 2000
    noise: float = 3.0
    evaluate_every: int = 10
    patience: int = 5

    def __post_init__(self) -> None:
        check_kind(self.kind)
        for name in ("hidden", "temperature", "learning_rate", "steps", "evaluate_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2, not {self.batch}: a loss needs negatives")
        if not self.noise >= 0:
            raise ValueError(f"noise cannot be negative, not even {self.noise}")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, not {self.patience}")


# The 2025 paper's linear decoder and the 2023 paper's MLP (METHOD.md a).
PUBLISHED: Mapping[str, DecoderConfig] = MappingProxyType(
    {
        "linear": DecoderConfig(
            temperature=0.03,
            learning_rate=1e-4,
            steps=5000,
            noise=1.0,
            evaluate_every=100,
            patience=10,
        ),
        "mlp": DecoderConfig(
            kind="mlp",
            temperature=1.0,
            learning_rate=1e-4,
            drop_epochs=(3, 6, 9),
            steps=1500,
            noise=0.0,
            evaluate_every=100,
            patience=10,
        ),
    }
)


@dataclass
class History:
    """What happened in training, one entry per evaluation.

    `train_loss` is the mean since the evaluation before (NaN for a warm start's first);
    `validation_loss` the cross-entropy of each trial against the pool of distinct validation
    images, `validation_top1` the share of trials that find their own among them.
    """

    batch: int
    pool: int
    step: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_top1: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_step: int = 0
    stopped_early: bool = False
    note: str = ""


def train_decoder(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    target: NDArray[np.integer],
    x_validation: NDArray[np.floating],
    target_validation: NDArray[np.integer],
    config: DecoderConfig,
    *,
    seed: int,
    device: str | torch.device,
    precision: Precision = "float32",
    on_progress: Progress | None = None,
    initial: Decoder | None = None,
    keep: Literal["best", "last"] = "best",
) -> tuple[Decoder, History]:
    """Train a decoder contrastively, and keep the weights that validate best.

    Every evaluation finds the validation trials' images by cosine among the distinct
    validation images. The best weights have the highest top-1, which a small validation fold
    resolves coarsely; between equals the lower validation loss decides. The same seed on the
    same machine and device gives the same bytes.

    Parameters
    ----------
    x : ndarray
        (N, V) z-scored training responses, single trials.
    y : ndarray
        (M, D) distinct target vectors, of any length.
    target : ndarray
        (N,) row of `y` of each training trial.
    x_validation, target_validation : ndarray
        (P, V) and (P,), likewise.
    config : DecoderConfig
    seed : int
        Of the start, the batches and the noise.
    device : str or torch.device
        Where the data lie and the steps run, as `resolve_device` takes it.
    precision : {"float32", "bfloat16"}
        Of the layers' products in each step; evaluations are in float32.
    on_progress : callable, optional
        Called at each evaluation with the step, the number of steps at most, and a mapping
        of ``train_loss``, ``validation_top1`` and ``validation_loss``.
    initial : Decoder, optional
        Start from its weights in place of a draw. It is evaluated as step 0, and its
        directions are returned where training does not better it. A linear one is scaled to
        the size of a drawn start, which changes no cosine: Adam's steps have a fixed size,
        and would tear up the far smaller weights of a ridge solution at once.
    keep : {"best", "last"}
        "last" takes all steps and keeps what comes of them: where their number was chosen on
        other trials, and these ones are to stay unseen.

    Returns
    -------
    Decoder
        The best weights.
    History

    Raises
    ------
    ValueError
        Where shapes do not match, responses or targets are not finite, targets are zero or
        all the same, so are all training trials, a fold has too few trials, `initial` does not
        fit, or training diverges.

    References
    ----------
    METHOD.md a; Efird et al. 2023 (arXiv 2306.03375) and 2025 (arXiv 2405.17663), decoders.
    """
    x = check_responses("x", x)
    x_validation = check_responses("x_validation", x_validation, x.shape[1])
    target = check_targets("training", target, len(x), y)
    check_varies("x", x)
    target_validation = check_targets("validation", target_validation, len(x_validation), y)
    if len(np.unique(target)) < 2:
        raise ValueError(f"all {len(x)} training trials have one target: nothing to tell apart")

    place, dtype = resolve_device(device), product_type(precision)
    # The start and the batches are drawn on the CPU, so that they are those of every device.
    generator = torch.Generator().manual_seed(seed)
    layers = _start(config, x.shape[1], y.shape[1], initial, generator, place)
    parameters = [tensor for layer in layers for tensor in layer]
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)

    vectors = functional.normalize(on_device(y.astype(np.float32), place))
    responses, images = on_device(x, place), on_device(target, place)
    pool, own = np.unique(target_validation, return_inverse=True)
    validation = (
        on_device(x_validation, place),
        vectors[on_device(pool, place)],
        on_device(own, place),
    )
    batch = min(config.batch, len(x))
    history = History(batch=batch, pool=len(pool))
    if batch < config.batch:
        history.note = f"batch of {config.batch} shrunk to the {batch} training trials there are"
    watch = _Watch(history, config, parameters, on_progress)
    if initial is not None:
        watch.record(0, float("nan"), *_validate(layers, *validation, config.temperature))

    steps_per_epoch = len(x) // batch
    inputs = torch.empty(batch, x.shape[1], device=place)
    gradient = torch.empty_like(layers[0][0])
    noise = NormalNoise(inputs, seed + 1)
    summed, since = torch.zeros((), device=place), 0
    for step in range(config.steps):
        epoch, position = divmod(step, steps_per_epoch)
        if position == 0:
            order = torch.randperm(len(x), generator=generator).to(place)
            drops = sum(epoch >= drop for drop in config.drop_epochs)
            optimiser.param_groups[0]["lr"] = config.learning_rate * 0.1**drops
        rows = order[position * batch : (position + 1) * batch]
        torch.index_select(responses, 0, rows, out=inputs)
        if config.noise:
            inputs.add_(noise.draw(), alpha=config.noise)
        first = _first_layer(inputs, *layers[0], gradient, dtype)
        with products_in(dtype, place):
            raw = apply_further_layers(first, layers[1:])
        predicted = functional.normalize(raw.float())
        scores = predicted @ vectors[images[rows]].T / config.temperature
        loss = contrastive_loss(scores, images[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        summed += loss.detach()

        done = step + 1
        if done % config.evaluate_every == 0 or done == config.steps:
            train_loss = summed.item() / (done - since)
            watch.record(done, train_loss, *_validate(layers, *validation, config.temperature))
            summed.zero_()
            since = done
            if keep == "best" and watch.stale >= config.patience and done < config.steps:
                history.stopped_early = True
                break

    kept = watch.best if keep == "best" else [tensor.detach() for tensor in parameters]
    arrays = [tensor.cpu().numpy() for tensor in kept]
    return Decoder(config.kind, dict(zip(NAMES[config.kind], arrays, strict=True))), history


def _first_layer(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    gradient: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """What the layer that reads the responses makes of them, its gradient written into `gradient`.

    Autograd would allocate that gradient, as large as all weights, anew at each step: on a CPU
    the first touch of its pages costs half as much again as the product that fills them.
    """
    read = x.to(dtype)
    with torch.no_grad():
        output = add_product(bias, read, weight.T)
    output.requires_grad_()

    def pass_on(slope: torch.Tensor) -> None:
        if dtype == torch.float32:
            torch.mm(slope.T, x, out=gradient)
        else:
            gradient.copy_(slope.T.to(dtype) @ read)
        weight.grad = gradient
        bias.grad = slope.sum(0)

    output.register_hook(pass_on)  # type: ignore[no-untyped-call]
    return output


class _Watch:
    """Keeps a training's history and the weights that validated best."""

    def __init__(
        self,
        history: History,
        config: DecoderConfig,
        parameters: list[torch.Tensor],
        on_progress: Progress | None,
    ) -> None:
        self.history = history
        self.config = config
        self.parameters = parameters
        self.on_progress = on_progress
        # Copies: the optimiser goes on changing the live tensors in place.
        self.best = [tensor.detach().clone() for tensor in parameters]
        self.score = (-1.0, 0.0)
        self.stale = 0

    def record(self, step: int, train_loss: float, top1: float, loss: float) -> None:
        """Take in the evaluation after a step."""
        if not np.isfinite(loss):
            raise ValueError(
                f"training diverged by step {step}: the learning rate "
                f"{self.config.learning_rate:g} is too large"
            )
        self.history.step.append(step)
        self.history.train_loss.append(train_loss)
        self.history.validation_top1.append(top1)
        self.history.validation_loss.append(loss)
        if (top1, -loss) > self.score:
            self.score = (top1, -loss)
            self.history.best_step = step
            self.stale = 0
            for kept, tensor in zip(self.best, self.parameters, strict=True):
                kept.copy_(tensor.detach())
        else:
            self.stale += 1
        if self.on_progress is not None:
            metrics = {"train_loss": train_loss, "validation_top1": top1, "validation_loss": loss}
            self.on_progress(step, self.config.steps, metrics)


def _start(
    config: DecoderConfig,
    n_voxels: int,
    dimension: int,
    initial: Decoder | None,
    generator: torch.Generator,
    device: torch.device,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The layers that training starts from, ready for gradients."""
    if initial is None:
        widths = [n_voxels, dimension]
        if config.kind == "mlp":
            widths.insert(1, config.hidden)
        layers = []
        for inputs, outputs in pairwise(widths):
            # What nn.Linear draws, from a generator of its own: the global one is shared by
            # all threads of a process, and would make a seed's result depend on the others.
            bound = inputs**-0.5
            weight = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
            bias = torch.empty(outputs).uniform_(-bound, bound, generator=generator)
            layers.append((weight.to(device), bias.to(device)))
    else:
        if (initial.kind, initial.n_voxels, initial.dimension) != (
            config.kind,
            n_voxels,
            dimension,
        ):
            raise ValueError(
                f"the initial decoder is {initial.kind}, {initial.n_voxels} voxels to "
                f"{initial.dimension} dimensions; training wants {config.kind}, "
                f"{n_voxels} to {dimension}"
            )
        layers = initial.layers(device)
        if initial.kind == "linear":
            scale = (3 * n_voxels) ** -0.5 / layers[0][0].square().mean().sqrt().clamp(min=1e-30)
            layers = [(weight * scale, bias * scale) for weight, bias in layers]
    return [(weight.requires_grad_(), bias.requires_grad_()) for weight, bias in layers]


@torch.no_grad()
def _validate(
    layers: Layers, x: torch.Tensor, pool: torch.Tensor, own: torch.Tensor, temperature: float
) -> tuple[float, float]:
    """Top-1 and mean cross-entropy of trials against the pool of distinct images."""
    hits = torch.zeros((), dtype=torch.float64, device=x.device)
    loss = torch.zeros((), dtype=torch.float64, device=x.device)
    for start in range(0, len(x), _TRIAL_BLOCK):
        block = slice(start, start + _TRIAL_BLOCK)
        similarity = functional.normalize(apply_layers(x[block], layers)) @ pool.T
        mine = similarity.gather(1, own[block, None])
        # Images that tie for the first place share the hit.
        first = (similarity > mine + _TIE).sum(1) == 0
        tied = (similarity >= mine - _TIE).sum(1).clamp(min=1)
        hits += (first / tied).sum(dtype=torch.float64)
        loss += functional.cross_entropy(similarity / temperature, own[block], reduction="sum")
    return hits.item() / len(x), loss.item() / len(x)

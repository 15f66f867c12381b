"""Voxel masks: which voxels of a participant carry a component."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.checks import check_responses, on_device
from flows.science.decoder import Progress
from flows.science.device import resolve_device
from flows.science.mask_descent import (
    LinearObjective,
    NetworkObjective,
    Parts,
    masked_response,
)
from flows.science.mask_parts import fit_parts
from flows.science.mask_path import (
    INFEASIBLE,
    HeldOutPath,
    choose,
    jackknife,
    leave_one_image_out,
    split_images,
    too_few_to_hold_out,
)
from flows.science.metrics import pearson
from flows.science.model import Decoder
from flows.science.precision import Precision, product_type

# Entries of one (V, columns) matrix; the optimiser holds about six of them.
_ENTRIES = 2**25
CONSTANT = "constant response"
CONSTANT_ON_A_SIDE = "constant response on the vectors held out, or on all others"


@dataclass(frozen=True)
class MaskConfig:
    """Settings of the masks.

    Attributes
    ----------
    lambdas : tuple of float
        The path: prices of a mask's mean weight, each tried.
    snapshots : tuple of int
        Steps, rising, at which a mask may be taken; the last is the number of steps. The
        published procedure is one lambda, 5, and one snapshot, 1,000; a linear decoder's masks
        then drift from the literal ones (`mask_descent.LinearObjective`).
    learning_rate : float
        Adam's.
    threshold : float
        A voxel of at least this weight is a member (the hard mask).
    part, draws : int
        Voxels of a random part that masks are fitted on, and partitions (`mask_parts`); 0 fits all
        voxels together, as published.
    holdout : float
        Share of images on which the path is judged.
    averaged : bool
        Whether masks see the mean response to each stimulus in place of single trials: less noise,
        and as many times fewer products.
    """

    lambdas: tuple[float, ...] = (5.0, 10.0, 20.0)
    snapshots: tuple[int, ...] = (50,)
    learning_rate: float = 1e-2
    part: int = 100
    draws: int = 4
    threshold: float = 0.5
    holdout: float = 1 / 3
    averaged: bool = True

    def __post_init__(self) -> None:
        if not self.lambdas or min(self.lambdas) < 0:
            raise ValueError(f"lambdas must be some numbers >= 0, not {self.lambdas}")
        rising = all(a < b for a, b in zip((0, *self.snapshots), self.snapshots, strict=False))
        if not self.snapshots or not rising:
            raise ValueError(f"snapshots must be rising steps >= 1, not {self.snapshots}")
        if self.part < 0 or self.draws < 1:
            raise ValueError(f"part must be at least 0 and draws at least 1, not {self}")
        if not (0 < self.holdout < 1 and 0 < self.threshold <= 1 and self.learning_rate > 0):
            raise ValueError(
                "holdout must lie in (0, 1), threshold in (0, 1] and learning_rate above 0, "
                f"not {self}"
            )


# The 2023 paper's masks (METHOD.md c): all voxels together, one lambda, the last step.
PUBLISHED_MASKS = MaskConfig(
    lambdas=(5.0,), snapshots=(1000,), learning_rate=2e-3, part=0, draws=1, averaged=False
)


@dataclass(frozen=True, eq=False)
class MaskFit:
    """Masks of K components, and how each was chosen.

    Attributes
    ----------
    soft : ndarray
        (K, V) float32 weights in [0, 1]; all zero where there is a reason.
    reason : list of str or None
        (K,) why a component has no mask: ``"constant response"``, ``"empty"``, ``"full"``, or
        ``"no feasible mask on the path"`` where no mask decodes anything that varies; None where it
        has one.
    whole : list of str or None
        (K,) why a mask is of all voxels, weight 1 each, and none was chosen on held-out images:
        there are too few of them, one side of the split is constant, or no mask of the path
        predicts those held out (``"no feasible mask on the path"``); None where one was.
    lam, step : ndarray
        (K,) the chosen point of the path; NaN and 0 where none was.
    path, path_error : ndarray
        (K, L) held-out r of the hard mask at its best step, NaN where undefined, and the
        standard error of its difference to the best of the path.
    path_size : ndarray
        (K, L) members of that mask.
    threshold : float
        Weight from which a voxel is a member.
    """

    soft: NDArray[np.float32]
    reason: list[str | None]
    whole: list[str | None]
    lam: NDArray[np.float64]
    step: NDArray[np.int64]
    path: NDArray[np.float64]
    path_error: NDArray[np.float64]
    path_size: NDArray[np.int64]
    threshold: float

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(K,) whether the component has a mask."""
        return np.array([reason is None for reason in self.reason])

    @property
    def members(self) -> NDArray[np.bool_]:
        """(K, V) hard masks, without any member where there is no mask."""
        return np.asarray(self.soft >= self.threshold) & self.usable[:, None]


def fit_masks(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    image: NDArray[np.integer],
    decoder: Decoder | Sequence[Decoder],
    components: NDArray[np.floating],
    config: MaskConfig,
    *,
    seed: int,
    device: str | torch.device,
    precision: Precision = "float32",
    told_by: NDArray[np.integer] | None = None,
    on_progress: Progress | None = None,
) -> MaskFit:
    """Fit one mask per component, its sparsity chosen on held-out images.

    With ``z = relu(y w)`` and ``zhat = relu(f(x * m) w)``, a mask m minimises
    ``-pearson(z, zhat) + lambda * mean(m)``, clamped to [0, 1] after every step. All lambdas
    are tried on a share of the images; of each, the snapshot whose hard mask predicts the
    others best counts. Chosen is the mask of fewest members whose held-out r lies within one
    standard error of the best, and it is fitted again, to its lambda and step, on all trials.

    Masks are fitted on random parts of the voxels and put together (`mask_parts`). It is the
    hard mask that is judged, and early snapshots compete, because Pearson's r does not see a
    mask's scale: given time the penalty takes all weights down while the soft mask's r stays.

    The standard error is that of the paired difference to the best (jackknife over images,
    repeats of an image together). Masks are judged on the same trials, so most of the error
    of r itself is common to all, and a tolerance of that size would take near-empty masks.

    Where no price can be chosen so (`MaskFit.whole`), the mask is of all voxels: how few of them
    suffice cannot be told, and what the decoder makes of all can be tested all the same.

    An MLP's masks go through autograd, one column at a time: far slower than a linear
    decoder's, which step together as matrix products (`mask_descent.LinearObjective`).

    Parameters
    ----------
    x : ndarray
        (N, V) z-scored responses.
    y : ndarray
        (N, D) their targets.
    image : ndarray
        (N,) which image each trial showed; stimuli of one target are one image.
    decoder : Decoder or sequence of Decoder
        Frozen; fitted on other stimuli than these trials'. Several where every trial is told by
        the one that never saw its stimulus.
    components : ndarray
        (K, D) directions of target space.
    config : MaskConfig
    seed : int
        Of the images held out.
    device : str or torch.device
        As `resolve_device` takes it.
    precision : {"float32", "bfloat16"}
        Of the products of each step; masks are judged in float32.
    told_by : ndarray, optional
        (N,) which of several decoders tells each trial.
    on_progress : callable, optional
        Called at each snapshot with steps done, steps at most, and the path's mean
        ``held_out_r``.

    Returns
    -------
    MaskFit

    Raises
    ------
    ValueError
        Where shapes do not match or values are not finite.

    References
    ----------
    METHOD.md c; Efird et al. 2023 (arXiv 2306.03375), voxel masks.
    """
    decoders = [decoder] if isinstance(decoder, Decoder) else list(decoder)
    told = np.zeros(len(x), dtype=np.int64) if told_by is None else np.asarray(told_by)
    _check_told(told, decoders, len(x))
    x, z = _check(x, y, image, decoders[0], components)
    image = np.asarray(image)
    few = too_few_to_hold_out(image, config.holdout)
    nothing = np.empty(0, dtype=np.intp)
    fit, held = (nothing, nothing) if few else split_images(image, config.holdout, seed)
    place, dtype = resolve_device(device), product_type(precision)
    layers = [each.layers(place) for each in decoders]
    objective = LinearObjective if decoders[0].kind == "linear" else NetworkObjective

    def parts_of(rows: NDArray[np.intp]) -> Parts:
        of = told[rows]
        return [
            (on_device(np.flatnonzero(of == each), place), layers[each]) for each in np.unique(of)
        ]

    directions = on_device(components.astype(np.float32), place)
    trials, truth = on_device(x, place), on_device(z, place)
    trials_fit, truth_fit = trials[on_device(fit, place)], truth[on_device(fit, place)]
    trials_held, truth_held = trials[on_device(held, place)], z[held]

    count, levels = len(components), len(config.lambdas)
    varies = _varies(z)
    judged = varies & ~bool(few) & _varies(z[fit]) & _varies(z[held])
    result = MaskFit(
        soft=np.zeros((count, x.shape[1]), dtype=np.float32),
        reason=[None if varying else CONSTANT for varying in varies],
        whole=[
            (few or CONSTANT_ON_A_SIDE) if varying and not judgeable else None
            for varying, judgeable in zip(varies, judged, strict=True)
        ],
        lam=np.full(count, np.nan),
        step=np.zeros(count, dtype=np.int64),
        path=np.full((count, levels), np.nan),
        path_error=np.full((count, levels), np.nan),
        path_size=np.zeros((count, levels), dtype=np.int64),
        threshold=config.threshold,
    )
    chunks = _chunks(np.flatnonzero(judged), max(1, _ENTRIES // (x.shape[1] * levels)))

    def fitted(
        x: torch.Tensor,
        z: torch.Tensor,
        parts: Parts,
        columns: NDArray[np.intp],
        lam: NDArray[np.float64],
        on_part: Callable[[int, int], None],
    ) -> dict[int, torch.Tensor]:
        owner = on_device(columns, place)
        return fit_parts(
            lambda voxels: objective(
                x[:, voxels],
                z,
                directions,
                [
                    (rows, [(weight[:, voxels], bias), *further])
                    for rows, ((weight, bias), *further) in parts
                ],
                owner,
                dtype,
            ),
            x.shape[1],
            on_device(lam.astype(np.float32), place),
            part=config.part,
            draws=config.draws,
            learning_rate=config.learning_rate,
            snapshots=config.snapshots,
            seed=seed,
            on_part=on_part,
        )

    for index, chunk in enumerate(chunks):
        owner = np.repeat(chunk, levels)
        path = HeldOutPath(
            trials_held, truth_held, directions, parts_of(held), owner, config.threshold
        )

        def on_path(done: int, total: int, before: int, path: HeldOutPath = path) -> None:
            if on_progress is not None:
                on_progress(before * total + done, 2 * len(chunks) * total, path.summary())

        prices = np.tile(np.array(config.lambdas), len(chunk))
        masks = fitted(
            trials_fit, truth_fit, parts_of(fit), owner, prices, partial(on_path, before=index)
        )
        for step in config.snapshots:
            path.visit(step, masks[step])
        _record(result, path, chunk, image[held], config)

    whole = np.array([why is not None for why in result.whole])
    result.soft[whole] = 1
    chosen = np.flatnonzero(result.usable & ~whole)
    chosen_chunks = _chunks(chosen, max(1, _ENTRIES // x.shape[1]))
    for index, chunk in enumerate(chosen_chunks):

        def fitting(done: int, total: int, index: int = index) -> None:
            if on_progress is not None:
                parts = len(chosen_chunks) * total
                on_progress(parts + index * total + done, 2 * parts, {})

        masks = fitted(
            trials, truth, parts_of(np.arange(len(x))), chunk, result.lam[chunk], fitting
        )
        for column, component in enumerate(chunk):
            soft = masks[int(result.step[component])][:, column]
            result.soft[component] = soft.cpu().numpy()
        _refuse_degenerate(result, chunk)
    return result


def masked_correlations(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    decoder: Decoder,
    components: NDArray[np.floating],
    soft: NDArray[np.floating],
    threshold: float = 0.5,
    *,
    device: str | torch.device = "cpu",
) -> dict[str, NDArray[np.float64]]:
    """Pearson r of true and decoded component responses, without and with masks.

    Parameters
    ----------
    x : ndarray
        (N, V) responses, of trials that no mask was fitted on.
    y : ndarray
        (N, D) their targets.
    decoder : Decoder
        Its output is normalised, as it was trained.
    components : ndarray
        (K, D).
    soft : ndarray
        (K, V) weights.
    threshold : float
        Weight from which a voxel is a member of the hard mask.
    device : str or torch.device

    Returns
    -------
    dict
        ``"unmasked"``, ``"soft"`` and ``"hard"``, each (K,); NaN where either side is
        constant, as the response to an empty mask is.

    References
    ----------
    METHOD.md c.
    """
    x, z = _check(x, y, None, decoder, components)
    if soft.shape != (len(components), x.shape[1]):
        raise ValueError(
            f"masks of shape {soft.shape} do not match {len(components)} components "
            f"and {x.shape[1]} voxels"
        )
    place = resolve_device(device)
    trials = on_device(x, place)
    parts = [(torch.arange(len(x), device=place), decoder.layers(place))]
    directions = on_device(components.astype(np.float32), place)
    masks = {
        "soft": soft.astype(np.float32),
        "hard": (soft >= threshold).astype(np.float32),
    }
    unmasked = np.maximum(decoder.predict(x) @ components.T, 0)
    correlations = {"unmasked": np.asarray(pearson(z, unmasked), dtype=np.float64)}
    for name, mask in masks.items():
        responses = [
            masked_response(trials, weights, direction, parts).cpu().numpy()
            for weights, direction in zip(on_device(mask, place), directions, strict=True)
        ]
        correlations[name] = np.asarray(pearson(z, np.stack(responses, axis=1)), dtype=np.float64)
    return correlations


def _record(
    result: MaskFit,
    path: HeldOutPath,
    chunk: NDArray[np.intp],
    image: NDArray[np.integer],
    config: MaskConfig,
) -> None:
    """Choose a point for each component of the chunk, and write it into the result."""
    left_out = leave_one_image_out(path.truth, path.response, image)
    levels, n_voxels = len(config.lambdas), result.soft.shape[1]
    for row, component in enumerate(chunk):
        span = slice(row * levels, (row + 1) * levels)
        r, size = path.r[span], path.size[span]
        best = int(np.where(np.isfinite(r), r, -np.inf).argmax())
        without = left_out[:, span]
        paired = jackknife(without[:, [best]] - without)
        index, reason = choose(r, jackknife(without), paired, size, n_voxels)
        result.path[component], result.path_error[component] = r, paired
        result.path_size[component] = size
        # Where every mask decodes one and the same of all trials there is nothing to test either.
        if reason == INFEASIBLE and np.isfinite(r).any():
            result.whole[component] = reason
        else:
            result.reason[component] = reason
        if reason is None:
            result.lam[component] = config.lambdas[index]
            result.step[component] = path.step[span][index]


def _refuse_degenerate(result: MaskFit, chosen: NDArray[np.intp]) -> None:
    """A mask that all trials make empty or full is a reason, not a result."""
    for component, size in zip(chosen, result.members[chosen].sum(axis=1), strict=True):
        if size in (0, result.soft.shape[1]):
            result.reason[component] = "full" if size else "empty"
            result.soft[component] = 0
            result.lam[component], result.step[component] = np.nan, 0


def _varies(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(K,) whether each component's true response has more than one value; none over no trials."""
    return np.asarray((z != z[:1]).any(axis=0))


def _chunks(indices: NDArray[np.intp], width: int) -> list[NDArray[np.intp]]:
    return [indices[start : start + width] for start in range(0, len(indices), width)]


def _check_told(told: NDArray[np.integer], decoders: Sequence[Decoder], trials: int) -> None:
    """Refuse trials that no decoder tells, and decoders of several kinds."""
    if told.shape != (trials,) or not ((told >= 0) & (told < len(decoders))).all():
        raise ValueError(f"each of {trials} trials must be told by one of {len(decoders)} decoders")
    shapes = {(each.kind, each.n_voxels, each.dimension) for each in decoders}
    if len(shapes) != 1:
        raise ValueError("decoders of different kinds or sizes cannot tell the trials of one mask")


def _check(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    image: NDArray[np.integer] | None,
    decoder: Decoder,
    components: NDArray[np.floating],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Responses, and the true component responses z = relu(y w), (N, K)."""
    x = check_responses("x", x, decoder.n_voxels)
    if y.shape != (len(x), decoder.dimension) or not np.isfinite(y).all():
        raise ValueError(
            f"y of shape {y.shape} must be finite and ({len(x)} trials, "
            f"{decoder.dimension} dimensions)"
        )
    if components.ndim != 2 or components.shape[1] != decoder.dimension:
        raise ValueError(
            f"components of shape {components.shape} must be (K, {decoder.dimension} dimensions)"
        )
    if not np.isfinite(components).all():
        raise ValueError("components hold values that are not finite")
    if image is not None and np.shape(image) != (len(x),):
        raise ValueError(f"{len(x)} trials show images of shape {np.shape(image)}")
    return x, np.maximum(y @ components.T, 0).astype(np.float32)

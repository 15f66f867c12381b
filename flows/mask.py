"""Stage c: the voxels that each participant's decoder needs to tell each component."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.store import Artefact
from flows.progress import report, steps_of
from flows.responses import load_responses
from flows.science.masks import MaskConfig, MaskFit, fit_masks
from flows.science.model import Decoder
from flows.science.precision import Precision
from flows.science.statistics import group_means
from flows.stages import get_store, stage
from flows.train import development_folds, distinct_rows, load_decoder, load_without

Json = dict[str, Any]


@stage("mask-subject", "label")
def mask_subject(
    label: str,
    artefacts: Json,
    tables: Json,
    decoder: Json,
    vectors: Json,
    components: Json,
    folds: list[str],
    config: Json,
    seed: int,
    device: str,
    precision: Precision = "float32",
) -> Json:
    """Fit one participant's masks on all stimuli that are not test.

    Each trial is told by the decoder that never saw its stimulus.

    Parameters
    ----------
    tables : dict
        Reference to ``regions`` (R, V).
    decoder : dict
        What `flows.train.train_subject` returned.

    Returns
    -------
    dict
        As `describe_masks`.

    Raises
    ------
    InputError
        No mask can be fitted on these trials.
    """
    store = get_store()
    settings = MaskConfig(**config)
    model = load_decoder(decoder)
    rows = store.get(Artefact.model_validate(components))["components"]
    fit = _fit(
        label,
        artefacts,
        folds,
        vectors,
        decoder,
        rows,
        settings,
        seed=seed,
        device=device,
        precision=precision,
    )
    return describe_masks(
        tables,
        model,
        rows,
        _linearised_at(model, artefacts, folds),
        soft=fit.soft,
        lam=fit.lam,
        reasons=fit.reason,
        whole=fit.whole,
        threshold=settings.threshold,
    )


def describe_masks(
    tables: Json,
    model: Decoder,
    rows: NDArray[np.float32],
    x: NDArray[np.float32] | None,
    *,
    soft: NDArray[np.float32],
    lam: NDArray[np.float64],
    reasons: list[str | None],
    threshold: float,
    whole: list[str | None] | None = None,
) -> Json:
    """One participant's masks, whatever found them, and where they are strongest.

    Parameters
    ----------
    tables : dict
        Reference to ``regions`` (R, V).
    rows : ndarray
        (K, D) components.
    x : ndarray or None
        (N, V) responses at which an MLP is linearised.
    soft : ndarray
        (K, V) weights in [0, 1]; all zero where there is a reason.
    lam : ndarray
        (K,) penalties that the masks were fitted with, NaN where none was.
    reasons : list of str or None
        (K,) why a mask counts for nothing.
    threshold : float
        Weight from which a voxel is a member.
    whole : list of str or None, optional
        (K,) why a mask is of all voxels (`MaskFit.whole`).

    Returns
    -------
    dict
        ``masks``, a reference to ``soft`` (K, V), ``lam``, ``peak`` (K,) and ``peak_region``
        (K, R); the ``reasons`` of masks that count for nothing; why some are
        of the ``whole`` brain; and the ``threshold``.
    """
    store = get_store()
    place = store.get(Artefact.model_validate(tables))
    # Weights saturate at 1: what a voxel contributes tells the strongest of them apart.
    strength = soft * np.abs(model.voxel_vectors(x) @ rows.T).T
    members = (soft >= threshold) & (strength > 0)
    arrays = {
        "soft": soft,
        "peak": peaks(strength, members, np.ones((1, members.shape[1]), dtype=bool))[:, 0],
        "peak_region": peaks(strength, members, place["regions"].astype(bool)),
        "lam": lam,
    }
    return {
        "masks": store.put(
            {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
        ).model_dump(),
        "reasons": reasons,
        "whole": whole or [None] * len(reasons),
        "threshold": threshold,
    }


def soft_masks(found: Json, voxels: int) -> NDArray[np.float32]:
    """(K, V) weights of a participant's masks, or of the bits of clusters' members."""
    store = get_store()
    if "masks" in found:
        return np.asarray(store.get(Artefact.model_validate(found["masks"]))["soft"])
    bits = store.get(Artefact.model_validate(found))["members"]
    return np.unpackbits(bits, axis=1, count=voxels).astype(np.float32)


def hard_masks(mask: Json) -> NDArray[np.bool_]:
    """(K, V) members of a participant's masks, none where a mask counts for nothing."""
    soft = get_store().get(Artefact.model_validate(mask["masks"]))["soft"]
    usable = np.array([reason is None for reason in mask["reasons"]], dtype=bool)
    return np.asarray((soft >= mask["threshold"]) & usable[:, None])


def _fit(
    label: str,
    artefacts: Json,
    folds: list[str],
    vectors: Json,
    decoder: Json,
    rows: NDArray[np.float32],
    settings: MaskConfig,
    *,
    seed: int,
    device: str,
    precision: Precision,
) -> MaskFit:
    store = get_store()
    x, image = load_responses(store, artefacts, development_folds(folds), "development")
    y = store.get(Artefact.model_validate(vectors))["vectors"]
    _, row_of = distinct_rows(y)
    # Folds may hold fewer stimuli than the decoders were fitted on: groups are theirs.
    fitted = store.get(Artefact.model_validate(decoder["predictions"]))
    without = load_without(decoder)
    number = np.full(len(folds), -1)
    number[fitted["image_development"]] = np.searchsorted(
        decoder["groups"], fitted["group_development"]
    )
    told_by = number[image]
    if settings.averaged:
        # All repeats of a stimulus are of one group, so that one decoder tells their mean.
        image, first, label_of = np.unique(image, return_index=True, return_inverse=True)
        x = group_means(x, label_of.ravel()).astype(np.float32)
        told_by = told_by[first]
    try:
        fit = fit_masks(
            x,
            y[image],
            # Stimuli of one vector, such as the blocks of a category, are one: what is held out is
            # of other vectors than what masks are fitted on.
            row_of[image],
            without,
            rows,
            settings,
            seed=seed,
            device=device,
            precision=precision,
            told_by=told_by,
            on_progress=steps_of(f"masking {label}"),
        )
    except ValueError as error:
        raise InputError(f"{label}: {error}") from error
    report(f"masking {label}", 1, 1)
    return fit


def _linearised_at(model: Decoder, artefacts: Json, folds: list[str]) -> NDArray[np.float32] | None:
    """Responses at which an MLP's voxels are told apart; a linear decoder needs none."""
    if model.kind == "linear":
        return None
    store = get_store()
    for fold in ("validation", "train"):
        x, _ = load_responses(store, artefacts, folds, fold)
        if len(x):
            return x
    return None


def peaks(
    strength: NDArray[np.float32], members: NDArray[np.bool_], regions: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(K, R) index of the strongest member of each mask in each region, -1 where there is none."""
    found = np.full((len(strength), len(regions)), -1, dtype=np.float32)
    for column, region in enumerate(regions):
        inside = np.where(members & region, strength, -1)
        found[:, column] = np.where(inside.max(axis=1) > 0, inside.argmax(axis=1), -1)
    return found

"""Stage c: where each participant carries each component, and what participants share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.store import Artefact
from flows.progress import report, steps_of
from flows.responses import load_responses
from flows.science.masks import MaskConfig, MaskFit, fit_masks, masked_correlations
from flows.science.model import Decoder
from flows.science.precision import Precision
from flows.science.sharing import agreement_test, shared_concepts
from flows.science.statistics import (
    benjamini_hochberg,
    correlation_test,
    too_few_images,
)
from flows.stages import get_store, stage
from flows.train import distinct_rows, load_decoder

Json = dict[str, Any]

CONSTANT = "constant response on the test trials"


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
    permutations: int,
    seed: int,
    device: str,
    precision: Precision = "float32",
) -> Json:
    """Fit one participant's masks on validation trials and measure them on test trials.

    Parameters
    ----------
    tables : dict
        Reference to ``regions`` (R, V).

    Returns
    -------
    dict
        Reference to ``soft`` (K, V), ``lam`` (K,), ``r_unmasked``, ``r_soft``, ``r_hard``,
        ``p_test``, ``peak`` (K,), and ``peak_region`` (K, R); the reasons of masks that count
        for nothing.
    """
    store = get_store()
    settings = MaskConfig(**config)
    model = load_decoder(decoder)
    y = store.get(Artefact.model_validate(vectors))["vectors"]
    rows = store.get(Artefact.model_validate(components))["components"]
    fit = fit_on_validation(
        label,
        artefacts,
        folds,
        y,
        model,
        rows,
        settings,
        seed=seed,
        device=device,
        precision=precision,
    )
    return measure_masks(
        label,
        artefacts,
        tables,
        model,
        vectors,
        rows,
        folds,
        permutations,
        seed,
        device,
        soft=fit.soft,
        lam=fit.lam,
        reasons=fit.reason,
        threshold=settings.threshold,
    )


def measure_masks(
    label: str,
    artefacts: Json,
    tables: Json,
    model: Decoder,
    vectors: Json,
    rows: NDArray[np.float32],
    folds: list[str],
    permutations: int,
    seed: int,
    device: str,
    *,
    soft: NDArray[np.float32],
    lam: NDArray[np.float64],
    reasons: list[str | None],
    threshold: float,
) -> Json:
    """Measure one participant's masks on test trials, whatever found them.

    Parameters
    ----------
    tables : dict
        Reference to ``regions`` (R, V).
    rows : ndarray
        (K, D) components.
    soft : ndarray
        (K, V) weights in [0, 1]; all zero where there is a reason.
    lam : ndarray
        (K,) penalties that the masks were fitted with, NaN where none was.
    reasons : list of str or None
        (K,) why a mask counts for nothing.
    threshold : float
        Weight from which a voxel is a member.

    Returns
    -------
    dict
        What `mask_subject` returns.

    Raises
    ------
    InputError
        A prediction of a test trial is not finite.
    """
    store = get_store()
    y = store.get(Artefact.model_validate(vectors))["vectors"]
    place = store.get(Artefact.model_validate(tables))
    x, image = load_responses(store, artefacts, folds, "test")
    correlations = masked_correlations(x, y[image], model, rows, soft, threshold, device=device)
    try:
        p_test = decodability(y, image, model.predict(x), rows, permutations, seed)
    except ValueError as error:
        raise InputError(f"{label}, test fold: {error}") from error
    # Weights saturate at 1: what a voxel contributes tells the strongest of them apart.
    strength = soft * np.abs(model.voxel_vectors(x) @ rows.T).T
    members = (soft >= threshold) & (strength > 0)
    arrays = {
        "soft": soft,
        "peak": _peaks(strength, members, np.ones((1, members.shape[1]), dtype=bool))[:, 0],
        "peak_region": _peaks(strength, members, place["regions"].astype(bool)),
        "lam": lam,
        "p_test": p_test,
    } | {f"r_{name}": correlations[name] for name in ("unmasked", "soft", "hard")}
    return {
        "masks": store.put(
            {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
        ).model_dump(),
        "reasons": reasons,
        "images": len(np.unique(distinct_rows(y)[1][image])),
        "threshold": threshold,
    }


def fit_on_validation(
    label: str,
    artefacts: Json,
    folds: list[str],
    y: NDArray[np.float32],
    model: Decoder,
    rows: NDArray[np.float32],
    settings: MaskConfig,
    *,
    seed: int,
    device: str,
    precision: Precision,
) -> MaskFit:
    """One participant's masks, fitted on validation trials.

    Parameters
    ----------
    label : str
        The participant, as errors and reports name it.
    y : ndarray
        (I, D) vectors of the stimuli.
    model : Decoder
    rows : ndarray
        (K, D) components.

    Raises
    ------
    InputError
        No mask can be fitted on these trials.
    """
    x, image = load_responses(get_store(), artefacts, folds, "validation")
    try:
        fit = fit_masks(
            x,
            y[image],
            image,
            model,
            rows,
            settings,
            seed=seed,
            device=device,
            precision=precision,
            on_progress=steps_of(f"masking {label}"),
        )
    except ValueError as error:
        raise InputError(f"{label}: {error}") from error
    report(f"masking {label}", 1, 1)
    return fit


def decodability(
    y: NDArray[np.float32],
    image: NDArray[np.int64],
    predicted: NDArray[np.float32],
    rows: NDArray[np.float32],
    permutations: int,
    seed: int,
) -> NDArray[np.float64]:
    """Whether a participant's predictions tell each component (`correlation_test`).

    Distinct vectors are what is permuted. Stimuli that share one, as those of a category do, are
    one image to the encoder, and brains may answer them alike whatever the decoder makes of it:
    permuted apart, they would pass for as many independent findings.

    Parameters
    ----------
    y : ndarray
        (I, D) vectors of the stimuli.
    image : ndarray
        (N,) which stimulus each trial showed.
    predicted : ndarray
        (N, D) what the decoder, fitted on other stimuli, makes of each trial.
    rows : ndarray
        (K, D) components.
    permutations : int
    seed : int

    Returns
    -------
    ndarray
        (K,) p, one-sided; NaN where a component's response is constant, or its decoded one, and
        where the trials show fewer than 3 distinct vectors.
    """
    _, row_of = distinct_rows(y)
    if len(np.unique(row_of[image])) < 3:
        return np.full(len(rows), np.nan)
    truth, told = np.maximum(y[image] @ rows.T, 0), np.maximum(predicted @ rows.T, 0)
    return correlation_test(truth, told, row_of[image], permutations=permutations, seed=seed)[1]


@stage("compare-subjects")
def compare_subjects(
    masks: list[Json],
    tables: list[Json],
    participants: float,
    level: float,
    permutations: int,
    seed: int,
) -> Json:
    """What participants share: components that enough of them decode and place alike.

    Returns
    -------
    dict
        Reference to ``agreement``, ``agreement_p``, ``p``, ``q``, ``shared`` (K,), and ``decodes``,
        ``p_test`` and ``q_test`` (S, K); why a component is not shared; and, for each participant,
        why a component that has a mask was not tested.
    """
    store = get_store()
    fits = [store.get(Artefact.model_validate(mask["masks"])) for mask in masks]
    usable = np.array([[reason is None for reason in mask["reasons"]] for mask in masks])
    p_test = np.where(usable, np.array([fit["p_test"] for fit in fits], dtype=np.float64), np.nan)
    few = [too_few_images(mask["images"], level) for mask in masks]
    p_test[np.array([why is not None for why in few])] = np.nan
    q_test = benjamini_hochberg(p_test)
    decodes = np.nan_to_num(q_test, nan=1.0) <= level
    places = [store.get(Artefact.model_validate(table))["mni"] for table in tables]
    agreement, agreement_p = agreement_test(
        [fit["soft"].T for fit in fits],
        places,
        decodes,
        permutations=permutations,
        seed=seed,
        level=level,
    )
    minimum = max(2, int(np.ceil(participants * len(masks))))
    found = shared_concepts(p_test, agreement_p, minimum, alpha=level, agreement=agreement)
    return {
        "comparison": store.put(
            {
                "agreement": np.asarray(agreement, dtype=np.float64),
                "agreement_p": np.asarray(agreement_p, dtype=np.float64),
                "p": np.asarray(found.p, dtype=np.float64),
                "q": np.asarray(found.q, dtype=np.float64),
                "shared": np.asarray(found.shared, dtype=np.uint8),
                "decodes": decodes.astype(np.uint8),
                "p_test": p_test,
                "q_test": q_test,
            }
        ).model_dump(),
        "reasons": found.reason,
        "untested": [
            _untested(mask["reasons"], p, why)
            for mask, p, why in zip(masks, p_test, few, strict=True)
        ],
        "minimum": minimum,
    }


def _untested(
    reasons: list[str | None], p: NDArray[np.float64], few: str | None
) -> list[str | None]:
    """Why a participant's components that have a mask have no p; None for all others."""
    return [
        (few or CONSTANT) if reason is None and np.isnan(value) else None
        for reason, value in zip(reasons, p, strict=True)
    ]


def _peaks(
    strength: NDArray[np.float32], members: NDArray[np.bool_], regions: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(K, R) index of the strongest member of each mask in each region, -1 where there is none."""
    peaks = np.full((len(strength), len(regions)), -1, dtype=np.float32)
    for column, region in enumerate(regions):
        inside = np.where(members & region, strength, -1)
        peaks[:, column] = np.where(inside.max(axis=1) > 0, inside.argmax(axis=1), -1)
    return peaks

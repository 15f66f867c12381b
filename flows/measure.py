"""What masks tell of stimuli that nothing has seen, and whether that is more than chance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.store import Artefact
from flows.fit import Fit, fit_rotation
from flows.mask import hard_masks
from flows.progress import report
from flows.responses import (
    load_mean_responses,
    load_responses,
    load_trial_positions,
    load_trial_sessions,
)
from flows.run_context import RunContext, testing_folds
from flows.science.checks import on_device
from flows.science.device import resolve_device
from flows.science.mask_descent import masked_predictions
from flows.science.specificity import (
    Sums,
    add,
    directions_beside,
    draw_mixtures,
    mix,
    mixture_sums,
    voxel_p,
)
from flows.science.statistics import Floats, correlation_test
from flows.science.stats.intervals import correlation_interval, normalised_correlation
from flows.science.stats.orders import (
    OrderScheme,
    choose_order_scheme,
    too_few_orders,
    units_within_runs,
)
from flows.science.stats.tails import permutation_p
from flows.stages import gather, get_store, stage
from flows.train import development_folds, distinct_rows, load_decoder, measure_decoder

Json = dict[str, Any]

CONSTANT = "constant response on the test trials"
MASKINGS = ("unmasked", "soft", "hard")


@dataclass(frozen=True)
class Measured:
    """What test stimuli tell of a fit.

    Attributes
    ----------
    predictions : list of dict
        A participant each, reference to ``test``, ``ridge``, ``image_test`` and ``session_test``
        of all rotations.
    metrics : list of dict
        A participant each, of `flows.train.measure_decoder`.
    tests : list of dict
        A participant each, of `test_subject`.
    orders : dict
        By participant, what `choose_order` chose.
    rotations : int
    """

    predictions: list[Json]
    metrics: list[Json]
    tests: list[Json]
    orders: dict[str, Json]
    rotations: int

    def decoders(self, whole: Fit) -> list[Json]:
        """A participant each, the whole fit's decoder with these predictions and metrics."""
        return [
            trained | {"metrics": metrics, "predictions": predictions}
            for trained, metrics, predictions in zip(
                whole.trained, self.metrics, self.predictions, strict=True
            )
        ]


def measure_run(context: RunContext, whole: Fit) -> Measured:
    """Test a fit on stimuli that nothing has seen.

    Where folds rotate, each rotation's stimuli are tested with what was found without them: the
    components of each rotation stand for the whole fit's that they are nearest to, and the
    statistics are of all rotations together.
    """
    dataset, config = context.dataset, context.config
    statistics, seed = config.statistics, config.seed
    rotations = testing_folds(dataset)
    if dataset.rotation is None:
        fits = [whole]
    else:
        fits = []
        for number, folds in enumerate(rotations):
            report("rotating", number, len(rotations))
            fits.append(fit_rotation(context, whole, folds))
        report("rotating", len(rotations), len(rotations))
    subjects = list(enumerate(dataset.subjects))
    orders = gather(
        [
            choose_order.submit(subject.label, subject.artefacts, context.vectors, rotations, seed)
            for _, subject in subjects
        ]
    )
    responses = gather(
        [
            respond_subject.submit(
                subject.label,
                subject.artefacts,
                fit.trained[row],
                context.vectors,
                fit.components,
                fit.masks[row],
                fit.folds,
                orders[row],
                statistics.mixtures,
                seed,
                context.device,
            )
            for row, subject in subjects
            for fit in fits
        ]
    )
    tuned = gather(
        [
            tune_subject.submit(
                subject.label,
                subject.artefacts,
                context.vectors,
                whole.components,
                whole.folds,
                statistics.mixtures,
                seed,
            )
            for _, subject in subjects
        ]
    )
    count = len(fits)
    tests = gather(
        [
            test_subject.submit(
                subject.label,
                responses[row * count : (row + 1) * count],
                tuned[row],
                whole.masks[row]["reasons"],
                context.vectors,
                orders[row],
                statistics.permutations,
                statistics.level,
                seed,
            )
            for row, subject in subjects
        ]
    )
    predictions = [
        join_predictions([fit.trained[row]["predictions"] for fit in fits])["predictions"]
        for row, _ in subjects
    ]
    metrics = gather(
        [
            measure_decoder.submit(
                subject.label,
                predictions[row],
                context.vectors,
                whole.trained[row]["training"],
                seed,
            )
            for row, subject in subjects
        ]
    )
    return Measured(
        predictions,
        [each["metrics"] for each in metrics],
        tests,
        dict(zip(context.labels, orders, strict=True)),
        count,
    )


def replicate(
    context: RunContext, measured: Measured, without: list[Json] | None
) -> list[Json] | None:
    """Test in each participant what was found without this one; None where nothing was sought."""
    if without is None:
        return None
    return gather(
        [
            replicate_subject.submit(
                label,
                measured.predictions[row],
                context.vectors,
                without[row]["components"],
                measured.orders[label],
                context.config.statistics.permutations,
                context.config.seed,
            )
            for row, label in enumerate(context.labels)
        ]
    )


@stage("join-predictions")
def join_predictions(parts: list[Json]) -> Json:
    """Predictions of the test trials of all rotations, in order of acquisition of each."""
    store = get_store()
    told = [store.get(Artefact.model_validate(part)) for part in parts]
    names = ("test", "ridge", "image_test", "session_test")
    return {
        "predictions": store.put(
            {name: np.concatenate([each[name] for each in told]) for name in names}
        ).model_dump()
    }


@stage("choose-order", "label")
def choose_order(
    label: str, artefacts: Json, vectors: Json, rotations: list[list[str]], seed: int
) -> Json:
    """How one participant's test stimuli may be exchanged, by what they are and their order.

    Parameters
    ----------
    rotations : list of list of str
        Folds of each rotation; one where folds do not rotate.

    Returns
    -------
    dict
        ``kind`` and ``reason`` of the `OrderScheme`.
    """
    store = get_store()
    targets, row_of = distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"])
    parts = []
    trained: set[int] | None = None
    for folds in rotations:
        x_image = _trials(artefacts, folds)
        parts.append(x_image)
        development = np.isin(folds, ("train", "validation"))
        seen = set(row_of[development].tolist())
        trained = seen if trained is None else trained & seen
    image, session = _in_order(parts)
    if len(image) == 0:
        return {"kind": "free", "reason": "there are no test trials"}
    scheme = choose_order_scheme(
        targets, row_of[image], session, seed=seed, training_image=np.array(sorted(trained or ()))
    )
    return {"kind": scheme.kind, "reason": scheme.reason}


def _trials(artefacts: Json, folds: list[str]) -> dict[str, NDArray[np.int64]]:
    """Position, stimulus and session of a participant's test trials; no response is read."""
    store = get_store()
    voxels = store.get(Artefact.model_validate(artefacts["voxels"]))
    position = load_trial_positions(store, artefacts, folds, "test")
    return {
        "position": position,
        "image": voxels["image"][position],
        "session": load_trial_sessions(store, artefacts, folds, "test"),
    }


def _in_order(
    parts: list[dict[str, NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stimulus and session of the test trials of all rotations, in order of acquisition."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["position"], kind="stable")
    return joined["image"][order], joined["session"][order]


@stage("respond-subject", "label")
def respond_subject(
    label: str,
    artefacts: Json,
    decoder: Json,
    vectors: Json,
    components: Json,
    mask: Json,
    folds: list[str],
    order: Json,
    mixtures: int,
    seed: int,
    device: str,
) -> Json:
    """One participant's decoded responses to test stimuli, without and with masks.

    Parameters
    ----------
    decoder : dict
        What `flows.train.train_subject` returned.
    components : dict
        Reference to ``components`` (K, D); a row of zeros is a component that this rotation did
        not find.
    mask : dict
        What `flows.mask.mask_subject` returned.
    order : dict
        What `choose_order` returned: what the units are that mixtures are correlated over.
    mixtures : int
        M.

    Returns
    -------
    dict
        ``responses``: reference to ``position``, ``image``, ``session`` (N,), ``truth``,
        ``unmasked``, ``soft`` and ``hard`` (N, K), and the sums (`Sums`) of M mixtures without a
        mask, (5, M), and with each component's, (5, K, M).

    Raises
    ------
    InputError
        A prediction of a test trial is not finite.
    """
    store = get_store()
    model = load_decoder(decoder)
    y = store.get(Artefact.model_validate(vectors))["vectors"]
    rows = store.get(Artefact.model_validate(components))["components"]
    predictions = store.get(Artefact.model_validate(decoder["predictions"]))
    x, image = load_responses(store, artefacts, folds, "test")
    trials = _trials(artefacts, folds)
    if not np.isfinite(predictions["test"]).all():
        raise InputError(f"{label}, test fold: predictions hold values that are not finite")
    place = resolve_device(device)
    parts = [(on_device(np.arange(len(x)), place), model.layers(place))]
    responses = on_device(x, place)
    soft = store.get(Artefact.model_validate(mask["masks"]))["soft"]
    hard = hard_masks(mask)
    truth = np.maximum(y[image] @ rows.T, 0)
    told = {"unmasked": np.maximum(predictions["test"] @ rows.T, 0)}
    told |= {name: np.zeros_like(told["unmasked"]) for name in ("soft", "hard")}
    _, row_of = distinct_rows(y)
    unit = _units(row_of[image], trials["session"], order)
    wide = np.concatenate([rows, directions_beside(rows, y)])
    directions = mix(draw_mixtures(len(wide), mixtures, seed), wide).astype(np.float32)
    masked = np.zeros((5, len(rows), mixtures))
    for index in np.flatnonzero(hard.any(axis=1)):
        report(f"measuring {label}", int(index), len(rows))
        direction = rows[index]
        for name, weights in (("soft", soft[index]), ("hard", hard[index].astype(np.float32))):
            predicted = masked_predictions(responses, on_device(weights, place), parts)
            vectors_told = predicted.cpu().numpy()
            told[name][:, index] = np.maximum(vectors_told @ direction, 0)
        masked[:, index] = mixture_sums(y[image], vectors_told, unit, directions).moments
    report(f"measuring {label}", len(rows), len(rows))
    return {
        "responses": store.put(
            trials
            | {"truth": truth}
            | told
            | {
                "mixture_sums": masked,
                "units": np.array([int(unit.max()) + 1 if len(unit) else 0]),
                "found": rows.any(axis=1).astype(np.uint8),
            }
        ).model_dump()
    }


def _units(row: NDArray[np.int64], session: NDArray[np.int64], order: Json) -> NDArray[np.int64]:
    """(N,) what is averaged before it is correlated: a vector's trials, or those of a run."""
    label = np.unique(row, return_inverse=True)[1].ravel()
    if order["kind"] == "within_run":
        return units_within_runs(label, session)[0]
    return label.astype(np.int64)


@stage("tune-subject", "label")
def tune_subject(
    label: str,
    artefacts: Json,
    vectors: Json,
    components: Json,
    folds: list[str],
    mixtures: int,
    seed: int,
) -> Json:
    """Whether one participant's voxels answer to each component unlike they do to mixtures.

    Returns
    -------
    dict
        ``tuned``: reference to ``tuned_p``, ``sparse_p`` and ``voxel_p`` (K,), the two parts and
        both together of `flows.science.specificity.voxel_p`, over the mean responses to all
        stimuli that are not test.
    """
    store = get_store()
    y = store.get(Artefact.model_validate(vectors))["vectors"]
    rows = store.get(Artefact.model_validate(components))["components"]
    x, shown = load_mean_responses(store, artefacts, development_folds(folds), "development")
    wide = np.concatenate([rows, directions_beside(rows, y)])
    p = voxel_p(y[shown] @ wide.T, x, mixtures=mixtures, seed=seed, count=len(rows))
    report(f"measuring {label}", 1, 1)
    return {
        "tuned": store.put(
            {"tuned_p": p.tuned, "sparse_p": p.sparse, "voxel_p": p.combined}
        ).model_dump()
    }


@stage("test-subject", "label")
def test_subject(
    label: str,
    responses: list[Json],
    tuned: Json,
    reasons: list[str | None],
    vectors: Json,
    order: Json,
    permutations: int,
    level: float,
    seed: int,
) -> Json:
    """Whether one participant's masks tell each component, over the test trials of all rotations.

    Distinct vectors are what is permuted. Stimuli that share one, as those of a category do, are
    one image to the encoder, and brains may answer them alike whatever the decoder makes of it:
    permuted apart, they would pass for as many independent findings.

    Parameters
    ----------
    responses : list of dict
        What `respond_subject` returned of each rotation.
    tuned : dict
        What `tune_subject` returned.
    reasons : list of str or None
        (K,) why a component's mask counts for nothing.

    Returns
    -------
    dict
        ``tests``: reference to (K,) ``r_unmasked``, ``r_soft``, ``r_hard``, their ``p_``, ``r_low``
        and ``r_high`` (95 % of r_hard), ``r_normalised``, and ``specific_p``, the larger of two:
        ``voxel_p`` (voxels answer to it unlike they do to mixtures; by ``tuned_p`` and
        ``sparse_p`` together) and ``own_p`` (the mask tells the component better than it tells
        mixtures); and, for components that have a mask, why they have no p.
    """
    store = get_store()
    parts = [store.get(Artefact.model_validate(each["responses"])) for each in responses]
    joined = {
        name: np.concatenate([part[name] for part in parts])
        for name in ("position", "image", "session", "truth", *MASKINGS)
    }
    in_order = np.argsort(joined["position"], kind="stable")
    joined = {name: values[in_order] for name, values in joined.items()}
    found = np.concatenate(
        [np.tile(part["found"].astype(bool), (len(part["image"]), 1)) for part in parts]
    )[in_order]
    _, row_of = distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"])
    row, run = row_of[joined["image"]], joined["session"]
    scheme = OrderScheme(order["kind"], order["reason"])
    few = too_few_orders(scheme, row, run, level) if len(row) else "there are no test trials"
    count = found.shape[1]
    tests = {name: np.full(count, np.nan) for name in _NAMES}
    # Components that the same rotations found are tested together.
    for used, columns in _alike(found):
        if few is not None or len(np.unique(row[used])) < 3:
            continue
        of = {name: joined[name][used][:, columns] for name in ("truth", *MASKINGS)}
        for name in MASKINGS:
            r, p = correlation_test(
                of["truth"],
                of[name],
                row[used],
                permutations=permutations,
                seed=seed,
                scheme=scheme,
                run=run[used],
            )
            tests[f"r_{name}"][columns], tests[f"p_{name}"][columns] = r, p
        unit = _units(row[used], run[used], order)
        low, high = correlation_interval(of["truth"], of["hard"], unit, seed=seed)
        tests["r_low"][columns], tests["r_high"][columns] = low, high
        tests["r_normalised"][columns] = normalised_correlation(of["truth"], of["hard"], unit)
    masked = add([Sums(int(part["units"][0]), part["mixture_sums"]) for part in parts])
    tests |= store.get(Artefact.model_validate(tuned["tuned"]))
    tests["own_p"] = permutation_p(tests["r_hard"], masked.correlations().T)
    tests["specific_p"] = np.maximum(tests["voxel_p"], tests["own_p"])
    return {
        "tests": store.put(tests).model_dump(),
        "untested": [
            (few or CONSTANT) if reason is None and np.isnan(p) else None
            for reason, p in zip(reasons, tests["p_hard"], strict=True)
        ],
    }


_NAMES = (
    *(f"{kind}_{name}" for name in MASKINGS for kind in ("r", "p")),
    *("r_low", "r_high", "r_normalised"),
)


def _alike(
    found: NDArray[np.bool_],
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and columns of (N, K) such that all of these rows hold for all of these columns."""
    if found.size == 0:
        return []
    patterns, of = np.unique(found, axis=1, return_inverse=True)
    return [
        (np.flatnonzero(pattern), np.flatnonzero(of.ravel() == index))
        for index, pattern in enumerate(patterns.T)
        if pattern.any()
    ]


@stage("replicate-subject", "label")
def replicate_subject(
    label: str,
    predictions: Json,
    vectors: Json,
    components: Json,
    order: Json,
    permutations: int,
    seed: int,
) -> Json:
    """Whether one participant's decoder tells components that were sought without this one.

    Parameters
    ----------
    predictions : dict
        Reference to ``test``, ``image_test`` and ``session_test``.
    components : dict
        Reference to ``components`` (K, D), a row of zeros where none was found.

    Returns
    -------
    dict
        ``replication``: reference to ``r`` and ``p`` (K,), NaN where there was nothing to test.
    """
    store = get_store()
    y = store.get(Artefact.model_validate(vectors))["vectors"]
    rows = store.get(Artefact.model_validate(components))["components"]
    told = store.get(Artefact.model_validate(predictions))
    image = told["image_test"]
    _, row_of = distinct_rows(y)
    r: Floats = np.full(len(rows), np.nan)
    p: Floats = np.full(len(rows), np.nan)
    if len(np.unique(row_of[image])) >= 3:
        r, p = correlation_test(
            np.maximum(y[image] @ rows.T, 0),
            np.maximum(told["test"] @ rows.T, 0),
            row_of[image],
            permutations=permutations,
            seed=seed,
            scheme=OrderScheme(order["kind"], order["reason"]),
            run=told["session_test"],
        )
    return {"replication": store.put({"r": r, "p": p}).model_dump()}

"""Stage a: a decoder from brain responses to the encoder's space, for each participant."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.embedding.text_reading import caption_warnings
from app.embedding.vectors import VectorTable
from app.errors import InputError
from app.settings import get_settings
from app.store import Artefact
from flows.catalog import DatasetTables
from flows.encoder_choice import naming_alternative
from flows.progress import report, steps_of
from flows.responses import load_responses, load_trial_sessions
from flows.science.cross_fitting import cross_fit_ridge
from flows.science.decoder import DecoderConfig, History, train_decoder
from flows.science.folding import cross_fitting_groups
from flows.science.metrics import top_k
from flows.science.model import NAMES, Decoder
from flows.science.patterns import voxel_patterns
from flows.science.precision import Precision
from flows.science.statistics import group_means
from flows.science.stats.intervals import paired_test, share_interval
from flows.sources import open_source
from flows.stages import encoder_at, get_store, stage

Json = dict[str, Any]
POOLS = (1, 5, 10, 50)
# Standard errors by which a training must better ridge: it is the best of many evaluations.
_SURELY = 2.0
# Vectors nearer to their mean than this have no direction from it.
_NO_DIRECTION = 1e-6


def embed_dataset(dataset: DatasetTables, encoder: str) -> Json:
    """Vectors of a dataset's stimuli, as an artefact ``vectors`` (I, D) in the order of keys.

    Raises
    ------
    CatalogError
        The encoder cannot embed them; the hint names one that can, where there is one.
    """
    with naming_alternative(dataset, encoder):
        return embed_stimuli(
            dataset.source_uri,
            dataset.configuration["source"],
            dataset.fingerprint,
            encoder,
            dataset.keys,
            dataset.captions,
        )


@stage("embed-stimuli", "source_uri")
def embed_stimuli(
    source_uri: str,
    source_options: Json,
    fingerprint: str,
    encoder: str,
    keys: list[str],
    captions: list[list[str]],
) -> Json:
    """Embed stimuli by their pictures, or by their captions where the encoder reads alone.

    A table of vectors has those without captions by their keys.

    Raises
    ------
    InputError
        The encoder is unknown, or a stimulus has neither of what it needs, or captions alone that
        the encoder knows no word of.
    """
    loaded = encoder_at(encoder, get_settings().device)
    pictures, warnings = None, []
    if loaded.sees_images:
        source = open_source(source_uri, **source_options)

        def _pictures() -> Any:
            for done, key in enumerate(keys):
                report("embedding stimuli", done, len(keys))
                picture = source.image(key)
                if picture is None:
                    raise InputError(
                        f"stimulus {key} has no picture, and {encoder} embeds pictures",
                        hint="use a caption encoder, or add the pictures to the source",
                    )
                yield picture

        pictures = _pictures()
    else:
        report("embedding stimuli", 0, len(keys))
        if isinstance(loaded, VectorTable):
            # A table may have been made of the stimuli themselves.
            captions = [told or [key] for key, told in zip(keys, captions, strict=True)]
        warnings = caption_warnings(keys, captions, loaded.read_text)
    vectors = loaded.encode_stimuli(captions, pictures)
    report("embedding stimuli", len(keys), len(keys))
    return {
        "vectors": get_store().put({"vectors": vectors.astype(np.float32)}).model_dump(),
        "encoder": {
            "name": loaded.name,
            "dimension": loaded.dimension,
            "checksum": loaded.checksum,
        },
        "warnings": warnings,
    }


@stage("centre-stimuli")
def centre_stimuli(vectors: Json, folds: list[str]) -> Json:
    """Stimuli's vectors less their mean, at length 1: the space of everything that follows.

    Parameters
    ----------
    vectors : dict
        Reference to ``vectors`` (I, D).
    folds : list of str
        The mean is of the stimuli that are not test; of all where folds rotate.

    Returns
    -------
    dict
        ``vectors``: reference to ``vectors`` (I, D) and their ``mean`` (D,).

    Raises
    ------
    InputError
        All stimuli have one and the same vector.
    """
    store = get_store()
    rows = store.get(Artefact.model_validate(vectors))["vectors"].astype(np.float64)
    kept = np.array(folds) != "test"
    mean = rows[kept if kept.any() else slice(None)].mean(axis=0)
    centred = rows - mean
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    if (length < _NO_DIRECTION).all():
        raise InputError(
            "all stimuli have one and the same vector: there is nothing to tell apart",
            hint="use an encoder that tells them apart, or give each stimulus its own caption",
        )
    # A stimulus at the mean itself has no direction; any small one is as good.
    safe = np.where(length < _NO_DIRECTION, np.inf, length)
    unit = np.where(length < _NO_DIRECTION, rows, centred / safe)
    return {
        "vectors": store.put(
            {"vectors": unit.astype(np.float32), "mean": mean.astype(np.float32)}
        ).model_dump()
    }


@stage("train-subject", "label")
def train_subject(
    label: str,
    artefacts: Json,
    vectors: Json,
    folds: list[str],
    config: Json,
    start: str,
    seed: int,
    device: str,
    precision: Precision = "float32",
) -> Json:
    """Fit one participant's decoder, and one without each group of stimuli (`fit_decoder`).

    Returns
    -------
    dict
        References to the ``decoder``, to those ``without`` a group (with ``kind``, ``groups`` and
        ``seed``, as `load_decoder` and `load_without` read them), and to ``predictions``:
        ``development`` (N, D), each trial told by the decoder that never saw its stimulus, with
        ``image_development`` and ``group_development``; ``test``, ``ridge`` (P, D), with
        ``image_test`` and ``session_test``. Of a linear decoder its ``patterns`` (V, D). And
        ``training``: what was chosen.
    """
    store = get_store()
    settings = DecoderConfig(**config)
    trials = load_training(artefacts, vectors, folds, seed)
    try:
        fitted = fit_decoder(
            label,
            trials,
            settings,
            start,
            seed=seed + _apart(artefacts),
            device=device,
            precision=precision,
        )
    except ValueError as error:
        raise InputError(f"{label}: {error}") from error
    x_test, image_test = load_responses(store, artefacts, folds, "test")
    predicted: dict[str, NDArray[Any]] = {
        "development": fitted.predicted,
        "image_development": trials.image,
        "group_development": trials.group,
        "image_test": image_test,
        "session_test": load_trial_sessions(store, artefacts, folds, "test"),
    }
    for name, decoder in (("test", fitted.decoder), ("ridge", fitted.ridge)):
        tested = decoder.predict(x_test) if len(x_test) else np.empty((0, decoder.dimension))
        predicted[name] = tested.astype(np.float32)
    stacked = {
        f"{name}_{group}": tensor
        for group, decoder in zip(fitted.groups, fitted.without, strict=True)
        for name, tensor in decoder.tensors().items()
    }
    patterns = None
    if fitted.decoder.kind == "linear":
        told = voxel_patterns(trials.x, fitted.decoder.voxel_vectors(), device=device)
        patterns = store.put({"patterns": told}).model_dump()
    report(f"training {label}", 1, 1)
    return {
        "decoder": store.put(fitted.decoder.tensors()).model_dump(),
        "kind": fitted.decoder.kind,
        "without": store.put(stacked).model_dump(),
        "groups": [int(group) for group in fitted.groups],
        # The groups were drawn by it.
        "seed": seed,
        "predictions": store.put(predicted).model_dump(),
        "patterns": patterns,
        "training": _known(
            {
                "kept": fitted.kept,
                "alpha": fitted.alpha,
                "history": asdict(fitted.history) if fitted.history else None,
                "trials": {"development": len(trials.x), "test": len(x_test)},
                "voxels": trials.x.shape[1],
            }
        ),
    }


@stage("measure-decoder", "label")
def measure_decoder(
    label: str, predictions: Json, vectors: Json, training: Json, seed: int
) -> Json:
    """How often a participant's decoder finds the stimulus of a test trial, and ridge beside it.

    Parameters
    ----------
    predictions : dict
        Reference to ``test``, ``ridge`` and ``image_test``.
    training : dict
        What `train_subject` chose.

    Returns
    -------
    dict
        ``test`` and ``ridge`` (top-k), ``top1_interval`` (95 %, over stimuli),
        ``against_ridge``, ``pool`` and what else the catalog tells of a decoder.
    """
    store = get_store()
    targets, row_of = distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"])
    predicted = store.get(Artefact.model_validate(predictions))
    image = predicted["image_test"]
    pool, own = np.unique(row_of[image], return_inverse=True)
    hits = {name: _hits(predicted[name], targets[pool], own) for name in ("test", "ridge")}
    metrics: Json = {
        "test": _accuracies(predicted["test"], targets[pool], own),
        "ridge": _accuracies(predicted["ridge"], targets[pool], own),
        "pool": len(pool),
        "unmeasured": {
            f"top{k}": f"the pool has {len(pool)} images" for k in POOLS if k >= len(pool)
        },
        "queries": "single trials",
        "voxels": training["voxels"],
        "trials": training["trials"] | {"test": len(image)},
        "training": training,
    }
    if len(np.unique(image)) >= 2 and len(pool) >= 2:
        low, high = share_interval(hits["test"], image, seed=seed)
        versus = paired_test(hits["test"], hits["ridge"], image, seed=seed)
        metrics["top1_interval"] = [low, high]
        metrics["against_ridge"] = {
            "gained": versus.gained,
            "lost": versus.lost,
            "p_value": versus.p,
            "difference": versus.difference,
            "low": versus.low,
            "high": versus.high,
        }
    return {"metrics": _known(metrics)}


@dataclass(frozen=True)
class TrainingTrials:
    """What one participant's decoder is fitted on.

    Parameters
    ----------
    targets : ndarray
        (M, D) distinct vectors of the stimuli.
    row_of : ndarray
        (I,) row of `targets` of each stimulus.
    x : ndarray
        (N, V) z-scored responses, single trials of all stimuli that are not test.
    image, group : ndarray
        (N,) which stimulus each trial showed, and the group that it is left out with.
    """

    targets: NDArray[np.float32]
    row_of: NDArray[np.int64]
    x: NDArray[np.float32]
    image: NDArray[np.int64]
    group: NDArray[np.int64]


def load_training(
    artefacts: Json, vectors: Json, folds: list[str], seed: int = 0
) -> TrainingTrials:
    """One participant's trials of all stimuli that are not test, and the vectors they are to meet.

    Raises
    ------
    InputError
        There are fewer than two stimuli to fit on.
    """
    store = get_store()
    development = development_folds(folds)
    x, image = load_responses(store, artefacts, development, "development")
    session = load_trial_sessions(store, artefacts, development, "development")
    try:
        group = cross_fitting_groups(image, session, np.array(folds) == "validation", seed=seed)
    except ValueError as error:
        raise InputError(str(error), hint="show participants more stimuli") from error
    rows = distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"])
    return TrainingTrials(*rows, x, image, group)


def development_folds(folds: list[str]) -> list[str]:
    """Folds in which training and validation stimuli are one, ``"development"``."""
    return ["development" if fold in ("train", "validation") else fold for fold in folds]


@dataclass(frozen=True, eq=False)
class FittedDecoder:
    """A participant's decoder, and those that were fitted without a group of stimuli each.

    Parameters
    ----------
    decoder, ridge : Decoder
        Fitted on all trials.
    without : list of Decoder
    groups : ndarray
        (G,) groups of `without`.
    predicted : ndarray
        (N, D) unit predictions, each trial told by the decoder without its group.
    kept : {"ridge", "trained"}
    alpha : float
        Ridge's penalty.
    history : History or None
        Of the training on all groups but the first, which is validated on.
    """

    decoder: Decoder
    ridge: Decoder
    without: list[Decoder]
    groups: NDArray[np.int64]
    predicted: NDArray[np.float32]
    kept: str
    alpha: float
    history: History | None


def fit_decoder(
    label: str,
    trials: TrainingTrials,
    settings: DecoderConfig,
    start: str,
    *,
    seed: int,
    device: str,
    precision: Precision,
) -> FittedDecoder:
    """Fit a decoder that does no worse than ridge on stimuli it never saw.

    Ridge's penalty is chosen on all groups in turn. A training that starts from the ridge solution
    without the first group is validated on that group; where it does better by more than twice its
    standard error (``start = "auto"``), or at all, as many steps start from each ridge solution.
    The decoder is then the mean of those without a group each, every one of a seed of its own: no
    test stimulus is among what any of them saw. An MLP, whose weights have no mean, is trained once
    more on all groups.

    Parameters
    ----------
    label : str
        The participant, as reports name it.
    trials : TrainingTrials
    settings : DecoderConfig
    start : {"auto", "ridge", "drawn"}

    Raises
    ------
    ValueError
        No decoder can be fitted on these trials.
    """
    y = trials.targets[trials.row_of[trials.image]]
    report(f"training {label}", 0, 100, "ridge")
    ridge = cross_fit_ridge(trials.x, y, trials.group, device=device)
    base = FittedDecoder(
        ridge.decoder,
        ridge.decoder,
        ridge.without,
        ridge.groups,
        _unit(ridge.predicted),
        "ridge",
        ridge.alpha,
        None,
    )
    warm = settings.kind == "linear" and start != "drawn"
    held = trials.group == ridge.groups[0]
    row = trials.row_of[trials.image]

    def train(
        fit: NDArray[np.bool_], judged: NDArray[np.bool_], initial: Decoder, number: int, steps: int
    ) -> tuple[Decoder, History]:
        return train_decoder(
            trials.x[fit],
            trials.targets,
            row[fit],
            trials.x[judged],
            row[judged],
            replace(settings, steps=steps) if steps else settings,
            seed=seed + number,
            device=device,
            precision=precision,
            on_progress=steps_of(f"training {label}"),
            initial=initial if warm else None,
            keep="last" if steps else "best",
        )

    tried, history = train(~held, held, ridge.without[0], 0, 0)
    steps = history.best_step
    told = replace(base, history=history)
    if steps == 0:
        return told
    if start == "auto" and settings.kind == "linear":
        own = (trials.x[held], trials.targets, row[held])
        gain = _hit(tried, *own) - _hit(ridge.without[0], *own)
        by_image = group_means(gain[:, None], np.unique(row[held], return_inverse=True)[1])[:, 0]
        if not by_image.mean() > _SURELY * by_image.std() / np.sqrt(len(by_image)):
            return told
    # The one that was tried is already without the first group.
    without, predicted = [tried], np.empty_like(base.predicted)
    predicted[held] = tried.predict(trials.x[held])
    for number, (group, initial) in enumerate(zip(ridge.groups, ridge.without, strict=True)):
        if number:
            out = trials.group == group
            without.append(train(~out, out, initial, number, steps)[0])
            predicted[out] = without[-1].predict(trials.x[out])
    if settings.kind == "linear":
        decoder = mean_decoder(without)
    else:
        everything = np.ones(len(held), dtype=bool)
        decoder = train(everything, held, ridge.decoder, len(without), steps)[0]
    return replace(told, decoder=decoder, without=without, predicted=predicted, kept="trained")


def _apart(artefacts: Json) -> int:
    """A number below 900 of each participant's own.

    Drawn alike, the weights of participants with as many voxels would be alike for that alone.
    """
    return int(artefacts["voxels"]["sha256"][:8], 16) % 900


def mean_decoder(decoders: Sequence[Decoder]) -> Decoder:
    """Mean weights of decoders of one kind, each scaled to the same length first."""
    if len(decoders) == 1:
        return decoders[0]
    lengths = [float(np.linalg.norm(each.parameters["weight"])) for each in decoders]
    mean = float(np.mean(lengths))

    def averaged(name: str) -> NDArray[np.float32]:
        scaled = [
            each.parameters[name] * (mean / max(length, 1e-30))
            for each, length in zip(decoders, lengths, strict=True)
        ]
        return np.asarray(np.mean(scaled, axis=0), dtype=np.float32)

    return Decoder(decoders[0].kind, {name: averaged(name) for name in decoders[0].parameters})


def distinct_rows(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distinct vectors, and the row among them of each stimulus.

    Stimuli of one category or caption share a vector: they are one answer of the retrieval, and
    no negatives of each other.
    """
    distinct, row_of = np.unique(vectors, axis=0, return_inverse=True)
    return distinct, row_of.reshape(-1).astype(np.int64)


def load_decoder(reference: Json) -> Decoder:
    """A trained decoder from a result of `train_subject`."""
    tensors = get_store().get(Artefact.model_validate(reference["decoder"]))
    return Decoder.from_tensors(reference["kind"], tensors)


def load_without(reference: Json) -> list[Decoder]:
    """The decoders that were fitted without a group each, from a result of `train_subject`."""
    stacked = get_store().get(Artefact.model_validate(reference["without"]))
    return [
        Decoder.from_tensors(
            reference["kind"],
            {name: stacked[f"{name}_{group}"] for name in NAMES[reference["kind"]]},
        )
        for group in reference["groups"]
    ]


def _known(values: Any) -> Any:
    """Values as JSON can hold them: a loss that was never computed is null."""
    if isinstance(values, dict):
        return {name: _known(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_known(value) for value in values]
    return None if isinstance(values, float) and not np.isfinite(values) else values


def _hits(
    predicted: NDArray[np.float32], pool: NDArray[np.float32], own: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(N,) whether each query finds its own image first."""
    return np.asarray((_unit(predicted) @ pool.T).argmax(axis=1) == own)


def _hit(
    decoder: Decoder, x: NDArray[np.float32], targets: NDArray[np.float32], row: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(N,) 1 where a trial finds its own target first among those of these trials, else 0."""
    pool, own = np.unique(row, return_inverse=True)
    return _hits(decoder.predict(x), targets[pool], own).astype(np.float64)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float32).tiny))


def _accuracies(
    predicted: NDArray[np.float32], pool: NDArray[np.float32], own: NDArray[np.int64]
) -> dict[str, float]:
    # Among k images or fewer every query hits.
    ks = tuple(k for k in POOLS if k < len(pool))
    return {f"top{k}": float(share) for k, share in top_k(predicted, pool, own, ks).items()}

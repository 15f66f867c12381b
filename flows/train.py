"""Stage a: a decoder from brain responses to the encoder's space, for each participant."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.settings import get_settings
from app.store import Artefact
from flows.catalog import DatasetTables
from flows.encoder_choice import naming_alternative
from flows.progress import report, steps_of
from flows.responses import load_responses
from flows.science.decoder import DecoderConfig, History, train_decoder
from flows.science.metrics import top_k
from flows.science.model import Decoder
from flows.science.precision import Precision
from flows.science.ridge import fit_ridge, without_mean
from flows.sources import open_source
from flows.stages import encoder_at, get_store, stage

Json = dict[str, Any]
POOLS = (1, 5, 10, 50)


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

    Raises
    ------
    InputError
        The encoder is unknown, or a stimulus has neither of what it needs.
    """
    loaded = encoder_at(encoder, get_settings().device)
    pictures = None
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
    vectors = loaded.encode_stimuli(captions, pictures)
    report("embedding stimuli", len(keys), len(keys))
    return {
        "vectors": get_store().put({"vectors": vectors.astype(np.float32)}).model_dump(),
        "encoder": {
            "name": loaded.name,
            "dimension": loaded.dimension,
            "checksum": loaded.checksum,
        },
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
    """Train one participant's decoder, and ridge beside it, and test both on single trials.

    Returns
    -------
    dict
        References to the decoder, to the ridge decoder that training started from (or None), and
        to predictions of the validation and test trials, and the metrics.
    """
    store = get_store()
    settings = DecoderConfig(**config)
    trials = load_training(artefacts, vectors, folds)
    targets, row_of = trials.targets, trials.row_of
    x_test, image_test = load_responses(store, artefacts, folds, "test")
    try:
        ridge = fit_ridge(
            trials.x,
            targets[row_of[trials.image]],
            trials.x_validation,
            targets[row_of[trials.image_validation]],
            device=device,
        )
    except ValueError as error:
        raise InputError(f"{label}: {error}") from error
    warm = start == "ridge" and settings.kind == "linear"
    initial = without_mean(ridge, targets[row_of[trials.image]]) if warm else None
    decoder, history = train_on_trials(
        label, trials, settings, initial, seed=seed, device=device, precision=precision
    )
    predicted = {
        "validation": decoder.predict(trials.x_validation),
        "test": decoder.predict(x_test),
    }
    pool, own = np.unique(row_of[image_test], return_inverse=True)
    return {
        "decoder": store.put(decoder.tensors()).model_dump(),
        "kind": decoder.kind,
        # No seed changes it, and it takes most of the time of a training that starts from it.
        "initial": store.put(initial.tensors()).model_dump() if initial else None,
        "predictions": store.put(
            predicted | {"image_validation": trials.image_validation, "image_test": image_test}
        ).model_dump(),
        "metrics": {
            "test": _accuracies(predicted["test"], targets[pool], own),
            "ridge": _accuracies(ridge.predict(x_test), targets[pool], own),
            "pool": len(pool),
            "unmeasured": {
                f"top{k}": f"the pool has {len(pool)} images" for k in POOLS if k >= len(pool)
            },
            "queries": "single trials",
            "trials": {
                "train": len(trials.x),
                "validation": len(trials.x_validation),
                "test": len(x_test),
            },
            "voxels": trials.x.shape[1],
            "history": _known(asdict(history)),
        },
    }


@dataclass(frozen=True)
class TrainingTrials:
    """What one participant's decoder is trained on, and chosen by.

    Parameters
    ----------
    targets : ndarray
        (M, D) distinct vectors of the stimuli.
    row_of : ndarray
        (I,) row of `targets` of each stimulus.
    x, x_validation : ndarray
        (N, V) and (P, V) z-scored responses, single trials.
    image, image_validation : ndarray
        (N,) and (P,) which stimulus each trial showed.
    """

    targets: NDArray[np.float32]
    row_of: NDArray[np.int64]
    x: NDArray[np.float32]
    image: NDArray[np.int64]
    x_validation: NDArray[np.float32]
    image_validation: NDArray[np.int64]


def load_training(artefacts: Json, vectors: Json, folds: list[str]) -> TrainingTrials:
    """One participant's training and validation trials, and the vectors that they are to meet."""
    store = get_store()
    return TrainingTrials(
        *distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"]),
        *load_responses(store, artefacts, folds, "train"),
        *load_responses(store, artefacts, folds, "validation"),
    )


def train_on_trials(
    label: str,
    trials: TrainingTrials,
    settings: DecoderConfig,
    initial: Decoder | None,
    *,
    seed: int,
    device: str,
    precision: Precision,
) -> tuple[Decoder, History]:
    """Train one participant's decoder, and report how far it is.

    Parameters
    ----------
    label : str
        The participant, as errors and reports name it.
    trials : TrainingTrials
    settings : DecoderConfig
    initial : Decoder, optional
        What training starts from, in place of a draw.

    Raises
    ------
    InputError
        No decoder can be trained on these trials.
    """
    try:
        decoder, history = train_decoder(
            trials.x,
            trials.targets,
            trials.row_of[trials.image],
            trials.x_validation,
            trials.row_of[trials.image_validation],
            settings,
            seed=seed,
            device=device,
            precision=precision,
            on_progress=steps_of(f"training {label}"),
            initial=initial,
        )
    except ValueError as error:
        raise InputError(f"{label}: {error}") from error
    report(f"training {label}", settings.steps, settings.steps)
    return decoder, history


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


def _known(values: Any) -> Any:
    """Values as JSON can hold them: a loss that was never computed is null."""
    if isinstance(values, dict):
        return {name: _known(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_known(value) for value in values]
    return None if isinstance(values, float) and not np.isfinite(values) else values


def _accuracies(
    predicted: NDArray[np.float32], pool: NDArray[np.float32], own: NDArray[np.int64]
) -> dict[str, float]:
    # Among k images or fewer every query hits.
    ks = tuple(k for k in POOLS if k < len(pool))
    return {f"top{k}": float(share) for k, share in top_k(predicted, pool, own, ks).items()}

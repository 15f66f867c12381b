"""Stability: the run repeated with further seeds, and how much of it is found again."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from app.errors import InputError
from app.store import Artefact
from flows.catalog import DatasetTables
from flows.config import RunConfig
from flows.mask import fit_on_validation
from flows.progress import report
from flows.reduce import reduce_components
from flows.science.decoder import DecoderConfig
from flows.science.masks import MaskConfig
from flows.science.model import Decoder
from flows.science.precision import Precision
from flows.science.stability import (
    NO_PARTNER,
    cosines,
    mean_known,
    of_others,
    of_partners,
    overlaps,
)
from flows.science.statistics import Floats
from flows.stages import gather, get_store, stage
from flows.train import load_decoder, load_training, train_on_trials
from flows.voxel_clusters import find_clusters

Json = dict[str, Any]

# A reduction of several starts draws each by a seed of its own, counted up from the run's: seeds
# that lie closer would share starts, and agree for that reason alone.
STRIDE = 1000


def further_seeds(seed: int, seeds: int) -> list[int]:
    """The seeds beside a run's own: ``seed + 1000``, ``seed + 2000`` and so on."""
    return [seed + STRIDE * number for number in range(1, seeds)]


def repeat_run(
    dataset: DatasetTables, config: RunConfig, vectors: Json, trained: list[Json], device: str
) -> list[Json]:
    """Repeat training, and what the method makes of it, with every further seed.

    Parameters
    ----------
    trained : list of dict
        What `flows.train.train_subject` found with the run's own seed.

    Returns
    -------
    list of dict
        A seed each, ``components`` (a reference) and ``masks`` (a reference a participant), as
        `compare_seeds` takes them.
    """
    seeds = further_seeds(config.seed, config.stability.seeds)
    decoders = _train(seeds, dataset, config, vectors, trained, device)
    if config.method == "clusters":
        return _find_clusters(seeds, decoders, config, device)
    return _find_masks(seeds, decoders, dataset, config, vectors, device)


def _train(
    seeds: list[int],
    dataset: DatasetTables,
    config: RunConfig,
    vectors: Json,
    trained: list[Json],
    device: str,
) -> list[list[Json]]:
    """Decoders of every seed and participant."""
    training = [
        [
            train_again.submit(
                subject.label,
                subject.artefacts,
                vectors,
                dataset.folds,
                asdict(config.decoder),
                own["initial"],
                seed,
                device,
                config.precision,
            )
            for subject, own in zip(dataset.subjects, trained, strict=True)
        ]
        for seed in seeds
    ]
    return [gather(started) for started in training]


def _find_clusters(
    seeds: list[int], decoders: list[list[Json]], config: RunConfig, device: str
) -> list[Json]:
    """Clusters of every seed's decoders, and each participant's members."""
    clustering = [
        find_clusters.submit(
            [{name: decoder[name] for name in ("decoder", "kind")} for decoder in told],
            asdict(config.clusters),
            device,
        )
        for told in decoders
    ]
    return [
        {"seed": seed, "components": found["components"], "masks": found["members"]}
        for seed, found in zip(seeds, gather(clustering), strict=True)
    ]


def _find_masks(
    seeds: list[int],
    decoders: list[list[Json]],
    dataset: DatasetTables,
    config: RunConfig,
    vectors: Json,
    device: str,
) -> list[Json]:
    """Components and masks of every seed's decoders."""
    reducing = [
        reduce_components.submit(
            vectors,
            [decoder["predictions"] for decoder in told],
            asdict(config.reduction),
            seed,
            device,
        )
        for seed, told in zip(seeds, decoders, strict=True)
    ]
    components = [found["components"] for found in gather(reducing)]
    masking = [
        [
            mask_again.submit(
                subject.label,
                subject.artefacts,
                {"decoder": decoder["decoder"], "kind": decoder["kind"]},
                vectors,
                rows,
                dataset.folds,
                asdict(config.masks),
                seed,
                device,
                config.precision,
            )
            for subject, decoder in zip(dataset.subjects, told, strict=True)
        ]
        for seed, told, rows in zip(seeds, decoders, components, strict=True)
    ]
    return [
        {"seed": seed, "components": rows, "masks": [found["members"] for found in gather(started)]}
        for seed, rows, started in zip(seeds, components, masking, strict=True)
    ]


@stage("train-again", "label")
def train_again(
    label: str,
    artefacts: Json,
    vectors: Json,
    folds: list[str],
    config: Json,
    initial: Json | None,
    seed: int,
    device: str,
    precision: Precision,
) -> Json:
    """Train one participant's decoder with another seed; nothing is tested.

    Parameters
    ----------
    initial : dict, optional
        Reference to the ridge decoder that the run's own training started from.

    Returns
    -------
    dict
        References to the decoder and to its predictions of the validation trials.
    """
    store = get_store()
    trials = load_training(artefacts, vectors, folds)
    ridge = None
    if initial is not None:
        ridge = Decoder.from_tensors("linear", store.get(Artefact.model_validate(initial)))
    try:
        decoder, _ = train_on_trials(
            _at_seed(label, seed),
            trials,
            DecoderConfig(**config),
            ridge,
            seed=seed,
            device=device,
            precision=precision,
        )
    except InputError as error:
        error.hint = "stability.seeds=1 compares no seeds; finished work is kept"
        raise
    return {
        "decoder": store.put(decoder.tensors()).model_dump(),
        "kind": decoder.kind,
        "predictions": store.put(
            {
                "validation": decoder.predict(trials.x_validation),
                "image_validation": trials.image_validation,
            }
        ).model_dump(),
    }


@stage("mask-again", "label")
def mask_again(
    label: str,
    artefacts: Json,
    decoder: Json,
    vectors: Json,
    components: Json,
    folds: list[str],
    config: Json,
    seed: int,
    device: str,
    precision: Precision,
) -> Json:
    """Fit one participant's masks with another seed; nothing is tested.

    Returns
    -------
    dict
        Reference to ``members`` (K, V / 8), the hard masks' bits; a mask that counts for nothing
        has none.
    """
    store = get_store()
    fit = fit_on_validation(
        _at_seed(label, seed),
        artefacts,
        folds,
        store.get(Artefact.model_validate(vectors))["vectors"],
        load_decoder(decoder),
        store.get(Artefact.model_validate(components))["components"],
        MaskConfig(**config),
        seed=seed,
        device=device,
        precision=precision,
    )
    return {"members": store.put({"members": np.packbits(fit.members, axis=1)}).model_dump()}


@stage("compare-seeds")
def compare_seeds(components: Json, masks: list[Json], repeats: list[Json]) -> Json:
    """Match every further seed's components to the run's own, and compare them and their masks.

    Parameters
    ----------
    components : dict
        Reference to ``components`` (K, D).
    masks : list of dict
        A participant each, as `flows.mask.mask_subject` returns them.
    repeats : list of dict
        A ``seed`` each, a reference to its ``components`` (L, D), whose number may be another
        than K, and ``masks``: a reference for each participant to ``members``, bits (L, V / 8),
        or to ``cluster`` (V,), the one component that each voxel belongs to, -1 for none.

    Returns
    -------
    dict
        Reference to ``seed`` (R,), ``partner`` (R, K; -1 for none), ``cosine`` (R, K) and
        ``dice`` (R, S, K), both also of the next best matching (``_runner_up``) and as the mean
        over all others (``_others``), and to the means that are shown: ``component_cosine``,
        ``component_dice`` and ``component_seeds`` (K,). NaN where nothing was measured. And a
        ``summary`` over the whole run.
    """
    store = get_store()
    own = store.get(Artefact.model_validate(components))["components"]
    partners, tables = [], []
    for repeat in repeats:
        others = store.get(Artefact.model_validate(repeat["components"]))["components"]
        tables.append(cosines(own, others))
        first = match(tables[-1])
        partners.append((first, match(tables[-1], without=first)))
    cosine = np.array([_three(table, *pair) for table, pair in zip(tables, partners, strict=True)])
    dice = np.empty((len(repeats), len(masks), 3, len(own)))
    usable = np.empty((len(masks), len(own)), dtype=bool)
    for participant, mask in enumerate(masks):
        members = hard_masks(mask)
        usable[participant] = members.any(axis=1)
        for row, repeat in enumerate(repeats):
            stored = store.get(Artefact.model_validate(repeat["masks"][participant]))
            again = _members(stored, tables[row].shape[1], members.shape[1])
            dice[row, participant] = _three(overlaps(members, again), *partners[row])
        report("comparing seeds", participant + 1, len(masks))
    partner = np.array([first for first, _ in partners])
    arrays = {
        "seed": np.array([repeat["seed"] for repeat in repeats]),
        "partner": partner,
        "component_cosine": mean_known(cosine[:, 0], 0),
        "component_dice": mean_known(dice[:, :, 0], (0, 1)),
        "component_seeds": (partner != NO_PARTNER).sum(axis=0),
    }
    for number, suffix in enumerate(("", "_runner_up", "_others")):
        arrays[f"cosine{suffix}"] = cosine[:, number]
        arrays[f"dice{suffix}"] = dice[:, :, number]
    measured = usable.sum() * len(repeats)
    return {
        "stability": store.put(arrays).model_dump(),
        "summary": {
            "seeds": [repeat["seed"] for repeat in repeats],
            "cosine": {
                "mean": _known(mean_known(cosine[:, 0])),
                "median": _known(_median(cosine[:, 0])),
                "runner_up": _known(mean_known(cosine[:, 1])),
                "others": _known(mean_known(cosine[:, 2])),
            },
            "dice": {
                "mean": _known(mean_known(dice[:, :, 0])),
                "runner_up": _known(mean_known(dice[:, :, 1])),
                "others": _known(mean_known(dice[:, :, 2])),
            },
            "masks_again": float(np.isfinite(dice[:, :, 0]).sum() / measured) if measured else None,
        },
    }


def match(similarity: Floats, *, without: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Partners, one to one, of highest total similarity (Hungarian assignment).

    Parameters
    ----------
    similarity : ndarray
        (K, L) in [-1, 1].
    without : ndarray, optional
        (K,) partners that are not given: what then comes out is the next best matching.

    Returns
    -------
    ndarray
        (K,) columns; -1 where there is none left.

    References
    ----------
    Kuhn 1955, Naval Research Logistics Quarterly 2, 83.
    """
    table = similarity.copy()
    taken = np.zeros(table.shape, dtype=bool)
    if without is not None:
        paired = np.flatnonzero(without != NO_PARTNER)
        taken[paired, without[paired]] = True
        # No gain in all other pairs together makes up for one of these.
        table[taken] = -2 * max(table.shape) - 1
    partner = np.full(len(table), NO_PARTNER, dtype=np.int64)
    rows, columns = linear_sum_assignment(table, maximize=True)
    partner[rows] = np.where(taken[rows, columns], NO_PARTNER, columns)
    return partner


def hard_masks(mask: Json) -> NDArray[np.bool_]:
    """(K, V) members of a participant's masks, none where a mask counts for nothing."""
    soft = get_store().get(Artefact.model_validate(mask["masks"]))["soft"]
    usable = np.array([reason is None for reason in mask["reasons"]], dtype=bool)
    return np.asarray((soft >= mask["threshold"]) & usable[:, None])


def _members(stored: dict[str, NDArray[Any]], count: int, voxels: int) -> NDArray[np.bool_]:
    """(L, V) hard masks, from their bits or from the number that each voxel has."""
    if "cluster" in stored:
        return np.asarray(stored["cluster"] == np.arange(count)[:, None])
    return np.unpackbits(stored["members"], axis=1, count=voxels).astype(bool)


def _three(table: Floats, partner: NDArray[np.int64], runner_up: NDArray[np.int64]) -> Floats:
    """(3, K) values at the partners, at the runners-up, and the mean over all but the partners."""
    return np.stack(
        [of_partners(table, partner), of_partners(table, runner_up), of_others(table, partner)]
    )


def _at_seed(label: str, seed: int) -> str:
    return f"{label} at seed {seed}"


def _median(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    return np.asarray(np.median(known) if known.size else np.nan)


def _known(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None

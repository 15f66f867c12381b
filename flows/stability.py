"""Stability: components and masks sought again by other seeds, stimuli and participants."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.store import Artefact
from flows.fit import Fit, cluster_all, locate_all, to_average, train_all
from flows.mask import hard_masks, soft_masks
from flows.matching import match, match_components
from flows.progress import report
from flows.reduce import again, reduce_components
from flows.run_context import RunContext
from flows.science.folding import draw_again
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
from flows.voxel_clusters import find_clusters

Json = dict[str, Any]


def repeat_run(context: RunContext, whole: Fit) -> list[Json]:
    """Seek components and masks again, each time with another seed and other stimuli.

    Stimuli are drawn with replacement from those that are not test. Decoders are fitted again
    where they start from a draw, or are clustered; what starts from a ridge solution is kept.

    Parameters
    ----------
    context : RunContext
    whole : Fit
        What the run's own seed gave.

    Returns
    -------
    list of dict
        A seed each, ``components`` (a reference) and ``masks`` (a participant each), as
        `compare_seeds` takes them.
    """
    config = context.config
    repeats = []
    for seed in config.further_seeds:
        folds = draw_again(whole.folds, seed)
        if config.method == "clusters":
            # Of one decoder a participant, where the run may have averaged several: what is found
            # again all the same is stable.
            found = cluster_all(context, [[each] for each in train_all(context, folds, seed)])
            masks = found["members"]
        else:
            trained = whole.trained
            if config.drawn:
                trained = train_all(context, whole.folds, seed)
            found = reduce_components.submit(
                context.vectors,
                [each["predictions"] for each in trained],
                folds,
                again(config.reduction, drawn=True),
                seed,
                context.device,
                whole.found["searches"],
            ).result()
            masks = locate_all(context, found["components"], folds)
        repeats.append({"seed": seed, "components": found["components"], "masks": masks})
    return repeats


def seek_without_each(context: RunContext, whole: Fit) -> list[Json] | None:
    """Components that are found without a participant, for each of them, in the run's own order.

    Returns
    -------
    list of dict or None
        A participant each, as `match_components` gives them; None where too few are left.
    """
    config, count = context.config, len(context.labels)
    clusters = config.method == "clusters"
    fewest = config.clusters.min_neighbours + 1 if clusters else 1
    if count - 1 < fewest:
        return None
    seeking: list[Any] = []
    decoders = to_average(context, whole.trained, whole.folds) if clusters else []
    for one in range(count):
        others = [other for other in range(count) if other != one]
        if clusters:
            seeking.append(
                find_clusters.submit(
                    [decoders[other] for other in others],
                    [context.voxels[other] for other in others],
                    asdict(config.clusters),
                    config.seed,
                    context.device,
                    [context.labels[other] for other in others],
                )
            )
        else:
            seeking.append(
                reduce_components.submit(
                    context.vectors,
                    [whole.trained[other]["predictions"] for other in others],
                    whole.folds,
                    again(config.reduction),
                    config.seed,
                    context.device,
                    whole.found["searches"],
                )
            )
    return [
        match_components(
            whole.components, found["components"], context.vectors, config.stability.cosine
        )
        for found in gather(seeking)
    ]


@stage("compare-seeds")
def compare_seeds(
    components: Json, masks: list[Json], repeats: list[Json], vectors: Json, same: float
) -> Json:
    """Match every further seed's components to the run's own, and compare them and their masks.

    Parameters
    ----------
    components : dict
        Reference to ``components`` (K, D).
    masks : list of dict
        A participant each, as `flows.locate.locate_subject` returns them.
    repeats : list of dict
        A ``seed`` each, a reference to its ``components`` (L, D), whose number may be another
        than K, and ``masks``: for each participant what `flows.locate.locate_subject` returned, or
        a reference to ``members``, bits (L, V / 8).
    vectors : dict
        Reference to the stimuli's ``vectors``, whose scores are compared.
    same : float
        Cosine from which a component is found again (`flows.science.stability.cosines`).

    Returns
    -------
    dict
        Reference to ``seed`` (R,), ``partner`` (R, K; -1 for none), ``cosine`` (R, K) and
        ``dice`` (R, S, K), both also of the next best matching (``_runner_up``) and as the mean
        over all others (``_others``), and to the means that are shown: ``component_cosine``,
        ``component_chance`` (of the next best matching), ``component_dice`` and
        ``component_seeds`` (K,). NaN where nothing was measured. Then ``component_found`` (K,), the
        mean cosine where a seed without a partner counts as 0. And a ``summary`` over the whole
        run, with how many components are ``found_again``.
    """
    store = get_store()
    own = store.get(Artefact.model_validate(components))["components"]
    stimuli = store.get(Artefact.model_validate(vectors))["vectors"]
    partners, tables = [], []
    for repeat in repeats:
        others = store.get(Artefact.model_validate(repeat["components"]))["components"]
        tables.append(cosines(own, others, stimuli))
        first = match(tables[-1])
        partners.append((first, match(tables[-1], without=first)))
    cosine = np.array([_three(table, *pair) for table, pair in zip(tables, partners, strict=True)])
    dice = np.empty((len(repeats), len(masks), 3, len(own)))
    usable = np.empty((len(masks), len(own)), dtype=bool)
    for participant, mask in enumerate(masks):
        members = hard_masks(mask)
        usable[participant] = members.any(axis=1)
        for row, repeat in enumerate(repeats):
            repeated = _members(
                repeat["masks"][participant], tables[row].shape[1], members.shape[1]
            )
            dice[row, participant] = _three(overlaps(members, repeated), *partners[row])
        report("comparing seeds", participant + 1, len(masks))
    partner = np.array([first for first, _ in partners])
    arrays = {
        "seed": np.array([repeat["seed"] for repeat in repeats]),
        "partner": partner,
        "component_cosine": mean_known(cosine[:, 0], 0),
        "component_chance": mean_known(cosine[:, 1], 0),
        "component_dice": mean_known(dice[:, :, 0], (0, 1)),
        "component_seeds": (partner != NO_PARTNER).sum(axis=0),
    }
    for number, suffix in enumerate(("", "_runner_up", "_others")):
        arrays[f"cosine{suffix}"] = cosine[:, number]
        arrays[f"dice{suffix}"] = dice[:, :, number]
    arrays["component_found"] = np.nan_to_num(cosine[:, 0], nan=0.0).mean(axis=0)
    above = arrays["component_found"] > np.nan_to_num(arrays["component_chance"], nan=-1.0)
    measured = usable.sum() * len(repeats)
    return {
        "stability": store.put(arrays).model_dump(),
        "summary": {
            "seeds": [repeat["seed"] for repeat in repeats],
            "found_again": int((above & (arrays["component_found"] >= same)).sum()),
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


def _members(found: Json, count: int, voxels: int) -> NDArray[np.bool_]:
    """(L, V) hard masks of a participant's fit, or of their bits."""
    if "masks" in found:
        return hard_masks(found)
    return soft_masks(found, voxels)[:count].astype(bool)


def _three(table: Floats, partner: NDArray[np.int64], runner_up: NDArray[np.int64]) -> Floats:
    """(3, K) values at the partners, at the runners-up, and the mean over all but the partners."""
    return np.stack(
        [of_partners(table, partner), of_partners(table, runner_up), of_others(table, partner)]
    )


def _median(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    return np.asarray(np.median(known) if known.size else np.nan)


def _known(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None

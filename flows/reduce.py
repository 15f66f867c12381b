"""Stage b: the directions of the encoder's space that brains carry."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from app.store import Artefact
from flows.progress import report, steps_of
from flows.refusals import NothingFoundError
from flows.science.reduction import (
    ReductionConfig,
    Search,
    most_components,
    reduce_contrastively,
)
from flows.stages import get_store, stage
from flows.train import distinct_rows

Json = dict[str, Any]

REMEDY = (
    "ingest more trials or participants, or publish them marked as not reproducible with --force"
)


def check_components(vectors: Json, folds: list[str], config: ReductionConfig) -> None:
    """Refuse more components than the stimuli can carry, before anything is trained.

    Raises
    ------
    InputError
        The message names the setting and the largest value that it can have.
    """
    y = get_store().get(Artefact.model_validate(vectors))["vectors"]
    most = most_components(y[np.isin(folds, ("train", "validation"))])
    if not config.is_auto and int(config.components) > most:
        raise InputError(
            f"reduction.components is {config.components}, larger than the data can carry: there "
            f"are {most} distinct vectors or dimensions",
            hint=f"leave it to the data (auto), or set reduction.components to {most} at most",
        )


@stage("reduce-components")
def reduce_components(
    vectors: Json,
    predictions: list[Json],
    folds: list[str],
    config: Json,
    seed: int,
    device: str,
    searches: list[Json] | None = None,
) -> Json:
    """Components from what participants' decoders tell of stimuli that they never saw.

    Parameters
    ----------
    predictions : list of dict
        References of `flows.train.train_subject`, of the participants to find components in.
    folds : list of str
        Trials whose stimulus is train or validation are used.
    searches : list of dict, optional
        Of a reduction that has been made: to look for as many directions again.

    Returns
    -------
    dict
        Reference to ``components``, (K, D) unit rows, with their ``recurrence`` and
        ``start_cosine`` (K,); their ``count``, which may be 0; the ``searches`` that gave them
        (`flows.science.reduction.Search`); and the ``curve``.
    """
    store = get_store()
    targets, row_of = distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"])
    parts = [store.get(Artefact.model_validate(part)) for part in predictions]
    wanted = np.isin(folds, ("train", "validation"))
    used = [wanted[part["image_development"]] for part in parts]
    image = np.concatenate(
        [part["image_development"][own] for part, own in zip(parts, used, strict=True)]
    )
    yhat = np.concatenate(
        [_apart(part["development"][own]) for part, own in zip(parts, used, strict=True)]
    )
    row = row_of[image]
    settings = ReductionConfig(**config)
    try:
        found = reduce_contrastively(
            targets[row],
            yhat,
            row,
            settings,
            seed=seed,
            device=device,
            resampled=image,
            searches=None if searches is None else [Search(**each) for each in searches],
            on_progress=steps_of("finding components"),
        )
    except ValueError as error:
        raise InputError(f"reduction: {error}") from error
    report("finding components", 100, 100)
    return {
        "components": store.put(
            {
                "components": found.components,
                "recurrence": found.recurrence,
                "start_cosine": found.start_cosine,
            }
        ).model_dump(),
        "count": len(found.components),
        "searches": [asdict(search) for search in found.searches],
        "curve": [asdict(point) for point in found.curve],
    }


def _apart(predicted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit predictions less what all have in common.

    A decoder that tells nothing answers all trials alike: every start would find that one answer
    again, and call it reproducible.
    """
    apart = predicted - predicted.mean(axis=0)
    length = np.linalg.norm(apart, axis=1, keepdims=True)
    return np.asarray(apart / np.maximum(length, np.finfo(np.float32).tiny), dtype=np.float32)


def require_components(reduced: Json, config: ReductionConfig) -> None:
    """Refuse to go on where no component was found again.

    Raises
    ------
    NothingFoundError
        No direction was found by enough starts.
    """
    if reduced["count"] == 0:
        tried = ", ".join(str(point["components"]) for point in reduced["curve"])
        raise NothingFoundError(
            f"these components are not reproducible: of {config.starts} starts, each on its own "
            f"draw of the stimuli, no {config.recurrence:.0%} learnt a direction alike (looking "
            f"for {tried} directions each)",
            hint=REMEDY,
        )


def forced(config: ReductionConfig, reduced: Json) -> tuple[Json, list[Json]]:
    """Settings and searches that take whatever two starts find, or one start alone.

    Parameters
    ----------
    reduced : dict
        What `reduce_components` returned where it found nothing.
    """
    most = max(reduced["curve"], key=lambda point: point["found"] - point["drawn"])
    searches = [Search(most["components"], config.steps)]
    return asdict(replace(config, recurrence=1e-9)), [asdict(each) for each in searches]


def again(config: ReductionConfig, *, drawn: bool = False) -> Json:
    """Settings that look for the directions of a reduction that has been made.

    Half of its starts do: what is sought again is compared, and published nowhere. A direction
    counts that half as large a share of them finds: it is known what is looked for, and nothing
    lies near it by chance.

    Parameters
    ----------
    drawn : bool
        Whether the stimuli are a draw with replacement themselves. Starts then take them as they
        are: a draw of a draw holds 40 % of the stimuli, too few for directions that are there.
    """
    return asdict(
        replace(
            config,
            starts=min(config.starts, max(2, config.starts // 2)),
            resample=config.resample and not drawn,
            recurrence=config.recurrence / 2,
        )
    )

"""Stage b: the directions of the encoder's space that brains carry."""

from typing import Any

import numpy as np

from app.errors import InputError
from app.store import Artefact
from flows.progress import report, steps_of
from flows.science.reduction import ReductionConfig, most_components, reduce_contrastively
from flows.stages import get_store, stage
from flows.train import distinct_rows

Json = dict[str, Any]


def check_components(vectors: Json, folds: list[str], config: ReductionConfig) -> None:
    """Refuse more components than validation images can carry, before anything is trained.

    Raises
    ------
    InputError
        The message names the setting and the largest value that it can have.
    """
    y = get_store().get(Artefact.model_validate(vectors))["vectors"]
    most = most_components(np.unique(y[np.array(folds) == "validation"], axis=0))
    for name in ("components", "drawn"):
        if getattr(config, name) > most:
            raise InputError(
                f"reduction.{name} is {getattr(config, name)}, larger than the data can carry: "
                f"the vectors of the validation images span {most} dimensions",
                hint=f"set reduction.{name} to {most} at most",
            )


@stage("reduce-components")
def reduce_components(
    vectors: Json, predictions: list[Json], config: Json, seed: int, device: str
) -> Json:
    """Components from all participants' predictions of their validation trials (METHOD.md b).

    Returns
    -------
    dict
        Reference to ``components``, (K, D) unit rows.
    """
    store = get_store()
    targets, row_of = distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"])
    parts = [store.get(Artefact.model_validate(part)) for part in predictions]
    yhat = np.concatenate([part["validation"] for part in parts])
    row = row_of[np.concatenate([part["image_validation"] for part in parts])]
    participant = np.repeat(np.arange(len(parts)), [len(part["validation"]) for part in parts])
    settings = ReductionConfig(**config)
    try:
        components = reduce_contrastively(
            targets[row],
            yhat,
            row,
            settings,
            seed=seed,
            device=device,
            participant=participant,
            on_progress=steps_of("finding components"),
        )
    except ValueError as error:
        raise InputError(f"reduction: {error}") from error
    report("finding components", settings.steps, settings.steps)
    return {"components": store.put({"components": components}).model_dump()}

"""How sure it is that a participant's decoder tells stimuli at all, and what more trials bring."""

from dataclasses import asdict
from typing import Any

import numpy as np

from app.store import Artefact
from flows.progress import report
from flows.science.learning import learning_curve, pairwise_hits
from flows.science.stats.intervals import share_interval
from flows.stages import get_store, stage
from flows.train import distinct_rows, load_training

Json = dict[str, Any]


@stage("learn-subject", "label")
def learn_subject(
    label: str,
    artefacts: Json,
    vectors: Json,
    folds: list[str],
    alpha: float,
    predictions: Json,
    seed: int,
    device: str,
) -> Json:
    """How a participant's decoder does on test trials, pair by pair, and ridge on fewer trials.

    Parameters
    ----------
    folds : list of str
        Those that the decoder was fitted on.
    alpha : float
        Ridge's penalty, that was chosen on all trials.
    predictions : dict
        Reference to ``test`` and ``image_test``, of all rotations.
    seed : int
        That the groups of `flows.train.train_subject` were drawn by.

    Returns
    -------
    dict
        ``metrics``: ``pairwise`` (`flows.science.learning.pairwise_hits`) of the decoder on the
        test trials, with ``pairwise_interval`` (95 %, over stimuli), where two distinct stimuli
        were tested; and ``learning_curve``, of `flows.science.learning.LearningPoint`.
    """
    store = get_store()
    targets, row_of = distinct_rows(store.get(Artefact.model_validate(vectors))["vectors"])
    told = store.get(Artefact.model_validate(predictions))
    image = told["image_test"]
    metrics: Json = {}
    if len(np.unique(row_of[image])) >= 2:
        pool, own = np.unique(row_of[image], return_inverse=True)
        hits = pairwise_hits(told["test"], targets[pool], own.ravel())
        metrics["pairwise"] = float(hits.mean())
        metrics["pairwise_interval"] = list(share_interval(hits, image, seed=seed))
    trials = load_training(artefacts, vectors, folds, seed)
    points = learning_curve(
        trials.x,
        trials.targets,
        trials.row_of[trials.image],
        trials.image,
        trials.group,
        alpha,
        seed=seed,
        device=device,
    )
    report(f"learning curve of {label}", 1, 1)
    return {"metrics": metrics | {"learning_curve": [asdict(point) for point in points]}}

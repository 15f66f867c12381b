"""A run that finds no component: what is published of it all the same.

Its decoders have been trained, and how they do on test stimuli tells a lab what is missing: trials,
or a brain that answers to what was shown.
"""

from typing import Any

import numpy as np

from app.masks.response import MEMBER
from app.store import Artefact
from flows.compare import fewest_participants
from flows.fit import Fit, train_all
from flows.measure import Measured, join_predictions
from flows.run_context import RunContext, testing_folds
from flows.stages import gather, get_store
from flows.train import measure_decoder

Json = dict[str, Any]


def fit_nothing(context: RunContext, folds: list[str]) -> Fit:
    """Every participant's decoder, as it has been trained already, and no component."""
    store = get_store()
    vectors = store.get(Artefact.model_validate(context.vectors))["vectors"]
    components = store.put(
        {"components": np.zeros((0, vectors.shape[1]), np.float32), "start_cosine": np.zeros(0)}
    ).model_dump()
    masks = []
    for table in context.tables:
        regions, voxels = store.get(Artefact.model_validate(table))["regions"].shape
        arrays = {
            "soft": np.zeros((0, voxels), np.float32),
            "peak": np.zeros(0, np.float32),
            "peak_region": np.zeros((0, regions), np.float32),
        }
        masks.append({"masks": store.put(arrays).model_dump(), "reasons": [], "threshold": MEMBER})
    trained = train_all(context, folds, context.config.seed)
    return Fit(folds, trained, {"count": 0}, components, masks, masks)


def measure_nothing(context: RunContext, whole: Fit) -> Measured:
    """How decoders do on test stimuli; of no component nothing is tested."""
    rotations = testing_folds(context.dataset)
    fits = (
        [whole.trained]
        if context.dataset.rotation is None
        else [train_all(context, folds, context.config.seed) for folds in rotations]
    )
    rows = range(len(context.labels))
    predictions = [
        join_predictions([trained[row]["predictions"] for trained in fits])["predictions"]
        for row in rows
    ]
    metrics = gather(
        [
            measure_decoder.submit(
                label,
                predictions[row],
                context.vectors,
                whole.trained[row]["training"],
                context.config.seed,
            )
            for row, label in enumerate(context.labels)
        ]
    )
    tests = [{"tests": _empty("p_hard"), "untested": []} for _ in rows]
    return Measured(predictions, [each["metrics"] for each in metrics], tests, {}, len(fits))


def compare_nothing(context: RunContext) -> Json:
    """As `flows.compare.compare_subjects`, of no component."""
    count = len(context.labels)
    return {
        "comparison": _empty("p"),
        "reasons": [],
        "shared": 0,
        "untested": [[] for _ in range(count)],
        "minimum": fewest_participants(context.config.statistics.participants, count),
    }


def describe_nothing(context: RunContext) -> tuple[list[list[Json]], list[Json], list[Json]]:
    """As what holds masks against regions, links components, and validates masks."""
    node, edge = ("node", "community", "strength"), ("first", "second")
    network = {
        "network": _empty(*node, *edge, *("dice", "p", "q", "cosine", "weight")),
    }
    validation = {"atlases": [], "maps": [], "overlap": _empty("size")}
    count = len(context.labels)
    return [[] for _ in range(count)], [network] * count, [validation] * count


def _empty(*names: str) -> Json:
    return get_store().put({name: np.zeros(0) for name in names}).model_dump()

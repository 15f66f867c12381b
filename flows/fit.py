"""One fit of a run: decoders, components, and masks of all participants, on given folds."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from flows.mask import mask_subject
from flows.matching import match_components
from flows.reduce import again, forced, reduce_components, require_components
from flows.run_context import RunContext
from flows.stages import gather
from flows.train import train_subject
from flows.voxel_clusters import cover_members, find_clusters, require_clusters

Json = dict[str, Any]
Timed = Callable[[str], AbstractContextManager[None]]

# From so much cosine what a rotation finds stands for a component of the run.
SAME_IN_ROTATION = 0.5


@dataclass(frozen=True)
class Fit:
    """What was found on some folds.

    Attributes
    ----------
    folds : list of str
    trained : list of dict
        A participant each, of `flows.train.train_subject`.
    found : dict
        Of `flows.reduce.reduce_components` or `flows.voxel_clusters.find_clusters`.
    components : dict
        Reference to ``components`` (K, D). Of a rotation, in the run's order, with a row of zeros
        for each that was not found.
    masks : list of dict
        A participant each, of `flows.mask.mask_subject`.
    """

    folds: list[str]
    trained: list[Json]
    found: Json
    components: Json
    masks: list[Json]


def fit_run(context: RunContext, folds: list[str], timed: Timed, *, force: bool = False) -> Fit:
    """Find decoders, components and masks.

    Raises
    ------
    InputError
        A stage cannot work on these data, or no component is found again and `force` is false.
    """
    config = context.config
    with timed("train"):
        trained = train_all(context, folds, config.seed)
    with timed("reduce" if config.method == "masks" else "cluster"):
        if config.method == "clusters":
            found = cluster_all(context, trained)
            require_clusters(found["count"], config.clusters)
        else:
            found = reduce_all(context, trained, folds, asdict(config.reduction))
            if found["count"] == 0 and force:
                found = reduce_all(context, trained, folds, asdict(forced(config.reduction)))
            require_components(found, config.reduction)
    with timed("mask"):
        masks = mask_all(context, trained, found["components"], folds, config.seed, found)
    return Fit(folds, trained, found, found["components"], masks)


def fit_rotation(context: RunContext, whole: Fit, folds: list[str]) -> Fit:
    """Find again, without the stimuli that a rotation tests, what the whole data gave."""
    config = context.config
    trained = train_all(context, folds, config.seed)
    if config.method == "clusters":
        found = cluster_all(context, trained)
    else:
        found = reduce_all(context, trained, folds, again(config.reduction, whole.found))
    matched = match_components(whole.components, found["components"], SAME_IN_ROTATION)
    masks = mask_all(
        context, trained, matched["components"], folds, config.seed, found, matched["partner"]
    )
    return Fit(folds, trained, found, matched["components"], masks)


def train_all(context: RunContext, folds: list[str], seed: int) -> list[Json]:
    """Every participant's decoders."""
    config = context.config
    return gather(
        [
            train_subject.submit(
                subject.label,
                subject.artefacts,
                context.vectors,
                folds,
                asdict(config.decoder),
                config.start,
                seed,
                context.device,
                config.precision,
            )
            for subject in context.dataset.subjects
        ]
    )


def reduce_all(context: RunContext, trained: list[Json], folds: list[str], reduction: Json) -> Json:
    """Components of all participants."""
    return reduce_components.submit(
        context.vectors,
        [each["predictions"] for each in trained],
        folds,
        reduction,
        context.config.seed,
        context.device,
    ).result()


def cluster_all(context: RunContext, trained: list[Json]) -> Json:
    """Clusters of all participants' voxels."""
    return find_clusters.submit(
        [[each] for each in trained],
        context.voxels,
        asdict(context.config.clusters),
        context.config.seed,
        context.device,
        context.labels,
    ).result()


def mask_all(
    context: RunContext,
    trained: list[Json],
    components: Json,
    folds: list[str],
    seed: int,
    found: Json,
    partner: list[int] | None = None,
    *,
    quick: bool = False,
) -> list[Json]:
    """Every participant's masks: fitted, or the members of clusters.

    Parameters
    ----------
    partner : list of int, optional
        Which of the clusters found stands for each component, -1 for none.
    quick : bool
        Whether half of the partitions will do: masks that are compared, and published nowhere.
    """
    config = context.config
    settings = config.masks
    if quick:
        settings = replace(settings, draws=max(1, settings.draws // 2))
    subjects = zip(context.dataset.subjects, trained, context.tables, strict=True)
    if config.method == "clusters":
        return gather(
            [
                cover_members.submit(subject.label, table, decoder, components, members, partner)
                for (subject, decoder, table), members in zip(
                    subjects, found["members"], strict=True
                )
            ]
        )
    return gather(
        [
            mask_subject.submit(
                subject.label,
                subject.artefacts,
                table,
                decoder,
                context.vectors,
                components,
                folds,
                asdict(settings),
                seed,
                context.device,
                config.precision,
            )
            for subject, decoder, table in subjects
        ]
    )

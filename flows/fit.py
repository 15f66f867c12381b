"""One fit of a run: decoders, components, and masks of all participants, on given folds."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from flows.locate import locate_subject
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
        A participant each, of `flows.mask.mask_subject`: the voxels that decoders need.
    located : list of dict
        A participant each, of `flows.locate.locate_subject`: the voxels that respond. Of clusters
        both are their members. None of a rotation, whose stimuli are tested and no more.
    """

    folds: list[str]
    trained: list[Json]
    found: Json
    components: Json
    masks: list[Json]
    located: list[Json]


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
            found = cluster_all(context, to_average(context, trained, folds))
            require_clusters(found["count"], config.clusters)
        else:
            found = reduce_all(context, trained, folds, asdict(config.reduction))
            if found["count"] == 0 and force:
                settings, searches = forced(config.reduction, found)
                found = reduce_all(context, trained, folds, settings, searches)
            require_components(found, config.reduction)
    with timed("mask"):
        masks = mask_all(context, trained, found["components"], folds, config.seed, found)
        located = locate_all(context, found["components"], folds, masks)
    return Fit(folds, trained, found, found["components"], masks, located)


def fit_rotation(context: RunContext, whole: Fit, folds: list[str]) -> Fit:
    """Find again, without the stimuli that a rotation tests, what the whole data gave."""
    config = context.config
    trained = train_all(context, folds, config.seed)
    if config.method == "clusters":
        found = cluster_all(context, to_average(context, trained, folds))
    else:
        settings = again(config.reduction)
        found = reduce_all(context, trained, folds, settings, whole.found["searches"])
    matched = match_components(
        whole.components, found["components"], context.vectors, SAME_IN_ROTATION
    )
    masks = mask_all(
        context, trained, matched["components"], folds, config.seed, found, matched["partner"]
    )
    return Fit(folds, trained, found, matched["components"], masks, [])


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


def reduce_all(
    context: RunContext,
    trained: list[Json],
    folds: list[str],
    reduction: Json,
    searches: list[Json] | None = None,
) -> Json:
    """Components of all participants."""
    return reduce_components.submit(
        context.vectors,
        [each["predictions"] for each in trained],
        folds,
        reduction,
        context.config.seed,
        context.device,
        searches,
    ).result()


def to_average(context: RunContext, trained: list[Json], folds: list[str]) -> list[list[Json]]:
    """For each participant the decoders whose voxels are clustered by their mean.

    Those that start from a draw differ between seeds, and their mean is nearer to what they have
    in common: the run's own and those of its further seeds, as released. Those that start from a
    ridge solution hardly differ, and the run's own stands alone.
    """
    several = [trained]
    if context.config.drawn:
        several += [train_all(context, folds, seed) for seed in context.config.further_seeds]
    return [list(own) for own in zip(*several, strict=True)]


def cluster_all(context: RunContext, decoders: list[list[Json]]) -> Json:
    """Clusters of all participants' voxels, of decoders as `to_average` gives them."""
    return find_clusters.submit(
        decoders,
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
) -> list[Json]:
    """Every participant's masks: fitted, or the members of clusters.

    Parameters
    ----------
    partner : list of int, optional
        Which of the clusters found stands for each component, -1 for none.
    """
    config = context.config
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
                asdict(config.masks),
                seed,
                context.device,
                config.precision,
            )
            for subject, decoder, table in subjects
        ]
    )


def locate_all(
    context: RunContext,
    components: Json,
    folds: list[str],
    masks: list[Json] | None = None,
) -> list[Json]:
    """Where every participant's brain responds to each component.

    Parameters
    ----------
    masks : list of dict, optional
        A participant each, of `mask_all`.
    """
    if context.config.method == "clusters" and masks is not None:
        return masks
    known: list[Json | None] = [None] * len(context.tables) if masks is None else list(masks)
    subjects = zip(context.dataset.subjects, context.tables, known, strict=True)
    return gather(
        [
            locate_subject.submit(
                subject.label,
                subject.artefacts,
                table,
                context.vectors,
                components,
                folds,
                mask,
            )
            for subject, table, mask in subjects
        ]
    )

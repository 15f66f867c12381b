"""The pipeline: from a dataset in the catalog to its published concepts.

The stages in order, each remembered by its inputs, so that a run that was killed goes on where
it stopped:

1. embed the stimuli into the encoder's space, and take their mean off;
2. fit (`flows.fit`): each participant's decoder; components and each participant's voxels that
   carry them, by one of two methods. *masks*: reduce what decoders tell of stimuli that they never
   saw to components, mask each participant's voxels that are needed to tell each of them, and
   locate those that respond to it; *clusters*: cluster the voxels of all participants by what
   their decoders make of them;
3. test on stimuli that nothing has seen (`flows.measure`): of folds that rotate, each group of
   stimuli with what was found without it;
4. repeat with further seeds and other stimuli, seek components without each participant, and see
   how much is found again (`flows.stability`); refuse what is not;
5. hold masks against regions, compare participants, and judge every claim (`flows.compare`);
6. link each participant's components to a network, and hold masks against localisers;
7. see how sure it is that decoders tell anything, and what more trials bring (`flows.learning`);
8. publish, in one transaction, and judge the run (`app.runs.report`).

Where no component is found again, the run ends with its decoders (`flows.nothing`).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from prefect import flow

from app.garbage.service import works
from app.observing.context import bind
from app.settings import get_settings
from flows.caching import code_version, digest
from flows.catalog import DatasetTables, SubjectTables, load_dataset
from flows.compare import cannot_reach, compare_subjects
from flows.config import RunConfig
from flows.encoder_choice import choose_encoder
from flows.fit import Fit, Timed, fit_run
from flows.learning import learn_subject
from flows.locate import interval_regions
from flows.measure import Measured, measure_run, replicate
from flows.network import link_subject
from flows.nothing import compare_nothing, describe_nothing, fit_nothing, measure_nothing
from flows.outcome import next_command, tell_outcome
from flows.publish import PublishedRun, RunResults, index_voxels, publish_run, published_run
from flows.reduce import REMEDY, check_components
from flows.refusals import NothingFoundError
from flows.regions import compare_with_regions
from flows.retries import persevere
from flows.run_context import RunContext, fitting_folds
from flows.runners import examine_site, task_runner
from flows.science.hemispheres import hemispheres
from flows.stability import compare_seeds, repeat_run, seek_without_each
from flows.stages import gather, get_store
from flows.telling import Event, Kind, tell, tell_failure
from flows.train import centre_stimuli, embed_dataset
from flows.validate import validate_subject
from flows.voxel_clusters import require_participants

Json = dict[str, Any]


@flow(
    name="run",
    persist_result=False,
    task_runner=task_runner("local"),
    on_failure=[tell_failure("slug")],
)
@works
def run_pipeline(
    slug: str, options: RunConfig | None = None, *, force: bool = False, promote: bool = False
) -> Json:
    """Run all stages on a dataset and publish what they find.

    What reads the source or the catalog runs in this process; the rest runs where the flow's task
    runner says (`flows.runners`), all participants at once.

    Parameters
    ----------
    slug : str
        The dataset's name.
    options : RunConfig or dict of its values, optional
    force : bool
        Publish components that are not found again, marked so. Without it a run of which none is
        found again is published with its decoders alone: it found nothing.
    promote : bool
        Let the run answer for its dataset even if it found nothing or decodes worse than the
        current one.

    Returns
    -------
    dict
        ``run`` (its id), ``changed``, the ``encoder`` and why it was chosen, ``held_back`` (why it
        was not made current), ``concepts`` (`flows.outcome`), ``verdict`` and ``warnings``
        (`app.runs.report`), and what to do ``next``; of a run that is new, its ``timings`` too.
        The same data, configuration and code give the run that is there already.

    Raises
    ------
    CatalogError
        The dataset is unknown, or a stage cannot work on it; nothing is published.
    """
    bind(dataset=slug)
    config = options or RunConfig()
    device = get_settings().device
    site = examine_site(device)
    dataset = load_dataset(slug)
    encoder, why = choose_encoder(dataset, config.encoder)
    config = config.model_copy(update={"encoder": encoder})
    if config.method == "clusters":
        require_participants(slug, len(dataset.subjects), config.clusters)
    key = digest([dataset.fingerprint, config.model_dump(), code_version(), force])
    if found := published_run(key, promote=promote):
        # The process that published it may have been killed before it came to the index.
        index_voxels()
        return _told(slug, found, encoder, why, changed=False)
    timings: dict[str, float] = {}

    timed = partial(_timed, timings)

    folds = fitting_folds(dataset)
    with timed("embed"):
        embedded = embed_dataset(dataset, encoder)
        vectors = embedded["vectors"]
        if config.centred:
            vectors = centre_stimuli(vectors, folds)["vectors"]
    if config.method == "masks":
        check_components(vectors, folds, config.reduction)
    tables = [voxel_tables(subject) for subject in dataset.subjects]
    context = RunContext(dataset, config, vectors, tables, device)
    nothing: Json | None = None
    try:
        whole = fit_run(context, folds, timed, force=force)
        judged = judge_fit(context, whole, timed, force=force)
    except NothingFoundError as refused:
        nothing = {"reason": refused.message, "hint": refused.hint}
        whole = fit_nothing(context, folds)
        with timed("test"):
            measured = measure_nothing(context, whole)
        judged = Judged(measured, None, [], compare_nothing(context))
    overlaps, networks, validations = (
        describe_nothing(context) if nothing else _describe(context, whole, timed)
    )
    with timed("intervals"):
        intervals = None if nothing else _intervals(context, whole)
    with timed("learn"):
        trained = _learn(context, whole, judged)
    results = RunResults(
        key=key,
        config=config,
        code_version=code_version(),
        device=site.device,
        site=site.summary(),
        timings=timings,
        embedded=embedded,
        trained=trained,
        components=whole.components,
        masks=whole.masks,
        located=whole.located,
        tests=judged.measured.tests,
        overlaps=overlaps,
        intervals=intervals,
        comparison=judged.comparison,
        networks=networks,
        validations=validations,
        stability=judged.stability,
        components_report=_report(context, whole, judged, why, embedded["warnings"]),
        nothing=nothing,
    )
    return _publish(dataset, results, encoder, why, promote=promote)


@dataclass(frozen=True)
class Judged:
    """What is claimed of a fit's components.

    Attributes
    ----------
    measured : Measured
    stability : dict or None
        Of `flows.stability.compare_seeds`.
    repeats : list of dict
        Of `flows.stability.repeat_run`.
    comparison : dict
        Of `flows.compare.compare_subjects`.
    """

    measured: Measured
    stability: Json | None
    repeats: list[Json]
    comparison: Json


def judge_fit(context: RunContext, whole: Fit, timed: Timed, *, force: bool = False) -> Judged:
    """Seek a fit's components again, test its masks, and judge every claim.

    Raises
    ------
    NothingFoundError
        Nothing is found again, and `force` is false.
    """
    config = context.config
    stability, repeats, without = _seek_again(context, whole, timed, force=force)
    with timed("test"):
        measured = measure_run(context, whole)
    with timed("compare"):
        replications = replicate(context, measured, without)
        comparison = compare_subjects.submit(
            whole.components,
            whole.located,
            measured.tests,
            context.tables,
            stability,
            replications,
            None if without is None else [each["cosine"] for each in without],
            config.statistics.participants,
            config.statistics.level,
            config.stability.cosine,
            config.statistics.permutations,
            config.seed,
        ).result()
    return Judged(measured, stability, repeats, comparison)


def _seek_again(
    context: RunContext, whole: Fit, timed: Timed, *, force: bool
) -> tuple[Json | None, list[Json], list[Json] | None]:
    """What other seeds and stimuli find, how they compare, and what is found without each one.

    Raises
    ------
    NothingFoundError
        Nothing is found again, and `force` is false.
    """
    if context.config.stability.seeds < 2:
        return None, [], None
    least = context.config.stability.cosine
    with timed("repeat"):
        repeats = repeat_run(context, whole)
        stability = compare_seeds.submit(
            whole.components, whole.located, repeats, context.vectors, least
        ).result()
        summary = stability["summary"]
        if summary["found_again"] == 0 and not force:
            raise NothingFoundError(
                "these components are not reproducible: of "
                f"{whole.found['count']} none is found again with a cosine of {least:g} by other "
                f"seeds on other draws of the stimuli (mean {_figure(summary['cosine']['mean'])}; "
                f"by chance {_figure(summary['cosine']['runner_up'])})",
                hint=REMEDY,
            )
        return stability, repeats, seek_without_each(context, whole)


def _describe(
    context: RunContext, whole: Fit, timed: Timed
) -> tuple[list[list[Json]], list[Json], list[Json]]:
    """Masks held against regions, components linked to networks, masks against localisers."""
    dataset, config = context.dataset, context.config
    statistics = config.statistics
    subjects = list(zip(dataset.subjects, context.tables, whole.located, strict=True))
    with timed("regions"):
        overlaps = compare_with_regions(
            context.labels,
            whole.located,
            context.tables,
            [len(subject.region_ids) for subject in dataset.subjects],
            statistics.permutations,
            config.seed,
        )
    with timed("link"):
        networks = gather(
            [
                link_subject.submit(
                    subject.label,
                    whole.components,
                    mask,
                    asdict(config.network),
                    statistics.level,
                    config.seed,
                )
                for subject, _, mask in subjects
            ]
        )
    with timed("validate"):
        validations = gather(
            [
                validate_subject.submit(
                    subject.label,
                    mask,
                    table,
                    subject.region_atlases,
                    subject.artefacts.get("maps"),
                    statistics.permutations,
                    config.seed,
                )
                for subject, table, mask in subjects
            ]
        )
    return overlaps, networks, validations


def _learn(context: RunContext, whole: Fit, judged: Judged) -> list[Json]:
    """Decoders with all that is measured of them, how they would do with fewer trials too."""
    decoders = judged.measured.decoders(whole)
    learned = gather(
        [
            learn_subject.submit(
                subject.label,
                subject.artefacts,
                context.vectors,
                whole.folds,
                decoder["training"]["alpha"],
                decoder["predictions"],
                decoder["seed"],
                context.device,
            )
            for subject, decoder in zip(context.dataset.subjects, decoders, strict=True)
        ]
    )
    return [
        decoder | {"metrics": decoder["metrics"] | more["metrics"]}
        for decoder, more in zip(decoders, learned, strict=True)
    ]


def _intervals(context: RunContext, whole: Fit) -> list[Json] | None:
    """Intervals of areas under the curve; none of clusters, whose members are in or out."""
    if context.config.method == "clusters":
        return None
    return gather(
        [
            interval_regions.submit(
                subject.label,
                subject.artefacts,
                table,
                context.vectors,
                whole.components,
                whole.folds,
                located,
                context.config.seed,
            )
            for subject, table, located in zip(
                context.dataset.subjects, context.tables, whole.located, strict=True
            )
        ]
    )


def _report(context: RunContext, whole: Fit, judged: Judged, why: str, captions: list[str]) -> Json:
    """What the catalog tells of how components were found and tested, and what of captions."""
    found, measured = whole.found, judged.measured
    again = judged.stability["summary"]["found_again"] if judged.stability else None
    return {
        "encoder": why,
        "found": found["count"],
        "searches": found.get("searches", []),
        "curve": found.get("curve", []),
        "reproducible": None if again is None else again > 0,
        "found_again": again,
        "rotations": measured.rotations,
        "orders": measured.orders,
        "unreachable": cannot_reach(
            found["count"],
            [subject.region_atlases for subject in context.dataset.subjects],
            context.config.statistics,
        )
        if found["count"]
        else [],
        "captions": captions,
    }


def _publish(
    dataset: DatasetTables, results: RunResults, encoder: str, why: str, *, promote: bool
) -> Json:
    slug = dataset.slug
    published = persevere("publish", lambda: publish_run(dataset, results, promote))
    bind(run=str(published.id))
    index_voxels()
    kind: Kind = "held_back" if published.held_back else "published"
    message = published.held_back or f"run {published.id} answers for {slug}"
    tell(Event(kind, slug, message, run=published.id))
    return _told(slug, published, encoder, why, changed=True) | {"timings": results.timings}


def _told(slug: str, published: PublishedRun, encoder: str, why: str, *, changed: bool) -> Json:
    """What the flow returns of a run that was published, now or before."""
    judged = published.judged
    return {
        "run": published.id,
        "dataset": slug,
        "changed": changed,
        "encoder": encoder,
        "encoder_reason": why,
        "held_back": published.held_back,
        "concepts": tell_outcome(judged),
        "verdict": judged.verdict,
        "warnings": judged.warnings,
        "next": next_command(slug, published.id, judged, held_back=bool(published.held_back)),
    }


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def voxel_tables(subject: SubjectTables) -> Json:
    """Places and regions of a participant's voxels, as a reference that tasks can pass on."""
    return (
        get_store()
        .put(
            {
                "native": subject.native,
                "mni": subject.mni,
                "side": hemispheres(subject.native, subject.mni, subject.mesh),
                "regions": subject.regions.astype("uint8"),
            }
        )
        .model_dump()
    )


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    timings[name] = round(time.monotonic() - started, 3)

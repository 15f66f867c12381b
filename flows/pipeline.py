"""The pipeline: from a dataset in the catalog to its published concepts.

The stages in order, each remembered by its inputs, so that a run that was killed goes on where
it stopped:

1. embed the stimuli into the encoder's space;
2. train each participant's decoder (METHOD.md a);
3. find components and each participant's voxels that carry them, by one of two methods:
   *masks*: reduce what the decoders tell of the validation trials to components (METHOD.md b),
   and mask each participant's voxels for each of them (METHOD.md c);
   *clusters*: cluster the voxels of all participants by their decoder weights (METHOD.md d),
   and measure each participant's members as masks are measured;
4. hold masks against regions, and compare participants (METHOD.md c);
5. link each participant's components to a network, and hold masks against localisers;
6. repeat 2 to 4 with further seeds, and see how much is found again;
7. publish, in one transaction.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from prefect import flow

from app.garbage.service import works
from app.observing.context import bind
from app.settings import get_settings
from flows.caching import code_version, digest
from flows.catalog import SubjectTables, load_dataset
from flows.config import RunConfig
from flows.mask import compare_subjects, mask_subject
from flows.network import link_subject
from flows.outcome import tell_outcome
from flows.publish import RunResults, index_voxels, publish_run, published_run
from flows.reduce import check_components, reduce_components
from flows.regions import compare_with_regions
from flows.retries import persevere
from flows.runners import examine_site, task_runner
from flows.stability import compare_seeds, repeat_run
from flows.stages import gather, get_store
from flows.telling import Event, Kind, tell, tell_failure
from flows.train import embed_dataset, train_subject
from flows.validate import validate_subject
from flows.voxel_clusters import (
    find_clusters,
    measure_members,
    require_clusters,
    require_participants,
)

Json = dict[str, Any]


@flow(
    name="run",
    persist_result=False,
    task_runner=task_runner("local"),
    on_failure=[tell_failure("slug")],
)
@works
def run_pipeline(slug: str, options: RunConfig | None = None) -> Json:
    """Run all stages on a dataset and publish what they find.

    What reads the source or the catalog runs in this process; the rest runs where the flow's task
    runner says (`flows.runners`), all participants at once.

    Parameters
    ----------
    slug : str
        The dataset's name.
    options : RunConfig or dict of its values, optional

    Returns
    -------
    dict
        ``run`` (its id), ``changed``, ``held_back`` (why it was not made current),
        ``timings`` and ``concepts`` (`flows.outcome`). The same data, configuration and code give
        the run that is there already.

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
    if config.method == "clusters":
        require_participants(slug, len(dataset.subjects), config.clusters)
    key = digest([dataset.fingerprint, config.model_dump(), code_version()])
    if found := published_run(key):
        # The process that published it may have been killed before it came to the index.
        index_voxels()
        return {"run": found, "dataset": slug, "changed": False}
    timings: dict[str, float] = {}
    with _timed(timings, "embed"):
        embedded = embed_dataset(dataset, config.encoder)
    vectors = embedded["vectors"]
    if config.method == "masks":
        check_components(vectors, dataset.folds, config.reduction)
    with _timed(timings, "train"):
        trained = gather(
            train_subject.submit(
                subject.label,
                subject.artefacts,
                vectors,
                dataset.folds,
                asdict(config.decoder),
                config.start,
                config.seed,
                device,
                config.precision,
            )
            for subject in dataset.subjects
        )
    decoders = [{name: result[name] for name in ("decoder", "kind")} for result in trained]
    tables = [_tables(subject) for subject in dataset.subjects]
    if config.method == "masks":
        with _timed(timings, "reduce"):
            reducing = reduce_components.submit(
                vectors,
                [result["predictions"] for result in trained],
                asdict(config.reduction),
                config.seed,
                device,
            )
            components = reducing.result()["components"]
        with _timed(timings, "mask"):
            masks = gather(
                mask_subject.submit(
                    subject.label,
                    subject.artefacts,
                    table,
                    decoder,
                    vectors,
                    components,
                    dataset.folds,
                    asdict(config.masks),
                    config.statistics.permutations,
                    config.seed,
                    device,
                    config.precision,
                )
                for subject, table, decoder in zip(dataset.subjects, tables, decoders, strict=True)
            )
    else:
        with _timed(timings, "cluster"):
            clusters = find_clusters.submit(decoders, asdict(config.clusters), device).result()
            require_clusters(clusters["count"], config.clusters)
            components = clusters["components"]
        with _timed(timings, "mask"):
            masks = gather(
                measure_members.submit(
                    subject.label,
                    subject.artefacts,
                    table,
                    decoder,
                    vectors,
                    components,
                    own,
                    dataset.folds,
                    config.statistics.permutations,
                    config.seed,
                    device,
                )
                for subject, table, decoder, own in zip(
                    dataset.subjects, tables, decoders, clusters["members"], strict=True
                )
            )
    with _timed(timings, "regions"):
        overlaps = compare_with_regions(
            [subject.label for subject in dataset.subjects],
            masks,
            tables,
            [len(subject.region_ids) for subject in dataset.subjects],
            config.statistics.permutations,
            config.seed,
        )
    with _timed(timings, "compare"):
        comparing = compare_subjects.submit(
            masks,
            tables,
            config.statistics.participants,
            config.statistics.level,
            config.statistics.permutations,
            config.seed,
        )
        comparison = comparing.result()
    with _timed(timings, "link"):
        networks = gather(
            link_subject.submit(
                subject.label,
                components,
                mask,
                asdict(config.network),
                config.statistics.level,
                config.seed,
            )
            for subject, mask in zip(dataset.subjects, masks, strict=True)
        )
    with _timed(timings, "validate"):
        validations = gather(
            validate_subject.submit(
                subject.label,
                mask,
                table,
                subject.region_atlases,
                subject.artefacts.get("maps"),
                config.statistics.permutations,
                config.seed,
            )
            for subject, table, mask in zip(dataset.subjects, tables, masks, strict=True)
        )
    stability = None
    if config.stability.seeds > 1:
        with _timed(timings, "repeat"):
            repeats = repeat_run(dataset, config, vectors, trained, device)
            stability = compare_seeds.submit(components, masks, repeats).result()
    results = RunResults(
        key=key,
        config=config,
        code_version=code_version(),
        device=site.device,
        site=site.summary(),
        timings=timings,
        embedded=embedded,
        trained=trained,
        components=components,
        masks=masks,
        overlaps=overlaps,
        comparison=comparison,
        networks=networks,
        validations=validations,
        stability=stability,
    )
    published = persevere("publish", lambda: publish_run(dataset, results))
    bind(run=str(published.id))
    index_voxels()
    kind: Kind = "held_back" if published.held_back else "published"
    message = published.held_back or f"run {published.id} answers for {slug}"
    tell(Event(kind, slug, message, run=published.id))
    outcome = tell_outcome([subject.label for subject in dataset.subjects], masks, comparison)
    return {
        "run": published.id,
        "dataset": slug,
        "changed": True,
        "held_back": published.held_back,
        "timings": timings,
        "concepts": outcome,
    }


def _tables(subject: SubjectTables) -> Json:
    """Places and regions of a participant's voxels, as a reference that tasks can pass on."""
    return (
        get_store()
        .put(
            {
                "native": subject.native,
                "mni": subject.mni,
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

"""The pipeline: from a dataset in the catalog to its published concepts.

The stages in order, each remembered by its inputs, so that a run that was killed goes on where
it stopped:

1. embed the stimuli into the encoder's space;
2. train each participant's decoder (METHOD.md a);
3. reduce what the decoders tell of the validation trials to components (METHOD.md b);
4. mask each participant's voxels for each component, and compare participants (METHOD.md c);
5. link each participant's components to a network, and hold masks against localisers;
6. publish, in one transaction.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from prefect import flow

from app.settings import get_settings
from flows.caching import code_version, digest
from flows.catalog import SubjectTables, load_dataset
from flows.config import RunConfig
from flows.mask import compare_subjects, mask_subject
from flows.network import link_subject
from flows.outcome import tell_outcome
from flows.publish import RunResults, publish_run, published_run
from flows.reduce import check_components, reduce_components
from flows.runners import examine_site, task_runner
from flows.stages import gather, get_store
from flows.train import embed_dataset, train_subject
from flows.validate import validate_subject

Json = dict[str, Any]


@flow(name="run", persist_result=False, task_runner=task_runner("local"))
def run_pipeline(slug: str, options: Json | None = None) -> Json:
    """Run all stages on a dataset and publish what they find.

    What reads the source or the catalog runs in this process; the rest runs where the flow's task
    runner says (`flows.runners`), all participants at once.

    Parameters
    ----------
    slug : str
        The dataset's name.
    options : dict, optional
        Values of `RunConfig`.

    Returns
    -------
    dict
        ``run`` (its id), ``changed``, ``timings`` and ``concepts`` (`flows.outcome`). The same
        data, configuration and code give the run that is there already.

    Raises
    ------
    CatalogError
        The dataset is unknown, or a stage cannot work on it; nothing is published.
    """
    config = RunConfig.model_validate(options or {})
    device = get_settings().device
    site = examine_site(device)
    dataset = load_dataset(slug)
    key = digest([dataset.fingerprint, config.model_dump(), code_version()])
    if found := published_run(key):
        return {"run": found, "dataset": slug, "changed": False}
    timings: dict[str, float] = {}
    with _timed(timings, "embed"):
        embedded = embed_dataset(dataset, config.encoder)
    vectors = embedded["vectors"]
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
    with _timed(timings, "reduce"):
        reducing = reduce_components.submit(
            vectors,
            [result["predictions"] for result in trained],
            asdict(config.reduction),
            config.seed,
            device,
        )
        components = reducing.result()["components"]
    tables = [_tables(subject) for subject in dataset.subjects]
    with _timed(timings, "mask"):
        masks = gather(
            mask_subject.submit(
                subject.label,
                subject.artefacts,
                table,
                {"decoder": result["decoder"], "kind": result["kind"]},
                vectors,
                components,
                dataset.folds,
                asdict(config.masks),
                config.statistics.permutations,
                config.seed,
                device,
                config.precision,
            )
            for subject, table, result in zip(dataset.subjects, tables, trained, strict=True)
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
    run = publish_run(
        dataset,
        RunResults(
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
            comparison=comparison,
            networks=networks,
            validations=validations,
        ),
    )
    outcome = tell_outcome([subject.label for subject in dataset.subjects], masks, comparison)
    return {
        "run": run,
        "dataset": slug,
        "changed": True,
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

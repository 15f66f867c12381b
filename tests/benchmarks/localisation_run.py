"""A default fit of a planted cohort, and its masks and others of the same components."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prefect import flow

from app.settings import get_settings
from app.store import Artefact
from flows.catalog import load_dataset
from flows.config import IngestConfig, RunConfig
from flows.fit import fit_run
from flows.ingest import ingest_dataset
from flows.mask import hard_masks
from flows.pipeline import voxel_tables
from flows.responses import load_mean_responses
from flows.run_context import RunContext, fitting_folds
from flows.science.metrics import auc
from flows.science.response_maps import find_responding_voxels
from flows.stages import get_store
from flows.train import centre_stimuli, development_folds, embed_dataset
from tests.benchmarks.localisation import (
    COHORT,
    DIRECTIONS,
    NEEDED,
    OURS,
    RIVALS,
    Located,
    Placed,
    cut,
    place,
    two_ways,
)
from tests.support.cohorts.manifest import TABLE, rows_of
from tests.support.cohorts.recovery import PLANTED_R, recovery

Json = dict[str, Any]


@flow(name="located-of", persist_result=False)
def located_of(path: str, cohort: Any) -> Located:
    """Ingest and fit a cohort; hold the masks of each shared concept against the planted voxels."""
    slug = ingest_dataset(path, IngestConfig(), replace=True)["dataset"]
    dataset = load_dataset(slug)
    spec = f"vectors:{Path(path) / TABLE}"
    folds = fitting_folds(dataset)
    vectors = centre_stimuli(embed_dataset(dataset, spec)["vectors"], folds)["vectors"]
    tables = [voxel_tables(subject) for subject in dataset.subjects]
    context = RunContext(dataset, RunConfig(encoder=spec), vectors, tables, get_settings().device)
    fit = fit_run(context, folds, lambda name: nullcontext())
    store = get_store()
    components = _arrays(fit.components)["components"]
    told = [each for each in recovery(cohort, components)["concepts"] if each["shared"]]
    shared = np.flatnonzero(cohort.shared)
    nearest = np.array([each["component"] for each in told])
    targets = _arrays(vectors)["vectors"]
    rng = np.random.default_rng(0)
    random = rng.standard_normal((DIRECTIONS, len(targets))) @ targets

    areas: dict[str, list[NDArray[np.floating]]] = {}
    less, random_area, kept, overlapping, meaningless = [], [], [], [], []
    for number, part in enumerate(cohort.participants):
        places = _arrays(tables[number])["native"]
        index = (places - part.affine[:3, 3]) @ np.linalg.inv(part.affine[:3, :3]).T
        rows = rows_of(part, np.rint(index).astype(np.int64))
        planted = part.planted[:, rows]
        truth = planted[shared]
        x, shown = load_mean_responses(
            store, dataset.subjects[number].artefacts, development_folds(folds), "development"
        )
        scores = targets[shown] @ components.T
        located = _arrays(fit.located[number]["masks"])
        hard = hard_masks(fit.located[number])
        counts = hard.sum(axis=1)
        needed = _arrays(fit.masks[number]["masks"])["soft"]
        ways = {
            OURS: (located["soft"], hard),
            NEEDED: (needed, hard_masks(fit.masks[number])),
        }
        for name, rival in RIVALS.items():
            for way, maps in two_ways(name, rival(scores, x), located["sign"]).items():
                masks = [cut(own, count) for own, count in zip(maps, counts, strict=True)]
                ways[way] = (maps, np.array(masks))
        for name, (soft, members) in ways.items():
            areas.setdefault(name, []).append(
                np.array(
                    [
                        place(soft[component], members[component], own)
                        for component, own in zip(nearest, truth, strict=True)
                    ]
                )
            )
        less.append(located["sign"][nearest] < 0)
        other = find_responding_voxels(targets[shown] @ random.T, x, places).soft
        random_area.append(np.array([auc(other.T, own) for own in truth]).T)
        kept.append(len(rows))
        overlapping.append((planted.sum(axis=0) > 1).sum() / planted.any(axis=0).sum())
        reliable = part.ceiling[rows] > 0
        meaningless.append((reliable & ~planted.any(axis=0)).sum() / reliable.sum())
    assert COHORT.sizes is not None
    return Located(
        concepts=tuple(each["name"] for each in told),
        sizes=np.array(COHORT.sizes),
        found=np.array([each["score_r"] >= PLANTED_R for each in told]),
        ways={
            name: Placed(*np.moveaxis(np.array(values), 2, 0).transpose(0, 2, 1))
            for name, values in areas.items()
        },
        less=np.array(less).T,
        random_area=np.moveaxis(np.array(random_area), 0, 2),
        kept=float(np.mean(kept)),
        overlapping=float(np.mean(overlapping)),
        meaningless=float(np.mean(meaningless)),
    )


def _arrays(reference: Json) -> dict[str, NDArray[Any]]:
    return get_store().get(Artefact.model_validate(reference))

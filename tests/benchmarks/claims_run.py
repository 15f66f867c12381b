"""A default run of a planted cohort, and other directions judged in place of its components."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prefect import flow

from app.settings import get_settings
from app.store import Artefact
from flows.catalog import load_dataset
from flows.config import IngestConfig, RunConfig
from flows.fit import Fit, fit_run, locate_all, mask_all
from flows.ingest import ingest_dataset
from flows.mask import hard_masks
from flows.pipeline import judge_fit, voxel_tables
from flows.run_context import RunContext, fitting_folds
from flows.science.claims import NAMES, YES
from flows.science.metrics import auc
from flows.stages import get_store
from flows.train import centre_stimuli, embed_dataset
from tests.support.cohorts.manifest import TABLE
from tests.support.cohorts.recovery import recovery

Json = dict[str, Any]

# What is asked of masks: soft ones by their order, hard ones by whom they name; in so many of the
# participants who carry a concept.
AREA, PURITY, RECALL, SHARE = 0.95, 0.8, 0.6, 0.75


@flow(name="claims-of", persist_result=False)
def claims_of(path: str, cohort: Any, directions: int, *, clip: bool) -> dict[str, str]:
    """Ingest and fit a cohort, and judge its components and others in their place."""
    slug = ingest_dataset(path, IngestConfig(), replace=True)["dataset"]
    dataset = load_dataset(slug)
    spec = f"vectors:{Path(path) / TABLE}" if clip else "caption:all-MiniLM-L6-v2"
    config = RunConfig(encoder=spec)
    folds = fitting_folds(dataset)
    vectors = centre_stimuli(embed_dataset(dataset, spec)["vectors"], folds)["vectors"]
    tables = [voxel_tables(subject) for subject in dataset.subjects]
    context = RunContext(dataset, config, vectors, tables, get_settings().device)
    whole = fit_run(context, folds, lambda name: nullcontext())
    rows = _rows(whole.components)
    told = {}
    verdicts, figures = _judge(context, whole)
    # Directions of the centred space are directions of the encoder's.
    found = recovery(cohort, rows)
    planted = np.array([each["planted"] for each in found["components"]])
    looked = ", ".join(
        f"{each['components']} in {each['steps']} steps" for each in whole.found["searches"]
    )
    concept_of = np.array([each["concept"] for each in found["components"]])
    shared = verdicts["shared"] == YES
    names = [each["name"] for each in found["concepts"] if each["shared"]]
    have = {name: bool((shared & planted & (concept_of == name)).any()) for name in names}
    alone = [each["name"] for each in found["concepts"] if not each["shared"]]
    told["components"] = (
        f"{len(rows)} found (each start looked for {looked}), {planted.sum()} "
        f"planted (r of the scores >= 0.8); matched cosine of further seeds {figures['cosine']}"
    )
    told["shared"] = (
        f"{sum(have.values())} of {len(names)} planted shared concepts; of {shared.sum()} called "
        f"shared {(shared & planted).sum()} are planted; missed: "
        f"{', '.join(name for name, yes in have.items() if not yes) or 'none'}; the concept of one "
        f"participant ({', '.join(alone)}): "
        + ("shared" if (shared & planted & np.isin(concept_of, alone)).any() else "not shared")
    )
    told["claims of these"] = _shares(verdicts)
    told |= _localisation(context, whole, cohort, found, np.flatnonzero(planted))
    rng = np.random.default_rng(0)
    targets = get_store().get(Artefact.model_validate(vectors))["vectors"]
    sets: dict[str, NDArray[np.floating]] = {
        "isotropic": rng.standard_normal((directions, targets.shape[1])),
        "stimuli's covariance": rng.standard_normal((directions, len(targets))) @ targets,
    }
    if directions == 0:
        return told
    pairs = list(combinations(np.flatnonzero(planted), 2))
    if pairs:
        sets["mixtures of two planted"] = np.array([rows[a] + rows[b] for a, b in pairs])
    for name, others in sets.items():
        placed = _in_place(context, whole, others)
        told[f"{len(others)} {name}"] = _shares(_judge(context, placed)[0])
    return told


def _judge(context: RunContext, fit: Fit) -> tuple[dict[str, NDArray[np.int8]], Json]:
    judged = judge_fit(context, fit, lambda name: nullcontext(), force=True)
    stored = get_store().get(Artefact.model_validate(judged.comparison["comparison"]))
    cosine = judged.stability["summary"]["cosine"] if judged.stability else {}
    return (
        {name: stored[name] for name in (*NAMES, "shared")},
        {"cosine": f"{cosine.get('mean'):.2f} (next best {cosine.get('runner_up'):.2f})"},
    )


def _in_place(context: RunContext, whole: Fit, directions: NDArray[np.floating]) -> Fit:
    """The fit with other directions in place of its components, and masks of these."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    components = get_store().put({"components": unit.astype(np.float32)}).model_dump()
    masks = mask_all(
        context, whole.trained, components, whole.folds, context.config.seed, whole.found
    )
    located = locate_all(context, components, whole.folds, masks)
    return replace(whole, components=components, masks=masks, located=located)


def _localisation(
    context: RunContext, fit: Fit, cohort: Any, found: Json, components: NDArray[np.intp]
) -> dict[str, str]:
    """How the masks of planted concepts lie on the voxels that they were planted in.

    Beside the voxels that respond stand, where they were fitted, those that the decoder needs.
    """
    names = [each["name"] for each in found["concepts"]]
    kinds: dict[str, dict[str, list[tuple[float, float, float]]]] = {"responding": {}}
    if context.config.method == "masks":
        kinds["needed"] = {}
    less = 0
    for row, part in enumerate(cohort.participants):
        places = get_store().get(Artefact.model_validate(context.tables[row]))["native"]
        index = (places - part.affine[:3, 3]) @ np.linalg.inv(part.affine[:3, :3]).T
        kept = _rows_of(np.rint(index).astype(np.int64), part.voxel)
        located = get_store().get(Artefact.model_validate(fit.located[row]["masks"]))
        for kind, masks in zip(kinds, (fit.located[row], fit.masks[row]), strict=False):
            soft = get_store().get(Artefact.model_validate(masks["masks"]))["soft"]
            hard = hard_masks(masks)
            for component in components:
                concept = found["components"][component]["concept"]
                truth = part.planted[names.index(concept)][kept]
                if not truth.any():
                    continue
                both = (hard[component] & truth).sum()
                kinds[kind].setdefault(concept, []).append(
                    (
                        float(auc(soft[component][:, None], truth)[0]),
                        float(both / max(hard[component].sum(), 1)),
                        float(both / truth.sum()),
                    )
                )
                less += (
                    kind == "responding"
                    and located.get("sign", np.ones(1 + component))[component] < 0
                )
    told = {}
    for kind, concepts in kinds.items():
        means = np.array([each for values in concepts.values() for each in values]).mean(axis=0)
        ordered = sum(
            np.mean([area >= AREA for area, _, _ in values]) >= SHARE
            for values in concepts.values()
        )
        named = sum(
            np.mean([p >= PURITY and r >= RECALL for _, p, r in values]) >= SHARE
            for values in concepts.values()
        )
        told[f"{kind} voxels"] = (
            f"AUC {means[0]:.3f}, purity {means[1]:.3f}, recall {means[2]:.3f}; in three of four "
            f"participants AUC >= {AREA} {ordered}, purity >= {PURITY} and recall >= {RECALL} "
            f"{named}, of {len(concepts)} concepts"
            + (f"; said to respond less {less}" if kind == "responding" else "")
        )
    return told


def _rows_of(wanted: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.intp]:
    """Rows of `among` that hold the wanted indices."""
    row_of = {tuple(each): row for row, each in enumerate(among.tolist())}
    return np.array([row_of[tuple(each)] for each in wanted.tolist()])


def _shares(verdicts: dict[str, NDArray[np.int8]]) -> str:
    return ", ".join(f"{name} {np.mean(verdict == YES):.3f}" for name, verdict in verdicts.items())


def _rows(components: Json) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = get_store().get(Artefact.model_validate(components))["components"]
    return rows

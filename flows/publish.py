"""Publication of a run: all that its stages found becomes visible in one transaction."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.commands import actor
from app.database.copying import copy_rows
from app.database.engine import open_session
from app.database.models import (
    Component,
    ComponentCommunity,
    ComponentEdge,
    ComponentRegion,
    ComponentStimulus,
    ComponentSubject,
    ComponentVoxel,
    Dataset,
    Decoder,
    Encoder,
    Run,
    StimulusVector,
    Subject,
    VoxelVector,
)
from app.encoders.service import nearest_terms, register_encoder
from app.errors import ConflictError
from app.runs.report import judge_run
from app.runs.schemas import Judgement
from app.runs.service import promote_run
from app.runs.standing import fall_between
from app.runs.stored import FOUND_NOTHING, NOTHING, PARTICIPANTS, REPORT
from app.settings import get_settings
from app.store import Artefact
from app.terms.vocabulary import vocabulary_of
from app.voxels.indexing import index_runs
from flows.catalog import DatasetTables, SubjectTables
from flows.config import RunConfig
from flows.mask import hard_masks
from flows.outcome import tell_outcome
from flows.progress import report, steps_of
from flows.publish_claims import (
    component_columns,
    correct_by_atlas,
    stability_columns,
    subject_columns,
)
from flows.publish_dataset import nullable
from flows.publish_maps import write_maps
from flows.publish_negations import farthest_terms, write_far_stimuli
from flows.publish_validation import write_atlases, write_validation
from flows.regions import join_blocks
from flows.stages import encoder_at, get_store
from flows.train import load_decoder

Json = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

log = logging.getLogger(__name__)

# Of a decoder's metrics, beside its top-k accuracies, what the run's tell.
OF_DECODER = (
    *("pool", "unmeasured", "top1_interval", "against_ridge"),
    *("pairwise", "pairwise_interval", "learning_curve"),
)
# What ingestion counts of voxels that it drops, and how that is told.
_DROPPED = {"not_finite": "not finite", "constant": "constant", "below_threshold": ""}
TERMS = 10
LABEL_TERMS = 3


@dataclass(frozen=True)
class RunResults:
    """References to everything that a run found, stage by stage."""

    key: str
    config: RunConfig
    code_version: str
    device: str
    timings: dict[str, float]
    embedded: Json
    trained: list[Json]
    components: Json
    masks: list[Json]
    located: list[Json]
    tests: list[Json]
    overlaps: list[list[Json]]
    intervals: list[Json] | None
    comparison: Json
    networks: list[Json]
    validations: list[Json]
    stability: Json | None
    site: Json
    components_report: Json | None = None
    nothing: Json | None = None


@dataclass(frozen=True)
class PublishedRun:
    """A run that was published.

    Attributes
    ----------
    id : int
    held_back : str
        Why it does not answer for its dataset; empty where it does.
    judged : Judgement
        What it is worth.
    """

    id: int
    held_back: str
    judged: Judgement


def published_run(key: str, *, promote: bool = False) -> PublishedRun | None:
    """The run with this key, where it has been published; made current where `promote` is true."""
    with open_session() as session, session.begin():
        run = session.scalar(select(Run).where(Run.key == key))
        if run is None:
            return None
        if promote:
            promote_run(session, run.id, actor())
        return _told(session, run, "" if promote else run.metrics.get("held_back", ""))


def publish_run(dataset: DatasetTables, results: RunResults, promote: bool = False) -> PublishedRun:
    """Write a run, and make it the dataset's current one unless it found nothing or decodes worse.

    It found nothing where there is no component, or none that any participant carries. It decodes
    worse than the current one where a top-k accuracy on the test trials fell by more than the
    setting ``largest_fall``. It can be read by its id then, and `promote`, or ``sdc runs
    --promote``, makes it current. All of it is written or nothing; where a run of its key is there
    already, that one is returned.

    Raises
    ------
    ConflictError
        The dataset changed while the run was under way, or the encoder's name stands for
        other weights or another dimension in the catalog.
    """
    store = get_store()
    components = store.get(Artefact.model_validate(results.components))["components"]
    vectors = store.get(Artefact.model_validate(results.embedded["vectors"]))["vectors"]
    encoder = encoder_at(results.config.encoder, get_settings().device)
    report("publishing", 0, 2 + len(dataset.subjects))
    with open_session() as session, session.begin():
        _require_unchanged(session, dataset)
        if found := session.scalar(select(Run).where(Run.key == results.key)):
            return _told(session, found, found.metrics.get("held_back", ""))
        space = register_encoder(
            session,
            encoder,
            results.config.encoder,
            on_progress=steps_of("embedding the vocabulary"),
        )
        _write_stimuli(session, dataset, space, vectors)
        run = Run(
            dataset_id=dataset.id,
            encoder_id=space.id,
            key=results.key,
            method=results.config.method,
            configuration=results.config.model_dump(mode="json"),
            code_version=results.code_version,
            seed=results.config.seed,
            device=results.device,
            timings=results.timings,
            metrics=_metrics(session, dataset, results),
            reproducible=(results.components_report or {}).get("reproducible"),
            parents={
                "vectors": results.embedded["vectors"]["sha256"],
                "components": results.components["sha256"],
                "comparison": results.comparison["comparison"]["sha256"],
                "networks": {
                    subject.label: linked["network"]["sha256"]
                    for subject, linked in zip(dataset.subjects, results.networks, strict=True)
                },
            }
            | (
                {"stability": results.stability["stability"]["sha256"]} if results.stability else {}
            ),
        )
        session.add(run)
        session.flush()
        report("publishing", 1, 2 + len(dataset.subjects))
        comparison = store.get(Artefact.model_validate(results.comparison["comparison"]))
        ids = _write_components(
            session, run, components, comparison, results, space, vocabulary_of(encoder)
        )
        for row, subject in enumerate(dataset.subjects):
            _write_subject(session, run, subject, results, row, ids, comparison)
            trained, located = results.trained[row], results.located[row]
            write_maps(session, subject, trained, located, components, ids)
            _write_network(session, subject, results.networks[row], ids)
            write_atlases(session, subject, results.validations[row], results.masks[row], ids)
            report("publishing", 2 + row, 2 + len(dataset.subjects))
        if ids:
            _write_examples(session, dataset, results, components, ids)
            write_far_stimuli(
                session,
                ids,
                components,
                dataset.stimulus_ids,
                vectors,
                space,
                results.config.statistics.stimuli,
            )
            write_validation(session, run, space, encoder, results.config.validation.probes)
        judged = judge_run(session, run)
        run.metrics = run.metrics | {
            "concepts": tell_outcome(judged),
            FOUND_NOTHING: judged.found_nothing,
            REPORT: judged.model_dump(mode="json"),
        }
        held_back = _make_current(session, run, judged, promote=promote)
        published = PublishedRun(run.id, held_back, judged)
    report("publishing", 2 + len(dataset.subjects), 2 + len(dataset.subjects))
    return published


def _told(session: Session, run: Run, held_back: str) -> PublishedRun:
    return PublishedRun(run.id, held_back, judge_run(session, run))


def _make_current(session: Session, run: Run, judged: Judgement, *, promote: bool) -> str:
    """Let a run answer for its dataset, or tell why not, as `publish_run` says."""
    dataset = session.get_one(Dataset, run.dataset_id, with_for_update=True)
    current = session.get(Run, dataset.current_run_id) if dataset.current_run_id else None
    why = ""
    if judged.found_nothing:
        why = judged.verdict
    # What another encoder's vectors decode cannot be compared, and whoever changes it wants it.
    elif current is not None and current.encoder_id == run.encoder_id:
        largest = get_settings().largest_fall
        why = str(fall_between(current.id, current.metrics, run.metrics, largest) or "")
    if why and promote:
        promote_run(session, run.id, actor())
        return ""
    if why:
        run.metrics = run.metrics | {"held_back": why}
    else:
        dataset.current_run_id = run.id
    return why


def index_voxels() -> None:
    """Index the voxels of runs that have many; a run that could not be indexed stays published."""
    try:
        index_runs(report)
    except DBAPIError as error:
        log.warning(
            "the run is published, but its voxels have no index, and are asked one by one: %s; "
            "`sdc db index` tries again",
            str(error.orig).strip().splitlines()[0],
        )


def _require_unchanged(session: Session, dataset: DatasetTables) -> None:
    stored = session.scalar(
        select(Dataset.fingerprint).where(Dataset.id == dataset.id).with_for_update()
    )
    if stored != dataset.fingerprint:
        raise ConflictError(
            f"the dataset {dataset.slug} changed while the run was under way",
            hint=f"run again: sdc run {dataset.slug}",
        )


def _metrics(session: Session, dataset: DatasetTables, results: RunResults) -> Json:
    return {
        "decoders": {
            subject.label: trained["metrics"]["test"]
            | {name: trained["metrics"][name] for name in OF_DECODER if name in trained["metrics"]}
            for subject, trained in zip(dataset.subjects, results.trained, strict=True)
        },
        PARTICIPANTS: {
            subject.label: _of_ingestion(session, dataset, subject) for subject in dataset.subjects
        },
        "shared_minimum": results.comparison["minimum"],
        "site": results.site,
        **({"components": results.components_report} if results.components_report else {}),
        **({"stability": results.stability["summary"]} if results.stability else {}),
        **({NOTHING: results.nothing} if results.nothing else {}),
    }


def _of_ingestion(session: Session, dataset: DatasetTables, subject: SubjectTables) -> Json:
    """Which of a participant's voxels there are, and their noise ceilings, as a run keeps them.

    The participant's own report is that of the newest ingestion, which may come after the run.
    """
    report_ = session.get_one(Subject, subject.id).report
    voxels = get_store().get(Artefact.model_validate(subject.artefacts["voxels"]))
    threshold = dataset.configuration.get("noise_ceiling")
    limit = "" if threshold is None else f" {threshold:g} %"
    dropped = {
        told or f"noise ceiling at most{limit}": report_[name]
        for name, told in _DROPPED.items()
        if report_.get(name)
    }
    told: Json = {
        "voxels": {
            "in_mask": report_.get("in_mask", len(voxels["kept"])),
            "kept": len(voxels["kept"]),
            "dropped": dropped,
            "rule": report_.get("voxel_rule"),
        }
    }
    ceiling = voxels["noise_ceiling"]
    known = ceiling[np.isfinite(ceiling)]
    if not len(known):
        repeats = np.bincount(voxels["image"]).max(initial=0)
        why = "every image was shown once"
        return told | {
            "no_noise_ceiling": why if repeats == 1 else "no image has three training repeats"
        }
    above = None
    if threshold is not None:
        usable = len(ceiling) + report_.get("below_threshold", 0)
        above = float((known > threshold).sum() / usable)
    return told | {
        "noise_ceiling": {
            "median": float(np.median(known)),
            "threshold": threshold,
            "above": above,
        }
    }


def _write_stimuli(
    session: Session, dataset: DatasetTables, space: Encoder, vectors: NDArray[np.float32]
) -> None:
    if space.stimulus_mean is None:
        trains = np.array(dataset.folds) == "train"
        space.stimulus_mean = vectors[trains].mean(axis=0)
    rows = [
        {"stimulus_id": stimulus, "encoder_id": space.id, "vector": vector}
        for stimulus, vector in zip(dataset.stimulus_ids, vectors, strict=True)
    ]
    session.execute(insert(StimulusVector).on_conflict_do_nothing(), rows)


def _write_components(
    session: Session,
    run: Run,
    vectors: NDArray[np.float32],
    comparison: Arrays,
    results: RunResults,
    space: Encoder,
    words: list[str],
) -> list[int]:
    if not len(vectors):
        return []
    stability = _stability(results.stability, len(vectors))
    claims = component_columns(comparison, results.comparison["reasons"], len(vectors))
    # A label must not depend on which terms have been added to the catalog.
    terms = nearest_terms(session, vectors, space, TERMS, among=words)
    negations = farthest_terms(session, vectors, space, TERMS, among=words)
    rows = [
        Component(
            run_id=run.id,
            encoder_id=space.id,
            index=index,
            label=", ".join(terms[index][:LABEL_TERMS]),
            terms=terms[index],
            negations=negations[index],
            vector=vector,
            **claims[index],
            **stability[index],
        )
        for index, vector in enumerate(vectors)
    ]
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]


def _stability(found: Json | None, count: int) -> list[Json]:
    """Columns of each component that tell how far other seeds find it; none where unmeasured."""
    if found is None:
        return [{}] * count
    return stability_columns(get_store().get(Artefact.model_validate(found["stability"])), count)


def _write_subject(
    session: Session,
    run: Run,
    subject: SubjectTables,
    results: RunResults,
    row: int,
    ids: list[int],
    comparison: Arrays,
) -> None:
    store = get_store()
    trained, masked, located = results.trained[row], results.masks[row], results.located[row]
    decoder = load_decoder(trained)
    artefact = Artefact.model_validate(trained["decoder"])
    session.add(
        Decoder(
            run_id=run.id,
            subject_id=subject.id,
            encoder_id=run.encoder_id,
            kind=trained["kind"],
            metrics=trained["metrics"],
            artefact_uri=f"{store.url}/{artefact.path}",
            artefact_sha256=artefact.sha256,
            masks_sha256=located["masks"]["sha256"],
        )
    )
    if trained["kind"] == "linear":
        _write_vectors(session, run, subject, decoder.voxel_vectors())
    fit = store.get(Artefact.model_validate(masked["masks"]))
    place = store.get(Artefact.model_validate(located["masks"]))
    usable = np.array([reason is None for reason in masked["reasons"]])
    members = hard_masks(located)
    needed = hard_masks(masked) if "needed" in place else None
    tests = store.get(Artefact.model_validate(results.tests[row]["tests"]))
    columns = subject_columns(fit | tests, comparison, row, usable)
    _write_component_subjects(
        session,
        subject,
        place,
        columns,
        masked["reasons"],
        results.comparison["untested"][row],
        masked.get("whole") or [None] * len(ids),
        members,
        needed,
        ids,
    )
    component, voxel = np.nonzero(members)
    if len(component):
        copy_rows(
            session,
            ComponentVoxel,
            {
                "component_id": np.array(ids)[component],
                "voxel_id": subject.voxel_ids[voxel],
                "weight": place["soft"][component, voxel],
                "needed": place["needed"][component, voxel] if "needed" in place else None,
            },
        )
    overlap = join_blocks(results.overlaps[row]) if results.overlaps[row] else {}
    if results.intervals is not None:
        overlap |= store.get(Artefact.model_validate(results.intervals[row]["interval"]))
    _write_regions(session, subject, place, overlap, usable, members, ids)


def _write_vectors(
    session: Session, run: Run, subject: SubjectTables, weights: NDArray[np.float32]
) -> None:
    """Write the directions of voxels' weights; a voxel that adds nothing points nowhere."""
    length = np.linalg.norm(weights, axis=1)
    written = np.flatnonzero(length > 0)
    # From the last voxel to the first: a scan of the key then reads memory from front to back
    # (migration 0011).
    written = written[np.argsort(-subject.voxel_index[written])]
    copy_rows(
        session,
        VoxelVector,
        {
            "run_id": run.id,
            "subject_id": subject.id,
            "index": subject.voxel_index[written],
            "encoder_id": run.encoder_id,
            "vector": weights[written] / length[written, None],
        },
    )


def _write_component_subjects(
    session: Session,
    subject: SubjectTables,
    place: Arrays,
    columns: list[Json],
    reasons: list[str | None],
    untested: list[str | None],
    whole: list[str | None],
    members: NDArray[np.bool_],
    needed: NDArray[np.bool_] | None,
    ids: list[int],
) -> None:
    session.add_all(
        ComponentSubject(
            component_id=component,
            subject_id=subject.id,
            **columns[index],
            n_voxels=int(members[index].sum()),
            n_needed=None if needed is None else int(needed[index].sum()),
            response_sign=int(place["sign"][index])
            if "sign" in place and members[index].any()
            else None,
            peak_voxel_id=_peak(subject, place["peak"][index]) if reasons[index] is None else None,
            reason=reasons[index] or untested[index] or whole[index],
        )
        for index, component in enumerate(ids)
    )
    session.flush()


def _write_regions(
    session: Session,
    subject: SubjectTables,
    fit: Arrays,
    overlap: Arrays,
    usable: NDArray[np.bool_],
    members: NDArray[np.bool_],
    ids: list[int],
) -> None:
    if not subject.region_ids or not usable.any():
        return
    p = np.where(usable[:, None], overlap["p"], np.nan)
    q = correct_by_atlas(p, subject.region_atlases)
    unknown = np.full(p.shape, np.nan)
    interval = {
        name: [nullable(row) for row in overlap.get(name, unknown)]
        for name in ("auc_low", "auc_high")
    }
    inside = members.astype(np.int64) @ subject.regions.T.astype(np.int64)
    session.add_all(
        ComponentRegion(
            component_id=ids[index],
            subject_id=subject.id,
            region_id=subject.region_ids[column],
            auc=float(overlap["auc"][index, column]),
            **{name: values[index][column] for name, values in interval.items()},
            dice=float(np.nan_to_num(overlap["dice"][index, column])),
            p_value=float(p[index, column]),
            q_value=float(q[index, column]),
            n_voxels=int(inside[index, column]),
            peak_voxel_id=_peak(subject, fit["peak_region"][index, column]),
        )
        for index, column in np.argwhere(np.isfinite(p)).tolist()
    )
    session.flush()


def _write_network(session: Session, subject: SubjectTables, linked: Json, ids: list[int]) -> None:
    found = get_store().get(Artefact.model_validate(linked["network"]))
    of_node = {name: found[name].tolist() for name in ("node", "community", "strength")}
    session.add_all(
        ComponentCommunity(
            component_id=ids[node], subject_id=subject.id, community=community, strength=strength
        )
        for node, community, strength in zip(*of_node.values(), strict=True)
    )
    measures = ("dice", "p", "q", "cosine", "weight")
    of_edge = [found[name].tolist() for name in ("first", "second", *measures)]
    session.add_all(
        ComponentEdge(
            # The table's order is that of ids, which need not rise with the index.
            component_a_id=min(ids[first], ids[second]),
            component_b_id=max(ids[first], ids[second]),
            subject_id=subject.id,
            dice=dice,
            p_value=p,
            q_value=q,
            cosine=cosine,
            weight=weight,
        )
        for first, second, dice, p, q, cosine, weight in zip(*of_edge, strict=True)
    )
    session.flush()


def _write_examples(
    session: Session,
    dataset: DatasetTables,
    results: RunResults,
    components: NDArray[np.float32],
    ids: list[int],
) -> None:
    """Best and worst test stimuli of every component, as the participants' brains tell them."""
    store = get_store()
    totals = np.zeros((len(dataset.keys), len(components)))
    seen = np.zeros(len(dataset.keys))
    for trained in results.trained:
        told = store.get(Artefact.model_validate(trained["predictions"]))
        scores = told["test"] @ components.T
        spread = scores.std(axis=0)
        scores = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1)
        np.add.at(totals, told["image_test"], scores)
        np.add.at(seen, told["image_test"], 1)
    shown = np.flatnonzero(seen)
    means = totals[shown] / seen[shown, None]
    count = min(results.config.statistics.stimuli, len(shown) // 2)
    for index, component in enumerate(ids):
        order = np.argsort(-means[:, index], kind="stable")
        best = [(rank + 1, int(place)) for rank, place in enumerate(order[:count])]
        worst = [(-rank - 1, int(place)) for rank, place in enumerate(order[::-1][:count])]
        session.add_all(
            ComponentStimulus(
                component_id=component,
                rank=rank,
                stimulus_id=dataset.stimulus_ids[shown[place]],
                score=float(means[place, index]),
            )
            for rank, place in best + worst
        )
    session.flush()


def _peak(subject: SubjectTables, index: float) -> int | None:
    return int(subject.voxel_ids[int(index)]) if index >= 0 else None

"""A run, judged: what came of its concepts and of each participant, and what it is worth."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.database.models import Decoder, Run
from app.runs import repository
from app.runs.counting import count_concepts, count_masks
from app.runs.schemas import (
    Accuracy,
    AgainstRidge,
    DecoderReport,
    Judgement,
    LearningPoint,
    MaskCounts,
    NoiseCeiling,
    ParticipantReport,
    RunReport,
    TrialCounts,
    VoxelCounts,
)
from app.runs.service import list_runs, require_run
from app.runs.stored import NOTHING, PARTICIPANTS
from app.runs.verdict import tell_verdict, tell_warnings

Json = dict[str, Any]

OLDER = "the run was published before this was stored: run again"
NO_TRIALS = "there are no test trials of two stimuli"


def show_run(session: Session, run: int) -> RunReport:
    """Everything that tells what a run is worth.

    Raises
    ------
    NotFoundError
        There is no such run.
    """
    chosen = require_run(session, run)
    answer = next(each for each in list_runs(session, chosen.dataset.slug).runs if each.run == run)
    judged = judge_run(session, chosen.run)
    return RunReport(
        **answer.model_dump(),
        held_back=chosen.run.metrics.get("held_back") or None,
        **{name: getattr(judged, name) for name in Judgement.model_fields},
    )


def judge_run(session: Session, run: Run) -> Judgement:
    """What a run is worth, by what the catalog has of it; older runs have less.

    Parameters
    ----------
    session : Session
    run : Run
        Its components and decoders have been written.
    """
    metrics = run.metrics
    components = repository.components_of(session, run.id)
    masks = repository.masks_of(session, run.id)
    participants = [
        _participant(
            label,
            decoder,
            metrics,
            count_masks([one for one in masks if one.subject_id == decoder.subject_id]),
        )
        for label, decoder in repository.decoders_of(session, run.id)
    ]
    concepts = count_concepts(components, masks, metrics)
    told = metrics.get("components", {})
    return Judgement(
        verdict=tell_verdict(concepts, metrics.get(NOTHING, {}).get("reason", "")),
        warnings=tell_warnings(
            concepts, participants, [*told.get("unreachable", []), *told.get("captions", [])]
        ),
        concepts=concepts,
        participants=participants,
    )


def _participant(
    label: str, decoder: Decoder, metrics: Json, masks: MaskCounts
) -> ParticipantReport:
    missing: dict[str, str] = {}

    def or_none(name: str, value: Any, why: str = OLDER) -> Any:
        if value is None:
            missing[name] = why
        return value

    stored = metrics.get(PARTICIPANTS, {}).get(label, {})
    measured = metrics.get("decoders", {}).get(label, {})
    trials = decoder.metrics.get("trials", {})
    ceiling = stored.get("noise_ceiling")
    curve = measured.get("learning_curve")
    return ParticipantReport(
        subject=label,
        trials=or_none(
            "trials",
            TrialCounts(development=trials["development"], test=trials.get("test", 0))
            if "development" in trials
            else None,
        ),
        voxels=or_none("voxels", VoxelCounts(**stored["voxels"]) if stored.get("voxels") else None),
        noise_ceiling=or_none(
            "noise_ceiling",
            NoiseCeiling(**ceiling) if ceiling else None,
            stored.get("no_noise_ceiling", OLDER),
        ),
        decoder=or_none(
            "decoder",
            _decoder(measured, decoder.metrics.get("ridge", {})),
            NO_TRIALS if "pool" in measured else OLDER,
        ),
        learning_curve=or_none(
            "learning_curve", None if curve is None else [LearningPoint(**each) for each in curve]
        ),
        masks=masks,
        missing=missing,
    )


def _decoder(measured: Json, ridge: Mapping[str, float]) -> DecoderReport | None:
    """None where no accuracy is known."""
    pool = measured.get("pool")
    low, high = measured.get("top1_interval", (None, None))
    top = {
        name: Accuracy(
            decoder=share,
            low=low if name == "top1" else None,
            high=high if name == "top1" else None,
            ridge=ridge.get(name),
            chance=int(name[3:]) / pool if pool else None,
        )
        for name, share in measured.items()
        if re.fullmatch(r"top\d+", name)
    }
    if not top:
        return None
    pairwise = None
    if "pairwise" in measured:
        least, most = measured.get("pairwise_interval", (None, None))
        pairwise = Accuracy(
            decoder=measured["pairwise"], low=least, high=most, ridge=None, chance=0.5
        )
    versus = measured.get("against_ridge")
    return DecoderReport(
        pool=pool,
        top=dict(sorted(top.items(), key=lambda each: int(each[0][3:]))),
        pairwise=pairwise,
        above_chance=_above_chance(pairwise or top.get("top1")),
        against_ridge=AgainstRidge(**versus) if versus else None,
    )


def _above_chance(found: Accuracy | None) -> bool | None:
    if found is None or found.low is None or found.chance is None:
        return None
    return found.low > found.chance

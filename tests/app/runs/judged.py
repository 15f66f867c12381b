"""What publication stores of a run for its judgement, made up, and consistent in itself."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.models import ComponentSubject, Dataset, Decoder, Run, Subject
from app.runs.report import judge_run
from app.runs.stored import FOUND_NOTHING, PARTICIPANTS, REPORT
from tests.app.published import AGAINST_RIDGE, SUBJECTS, Published

Json = dict[str, Any]

CURVE: list[Json] = [
    {"share": 0.25, "trials": 10, "stimuli": 4, "accuracy": None, "low": None, "high": None}
    | {"reason": "its stimuli have one and the same vector"},
    {"share": 0.5, "trials": 20, "stimuli": 8, "accuracy": 0.6, "low": 0.5, "high": 0.7}
    | {"reason": None},
    {"share": 1.0, "trials": 40, "stimuli": 16, "accuracy": 0.8, "low": 0.7, "high": 0.9}
    | {"reason": None},
]
DECODER = {
    "top1": 0.5,
    "top5": 0.75,
    "pool": 20,
    "top1_interval": [0.4, 0.6],
    "against_ridge": AGAINST_RIDGE,
    "pairwise": 0.9,
    "pairwise_interval": [0.8, 0.95],
    "learning_curve": CURVE,
}
VOXELS = {
    "in_mask": 50,
    "kept": 30,
    "dropped": {"not finite": 5, "noise ceiling at most 5 %": 15},
    "rule": "noise ceiling > 5 %",
}
CEILING = {"median": 20.0, "threshold": 5.0, "above": 0.75}
# The second participant's images were shown once each, and its decoder tells nothing.
# Above chance by luck, as its interval says.
AT_CHANCE = DECODER | {"top1": 0.1, "top1_interval": [0.0, 0.2], "pairwise": 0.55}
AT_CHANCE |= {"pairwise_interval": [0.45, 0.65]}


def store_judgement(session: Session, published: Published) -> Run:
    """Give a published run what newer ones store, as `flows.publish` does."""
    run = session.get_one(Run, published.run)
    first, second = SUBJECTS
    run.metrics = run.metrics | {
        "decoders": {first: DECODER, second: AT_CHANCE},
        PARTICIPANTS: {
            first: {"voxels": VOXELS, "noise_ceiling": CEILING},
            second: {"voxels": VOXELS, "no_noise_ceiling": "every image was shown once"},
        },
        "components": {
            "found_again": 2,
            "unreachable": ["99 permutations are too few"],
            "captions": ["the encoder does not know all words of 2 of 90 captions"],
        },
        "stability": {"seeds": [1007, 2007], "cosine": {"mean": 0.9, "runner_up": 0.3}},
    }
    decoders = session.scalars(
        select(Decoder).join(Subject).where(Decoder.run_id == run.id).order_by(Subject.label)
    )
    for decoder in decoders:
        decoder.metrics = {
            "ridge": {"top1": 0.45, "top5": 0.7},
            "trials": {"development": 40, "test": 12},
        }
    session.flush()
    judged = judge_run(session, run)
    run.metrics = run.metrics | {
        FOUND_NOTHING: judged.found_nothing,
        REPORT: judged.model_dump(mode="json"),
    }
    session.flush()
    return run


def carry_nothing(session: Session, published: Published) -> None:
    """Let no mask decode anything, and no run answer."""
    for one in session.scalars(select(ComponentSubject)):
        one.decodes = False
    run = session.get_one(Run, published.run)
    run.metrics = run.metrics | {FOUND_NOTHING: True}
    session.get_one(Dataset, run.dataset_id).current_run_id = None
    session.flush()

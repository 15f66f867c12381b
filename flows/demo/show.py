"""The demo: a cohort with planted truth, the whole pipeline on it, questions, and a verdict."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.database.engine import open_session
from app.search.schemas import SearchAnswer
from app.search.service import search
from app.settings import get_settings
from flows.config import IngestConfig, RunConfig, StabilityConfig
from flows.demo.cohort import CohortConfig, write_cohort
from flows.demo.recovery import ConceptRecovery, judge_recovery
from flows.demo.truth import load_truth
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.progress import report
from flows.stages import encoder_at, get_store

ENCODER = "caption:all-MiniLM-L6-v2"
QUESTIONS = (
    "a photo of a smiling woman",
    "handwritten letters",
    "something tasty for dinner",
    "the inside of a cathedral",
    "a puppy",
)

SOURCE = {
    "slug": "demo",
    "title": "Demo cohort with planted truth",
    "licence": "Apache-2.0",
    "citation": "made by `sdc demo`",
}
SHOWN = CohortConfig()
INGEST = IngestConfig()
# What `sdc run` does unless it is told otherwise. The encoder is named since the truth was planted
# in its space; with a network another would be chosen.
RUN = RunConfig(encoder=ENCODER)
SEEDS = RUN.stability.seeds


@dataclass(frozen=True)
class Demo:
    """What the demo shows at its end: answers to `QUESTIONS`, and what was recovered."""

    run: int
    dataset: str
    answers: list[SearchAnswer]
    recovery: list[ConceptRecovery]
    summary: str


def show_demo(folder: Path, seeds: int = SEEDS, cohort: CohortConfig = SHOWN) -> Demo:
    """Make the cohort below a folder, run the pipeline on it, ask, and judge.

    Parameters
    ----------
    folder : Path
        Takes ``cohort/`` in the NSD layout, and ``truth/``, which no stage reads.
    seeds : int
        Seeds whose results are compared, the run's own among them.
    cohort : CohortConfig

    Returns
    -------
    Demo
    """
    config = RUN.model_copy(update={"stability": StabilityConfig(seeds=seeds)})
    run, recovery = run_demo(folder, cohort, config)
    with open_session() as session, session.begin():
        answers = [search(session, question, dataset=run["dataset"], k=3) for question in QUESTIONS]
    return Demo(run["run"], run["dataset"], answers, recovery, _summary(recovery))


def run_demo(
    folder: Path, cohort: CohortConfig = SHOWN, config: RunConfig = RUN
) -> tuple[dict[str, Any], list[ConceptRecovery]]:
    """Make a cohort, ingest it, run the pipeline, and hold the result against the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    write_cohort(
        folder / "cohort",
        folder / "truth",
        cohort,
        encoder_at(ENCODER, get_settings().device),
        lambda detail, share: report("making the cohort", round(100 * share), 100, detail),
    )
    ingested = ingest_dataset(
        str(folder / "cohort"), INGEST.model_copy(update={"source": SOURCE}), replace=True
    )
    run = run_pipeline(ingested["dataset"], config)
    with open_session() as session, session.begin():
        recovery = judge_recovery(
            session, get_store(), run["dataset"], load_truth(folder / "truth")
        )
    return run, recovery


def _summary(recovery: list[ConceptRecovery]) -> str:
    shared = [one for one in recovery if len(one.aucs) > 1]
    single = [one for one in recovery if len(one.aucs) == 1]
    found = sum(one.recovered for one in shared)
    named = [one for one in shared if one.region_right is not None]
    right = sum(bool(one.region_right) for one in named)
    # Nothing is proved of a concept that no answer matches.
    verdicts = {
        True: "called shared",
        False: "not called shared",
        None: "not measured whether it is shared",
    }
    alone = [verdicts[one.shared] if one.recovered else "not found" for one in single]
    less = [
        f"; {one.concept} was planted with voxels that respond less: "
        f"{_told_right(one) if one.recovered else 'not found'}"
        for one in shared
        if one.planted_response == "less"
    ]
    return (
        f"{found} of {len(shared)} planted shared concepts found by other words (masks match the "
        f"planted voxels, AUC >= 0.9, and hold half of them, in three quarters of the "
        f"participants); first region right "
        f"for {right} of {len(named)} that lie in a named region; the concept of one participant "
        f"alone: {', '.join(alone)}{''.join(less)}"
    )


def _told_right(one: ConceptRecovery) -> str:
    right = sum(told == one.planted_response for told in one.responses.values())
    return f"told so in {right} of {len(one.responses)} participants"

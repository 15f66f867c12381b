"""The demo: a cohort with planted truth, the whole pipeline on it, questions, and a verdict."""

from pathlib import Path
from typing import Any

from app.database.engine import open_session
from app.search.service import search
from app.settings import get_settings
from flows.config import IngestConfig, RunConfig
from flows.demo.cohort import CohortConfig, write_cohort
from flows.demo.recovery import ConceptRecovery, as_rows, judge_recovery
from flows.demo.truth import load_truth
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.progress import report
from flows.science.decoder import DecoderConfig
from flows.science.masks import MaskConfig
from flows.science.reduction import ReductionConfig
from flows.stages import encoder_at, get_store

ENCODER = "caption:all-MiniLM-L6-v2"
QUESTIONS = (
    "a photo of a smiling woman",
    "handwritten letters",
    "something tasty for dinner",
    "the inside of a cathedral",
    "a puppy",
)

INGEST = IngestConfig(n_test=300, n_validation=300)
# A cohort of 3,000 voxels and 1,800 training trials a participant carries fewer directions than
# NSD, and converges in fewer steps.
RUN = RunConfig(
    encoder=ENCODER,
    decoder=DecoderConfig(steps=1500, patience=3),
    reduction=ReductionConfig(components=32, steps=3000, learning_rate=2e-3),
    masks=MaskConfig(lambdas=(0.3, 1.0, 3.0, 10.0)),
)


def show_demo(folder: Path) -> dict[str, Any]:
    """Make the cohort below a folder, ingest it, run the pipeline, ask, and judge.

    Parameters
    ----------
    folder : Path
        Takes ``cohort/`` in the NSD layout, and ``truth/``, which no stage reads.

    Returns
    -------
    dict
        ``run``, ``answers`` to `QUESTIONS`, ``decoders`` and ``recovery``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_cohort(
        folder / "cohort",
        folder / "truth",
        CohortConfig(),
        encoder_at(ENCODER, get_settings().device),
        lambda detail, share: report("making the cohort", round(100 * share), 100, detail),
    )
    ingested = ingest_dataset(
        str(folder / "cohort"), INGEST.model_dump() | {"source": {"slug": "demo"}}, replace=True
    )
    run = run_pipeline(ingested["dataset"], RUN.model_dump(mode="json"))
    with open_session() as session, session.begin():
        answers = [search(session, question, dataset=run["dataset"], k=3) for question in QUESTIONS]
        recovery = judge_recovery(
            session, get_store(), run["dataset"], load_truth(folder / "truth")
        )
    return {
        "run": run["run"],
        "dataset": run["dataset"],
        "answers": [answer.model_dump(mode="json") for answer in answers],
        "recovery": as_rows(recovery),
        "summary": _summary(recovery),
    }


def _summary(recovery: list[ConceptRecovery]) -> str:
    shared = [one for one in recovery if len(one.aucs) > 1]
    single = [one for one in recovery if len(one.aucs) == 1]
    found = sum(one.recovered for one in shared)
    named = [one for one in shared if one.region_right is not None]
    right = sum(bool(one.region_right) for one in named)
    return (
        f"{found} of {len(shared)} planted shared concepts found by other words (masks match the "
        f"planted voxels, AUC >= 0.9, in three quarters of the participants); first region right "
        f"for {right} of {len(named)} that lie in a named region; of {len(single)} concept of one "
        f"participant alone, {sum(one.shared for one in single)} called shared"
    )

"""Runs that say what they are worth: one that finds what was planted, one of noise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.cli import app
from app.database.engine import open_session
from app.database.models import Audit, Dataset, Decoder, Run, Subject, Voxel, VoxelVector
from app.errors import NotFoundError
from app.runs.report import show_run
from app.runs.service import choose_run
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from tests.flows.conftest import home_of_a_module
from tests.flows.planted import write_planted
from tests.flows.test_run_faults import FOLDS, RUN

Options = dict[str, object]
# So much alike nothing is found again.
STRICT: Options = {"stability": {"seeds": 2, "cosine": 0.999}}


def sdc(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def options_of(folder: Path) -> Options:
    return RUN | {"encoder": f"vectors:{folder / 'words.csv'}"}


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory,
    server_url: str,
    template_database: str,
    prefect_server: str,
) -> Iterator[dict[str, Any]]:
    """What the pipeline told of a run on planted data that tests read."""
    home = tmp_path_factory.mktemp("judged")
    folder = write_planted(home / "planted")
    with home_of_a_module(home, server_url, template_database, prefect_server):
        ingest_dataset(str(folder), FOLDS)
        yield run_pipeline("planted", options_of(folder))


def test_a_run_tells_its_worth_as_the_catalog_does(found: dict[str, Any]) -> None:
    with open_session() as session:
        judged = show_run(session, found["run"])
        stored = session.get_one(Run, found["run"]).metrics
    assert (found["verdict"], found["warnings"]) == (judged.verdict, judged.warnings)
    assert found["verdict"].startswith(f"{judged.concepts.found} concepts, ")
    assert stored["report"]["verdict"] == judged.verdict
    assert stored["report"]["concepts"] == judged.concepts.model_dump(mode="json")
    assert stored["report"]["participants"] == [
        one.model_dump(mode="json") for one in judged.participants
    ]
    assert stored["concepts"] == found["concepts"]
    assert stored["found_nothing"] is False
    assert (found["held_back"], judged.held_back, judged.current) == ("", None, True)
    assert "it was not measured whether components are found again" in judged.warnings
    assert found["timings"]["learn"] >= 0


def test_participants_are_told_as_ingestion_and_decoders_left_them(found: dict[str, Any]) -> None:
    with open_session() as session:
        judged = show_run(session, found["run"])
        for one in judged.participants:
            subject = session.scalars(select(Subject).where(Subject.label == one.subject)).one()
            decoder = session.scalars(select(Decoder).where(Decoder.subject_id == subject.id)).one()
            ceilings = np.array(
                session.scalars(
                    select(Voxel.noise_ceiling).where(Voxel.subject_id == subject.id)
                ).all()
            )
            assert one.missing == {}
            assert one.voxels is not None
            assert (one.voxels.in_mask, one.voxels.kept) == (600, len(ceilings))
            dropped = {"noise ceiling at most 5 %": 600 - len(ceilings)}
            assert one.voxels.dropped == {name: n for name, n in dropped.items() if n}
            assert one.noise_ceiling is not None
            assert one.noise_ceiling.median == pytest.approx(np.median(ceilings), rel=1e-5)
            assert one.noise_ceiling.above == pytest.approx(len(ceilings) / 600)
            assert one.trials is not None
            assert (one.trials.development, one.trials.test) == (300, 60)
            assert one.decoder is not None
            assert one.decoder.top["top1"].decoder == decoder.metrics["test"]["top1"]
            assert one.decoder.top["top1"].ridge == decoder.metrics["ridge"]["top1"]
            assert one.decoder.top["top1"].chance == pytest.approx(1 / decoder.metrics["pool"])
            assert one.decoder.above_chance is True
            assert one.decoder.pairwise is not None
            assert one.decoder.pairwise.decoder > 0.6
            assert one.learning_curve is not None
            assert [point.share for point in one.learning_curve] == [0.25, 0.5, 1.0]
            assert one.learning_curve[2].trials == 300
            accuracies = [point.accuracy or 0 for point in one.learning_curve]
            assert accuracies[2] > accuracies[0]


def test_a_run_of_noise_is_published_and_does_not_answer(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "noise", 2, shuffled=True)
    ingest_dataset(str(folder), FOLDS)
    options = options_of(folder) | STRICT
    told = run_pipeline("planted", options)
    assert told["verdict"].startswith("this run found nothing: these components are not reprod")
    assert told["held_back"] == told["verdict"]
    run = told["run"]
    for label in ("p0", "p1"):
        assert (
            f"this run tells nothing of {label}: its decoder is not above chance"
            in told["warnings"]
        )
    with open_session() as session:
        judged = show_run(session, run)
        assert (judged.current, judged.components, judged.concepts.found) == (False, 0, 0)
        assert judged.held_back == told["verdict"]
        for one in judged.participants:
            assert one.decoder is not None
            assert one.learning_curve is not None
            assert (one.masks.of, one.missing) == (0, {})
        # Its decoders are there: what they read voxel by voxel can be looked at.
        assert session.scalars(select(VoxelVector.index)).first() is not None
        with pytest.raises(NotFoundError) as caught:
            choose_run(session)
    assert f"its last run found nothing (see `sdc runs {run}`; ask it all the same with --run " in (
        str(caught.value)
    )
    searched = sdc("search", "word000")
    assert searched.exit_code == 2
    assert f"ask it all the same with --run {run}" in searched.stderr
    for words in (("search", "word000"), ("concepts",), ("voxels", "word000"), ("validate",)):
        asked = sdc(*words, *(() if words[0] == "voxels" else ("--run", run)))
        assert asked.exit_code in (0, 2), (words, asked.output)
        assert "Traceback" not in asked.output
    assert sdc("search", "word000", "--run", run).exit_code == 0
    # Again it is the run that is there, until somebody wants it to answer.
    again = run_pipeline("planted", options)
    assert (again["run"], again["changed"], again["held_back"]) == (run, False, told["verdict"])
    promoted = run_pipeline("planted", options, promote=True)
    assert (promoted["run"], promoted["changed"], promoted["held_back"]) == (run, False, "")
    with open_session() as session:
        assert session.scalar(select(Dataset.current_run_id)) == run
        assert session.scalar(select(Audit.subject)) == str(run)
    assert sdc("search", "word000").exit_code == 0


def test_a_run_of_noise_leaves_the_current_one_and_can_be_made_to_answer(
    flows_home: Path, tmp_path: Path
) -> None:
    folder = write_planted(tmp_path / "planted", 2)
    ingest_dataset(str(folder), FOLDS)
    options = options_of(folder)
    good = run_pipeline("planted", options)
    # Masks at such a price hold no voxel, and no participant carries anything.
    empty = {"masks": {"lambdas": [1e6], "part": 0, "draws": 1}}
    nothing = run_pipeline("planted", options | empty)
    assert nothing["verdict"].endswith("concepts is carried by any participant")
    assert nothing["held_back"] == nothing["verdict"]
    with open_session() as session:
        assert session.scalar(select(Dataset.current_run_id)) == good["run"]
    other = run_pipeline("planted", options | empty | {"seed": 1}, promote=True)
    assert other["held_back"] == ""
    assert other["verdict"].startswith("this run found nothing")
    with open_session() as session:
        assert session.scalar(select(Dataset.current_run_id)) == other["run"]
        audit = session.scalars(select(Audit).where(Audit.action == "promote run")).one()
        assert audit.detail == {"before": good["run"]}


def test_the_command_ends_with_verdict_warnings_and_what_is_next(found: dict[str, Any]) -> None:
    with open_session() as session:
        encoder = session.get_one(Run, found["run"]).configuration["encoder"]
    words = ["run", "planted", "--set", f"encoder={encoder}"]
    for name in ("decoder", "reduction", "masks", "statistics", "stability"):
        for key, value in RUN[name].items():  # type: ignore[attr-defined]
            words += ["--set", f"{name}.{key}={value}"]
    result = sdc(*words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    first = lines.index(f"verdict: {found['verdict']}")
    assert lines[first + 1 :] == [
        *(f"warning: {warning}" for warning in found["warnings"]),
        f"next: sdc search 'a photo of a face' --dataset planted; sdc runs {found['run']}",
    ]
    assert sdc("runs", found["run"]).stdout.splitlines()[0] == lines[first]

"""Data that carry too little: refused in one line, or published with the reason told."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.cli import app
from app.database.engine import get_engine, open_session
from app.database.models import Component, ComponentSubject, Decoder, Run
from app.errors import InputError
from flows.ingest import ingest_dataset
from flows.progress import listening
from tests.conftest import forget_settings
from tests.flows.planted import DIMENSION, write_planted
from tests.flows.test_ingest import counts

FOLDS = {"n_test": 40, "n_validation": 40}
SETTINGS = """
decoder = { steps = 20, evaluate_every = 10 }
reduction = { components = 8, steps = 100, starts = 6 }
masks = { lambdas = [1.0, 3.0], draws = 1 }
statistics = { permutations = 99, mixtures = 99 }
"""


def sdc(*words: str) -> Any:
    """A command's result."""
    return CliRunner().invoke(app, list(words))


def answer(*words: str) -> Any:
    """What a command that succeeds tells as JSON."""
    result = sdc(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def ingest(folder: Path, **options: Any) -> dict[str, Any]:
    """Write a run's settings beside a planted data set, and ingest it."""
    encoder = f'encoder = "vectors:{folder / "words.csv"}"\n'
    (folder / "run.toml").write_text(encoder + SETTINGS)
    return ingest_dataset(str(folder), FOLDS | options)


def run(folder: Path, *settings: str) -> list[str]:
    """The words of the command that runs the pipeline on a planted data set."""
    chosen = [word for setting in settings for word in ("--set", setting)]
    return ["run", "planted", "--config", str(folder / "run.toml"), *chosen]


def refused(words: list[str], status: int) -> str:
    """The one line with which a command fails that leaves the catalog as it was."""
    before = counts()
    result = sdc(*words)
    assert result.exit_code == status
    assert result.stdout == ""
    assert counts() == before
    told = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    return told[0]


def test_one_participant_alone(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "alone", 1, space="native", constant=5)
    assert ingest(folder)["report"]["p0"]["constant"] == 5
    alone = "one participant alone: masks agree with none"
    found = answer(*run(folder))["concepts"]
    assert (found["found"], found["shared"]) == (8, 0)
    assert found["not_shared"][alone] >= 4
    concepts = answer("search", "word000")["concepts"]
    assert not any(concept["shared"] for concept in concepts)
    # What one participant decodes is told all the same.
    assert any(concept["subjects"] == ["p0"] for concept in concepts)
    with open_session() as session:
        components = session.scalars(select(Component)).all()
    # Nothing was measured of other participants, and nothing else speaks against these.
    unknown = [one for one in components if one.decodable and one.specific]
    assert unknown
    for one in unknown:
        assert (one.shared, one.agreeing, one.stable) == (None, None, None)
        assert one.reasons == {
            "agreeing": alone,
            "stable": "one participant alone: it cannot be sought without them",
        }


@pytest.mark.slow
def test_participants_without_places_in_common(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "apart", 2, space="native")
    ingest(folder)
    found = answer(*run(folder))["concepts"]
    assert found["shared"] == 0
    apart = "masks cannot be compared: too few places in common, or too few decode it"
    with open_session() as session:
        components = session.scalars(select(Component)).all()
    assert sum(one.reasons["agreeing"] == apart for one in components) >= 4
    assert {(one.agreeing, one.agreement_p) for one in components} == {(None, None)}
    # A claim that fails is told before this one, which was not measured.
    assert found["not_shared"] == Counter(one.reason for one in components)


def test_participants_with_places_in_common_share(flows_home: Path, tmp_path: Path) -> None:
    """What the other tests make poorer is rich enough."""
    folder = write_planted(tmp_path / "rich", 4)
    ingest(folder)
    concepts = answer(*run(folder, "statistics.permutations=499", "statistics.mixtures=499"))[
        "concepts"
    ]
    assert concepts["shared"] >= 4, json.dumps(concepts)


@pytest.mark.slow
def test_two_test_images_are_too_few_to_test_anything(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "few")
    ingest(folder, n_test=2)
    found = answer(*run(folder))["concepts"]
    assert found["shared"] == 0
    few = "2 distinct test images are too few: p cannot reach 0.05"
    assert {reason for by in found["untested"].values() for reason in by} == {few}
    with open_session() as session:
        components = session.scalars(select(Component)).all()
        rows = session.scalars(select(ComponentSubject)).all()
        metrics = session.scalars(select(Decoder.metrics)).all()
        summary = session.scalars(select(Run.metrics)).one()
    assert {(one.decodable, one.reasons["decodable"]) for one in components} == {(None, few)}
    assert found["not_shared"] == Counter(one.reason for one in components)
    assert {row.p_value for row in rows} == {None}
    assert few in {row.reason for row in rows}
    small = "the pool has 2 images"
    for each in metrics:
        assert set(each["test"]) == set(each["ridge"]) == {"top1"}
        assert each["unmeasured"] == {"top5": small, "top10": small, "top50": small}
    assert summary["decoders"]["p0"]["unmeasured"]["top50"] == small
    assert summary["concepts"] == found


@pytest.mark.parametrize(
    ("test", "most"), [(104, 16), (40, DIMENSION)], ids=["stimuli", "dimensions"]
)
def test_more_components_than_the_data_can_carry_are_refused_before_training(
    flows_home: Path, tmp_path: Path, test: int, most: int
) -> None:
    folder = write_planted(tmp_path / "small")
    ingest(folder, n_test=test, n_validation=8)
    heard: list[str] = []
    with listening(lambda stage, *_: heard.append(stage)):
        line = refused(run(folder, f"reduction.components={most + 1}"), 2)
    assert f"reduction.components is {most + 1}, larger than the data can carry" in line
    assert f"set reduction.components to {most} at most" in line
    assert not any(stage.startswith("training") for stage in heard)


def test_no_usable_mask_is_published_and_said(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "empty")
    ingest(folder)
    # At this price a step leaves no weight. What nobody carries answers where that is asked for.
    empty = ("masks.lambdas=[1e6]", "masks.learning_rate=0.5", "masks.part=0", "masks.holdout=0.5")
    told = sdc(*run(folder, *empty), "--promote")
    assert told.exit_code == 0
    assert (
        "verdict: this run found nothing: none of its 8 concepts is carried by any participant"
        in told.stdout
    )
    assert "warning: masks: 0 of 8 feasible in p0 (empty: 8)" in told.stdout
    assert "shared: 0" in told.stdout
    assert "fewer than 2 participants have a mask of it: 8" in told.stdout
    assert told.stdout.count("    empty: 8") == 2
    concepts = answer("search", "word000")["concepts"]
    assert len(concepts) == 8
    assert answer("search", "word000")["regions"] == []
    shown = answer("show", str(concepts[0]["id"]))
    assert [each["reason"] for each in shown["statistics"]] == ["empty", "empty"]
    assert shown["reason"] == "fewer than 2 participants have a mask of it"
    assert "has no masks of p0" in refused(["network", "p0"], 2)
    for category in answer("validate")["categories"]:
        assert category["reason"] or all(each["reason"] for each in category["subjects"])
    current = answer("runs")["runs"]
    # Full masks count for as little.
    full = answer(*run(folder, "masks.lambdas=[0.0]", "masks.part=0", "masks.threshold=1e-6"))
    for counted in full["concepts"]["without_mask"].values():
        assert counted["full"] >= 4
    assert len(answer("runs")["runs"]) == len(current) + 1


@pytest.mark.parametrize(
    ("device", "status", "told"),
    [
        ("cuda", 1, "device 'cuda' is not there: this machine has 0 usable GPUs"),
        ("cuda:7", 1, "device 'cuda:7' is not there: this machine has 0 usable GPUs"),
        ("nonsense", 2, "'nonsense' is no device: use cpu, cuda or cuda:N"),
    ],
)
def test_a_device_that_is_not_there(
    flows_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    status: int,
    told: str,
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    folder = write_planted(tmp_path / "planted", 1)
    ingest(folder)
    before = counts()
    get_engine().dispose()
    monkeypatch.setenv("SDC_DEVICE", device)
    forget_settings()
    result = sdc(*run(folder))
    assert result.exit_code == status
    assert result.stdout == ""
    assert told in result.stderr.splitlines()[-1]
    assert "SDC_DEVICE" in result.stderr.splitlines()[-1]
    monkeypatch.setenv("SDC_DEVICE", "cpu")
    if status == 1:
        get_engine().dispose()
    forget_settings()
    assert counts() == before


def test_responses_that_never_change(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "constant", 2, constant=600)
    before = counts()
    with pytest.raises(InputError) as caught:
        ingest(folder)
    assert caught.value.message == (
        "p0: no voxel of 600 is usable: 600 are constant over the trials of a session, "
        "0 are not finite"
    )
    assert counts() == before


def test_a_level_that_no_p_can_reach(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "level", 1)
    ingest(folder)
    line = refused(run(folder, "statistics.level=0.001"), 2)
    assert "no p of 99 permutations can reach the level 0.001" in line
    assert "at least 999" in line

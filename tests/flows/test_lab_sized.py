"""A set of a lab's size, and one of blocks, through the commands with no option at all."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.cli import app
from app.database.engine import open_session
from app.database.models import Dataset, Ingestion, Stimulus, Subject, Voxel
from app.errors import ConflictError
from app.store import Artefact
from flows.catalog import DatasetTables, load_dataset
from flows.folds import FEWEST_TESTED
from flows.ingest import ingest_dataset
from flows.responses import load_responses, load_trial_sessions
from flows.science.noise import noise_ceiling, zscore
from flows.science.splits import rotated_folds
from flows.sources import open_source
from flows.sources.manifest import ManifestSource
from flows.stages import get_store
from tests.flows.lab_sized import CONSTANT, GRID, write_blocks, write_lab_sized
from tests.flows.sources.faults import snapshot
from tests.flows.test_ingest import add_run, counts, note_reading

SHARES = (
    "40 test, 20 validation, 100 training images a participant "
    "(shares: 1,000 and 1,000 do not fit 160 images)"
)
ROTATED = "rotated over 12 runs, since one split would test 8 stimuli"


@pytest.fixture(autouse=True)
def no_server_of_a_command(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the tests' Prefect server, as flows do, and start none."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)


def sdc(*words: object) -> str:
    """What a command that succeeds prints."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def stored() -> tuple[dict[str, Any], dict[str, str], dict[str, int | None]]:
    """Configuration, folds and rotation that the catalog has of its one dataset."""
    with open_session() as session:
        configuration = session.scalars(select(Dataset.configuration)).one()
        rows = session.execute(select(Stimulus.key, Stimulus.fold, Stimulus.rotation)).all()
    return (
        configuration,
        {row.key: row.fold for row in rows},
        {row.key: row.rotation for row in rows},
    )


def test_a_check_tells_folds_and_encoder_and_writes_nothing(tmp_path: Path) -> None:
    folder = write_lab_sized(tmp_path / "lab")
    before = snapshot(tmp_path)
    told = sdc("ingest", "--check", folder).splitlines()
    assert f"  folds: {SHARES}" in told
    assert (
        "  encoder: open_clip:ViT-B-32:openai where its weights can be loaded, "
        "caption:all-MiniLM-L6-v2 otherwise"
    ) in told
    answer = json.loads(sdc("ingest", "--check", folder, "--json"))
    assert (answer["split"], answer["folds"]) == (SHARES, {})
    assert (answer["stimuli"], len(answer["participants"])) == (160, 3)
    assert {one["trials"] for one in answer["participants"]} == {320}
    assert snapshot(tmp_path) == before


def test_a_check_of_blocks_tells_that_folds_rotate(tmp_path: Path) -> None:
    folder = write_blocks(tmp_path / "blocks")
    told = sdc("ingest", "--check", folder).splitlines()
    assert f"  folds: {ROTATED}" in told
    assert (
        "  encoder: caption:all-MiniLM-L6-v2 (stimulus bottle-run00 has no picture; every stimulus "
        "has captions)"
    ) in told
    answer = json.loads(sdc("ingest", "--check", folder, "--json"))
    assert answer["folds"] == {"train": 80, "validation": 8, "test": 8}
    assert answer["split"] == ROTATED


def test_a_lab_sized_set_is_ingested_with_no_option(flows_home: Path, tmp_path: Path) -> None:
    folder = write_lab_sized(tmp_path / "lab")
    answer = json.loads(sdc("ingest", folder, "--json"))
    assert answer["folds"] == SHARES
    assert {report["folds"] for report in answer["report"].values()} == {SHARES}
    configuration, folds, rotation = stored()
    assert Counter(folds.values()) == {"test": 40, "validation": 20, "train": 100}
    assert set(rotation.values()) == {None}
    assert load_dataset("lab").rotation is None
    resolved = {name: configuration[name] for name in ("n_test", "n_validation", "folds")}
    assert resolved == {"n_test": 40, "n_validation": 20, "folds": "single"}
    again = json.loads(sdc("ingest", folder, "--json"))
    assert (again["changed"], again["folds"]) == (
        False,
        "40 test, 20 validation, 100 training images a participant (as the catalog has them)",
    )
    assert sizes_of_artefacts() == {"sub-01": 320, "sub-02": 320, "sub-03": 320}


def sizes_of_artefacts() -> dict[str, int]:
    """Trials of each participant in the store."""
    with open_session() as session:
        artefacts = {row.label: row.artefacts for row in session.scalars(select(Subject))}
    return {
        label: len(get_store().get(Artefact.model_validate(each["voxels"]))["image"])
        for label, each in artefacts.items()
    }


def test_a_lab_sized_set_that_grows_keeps_what_it_held_out(
    flows_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_lab_sized(tmp_path / "lab")
    ingest_dataset(str(folder))
    add_run()
    _, before, _ = stored()
    write_lab_sized(folder, sessions=3)
    read = note_reading(monkeypatch, ManifestSource)
    # A fresh draw of 320 images would hold out 80 and 40.
    assert ingest_dataset(str(folder))["changed"]
    configuration, after, _ = stored()
    assert before.items() <= after.items()
    assert Counter(after.values()) == {"test": 40, "validation": 20, "train": 260}
    assert (configuration["n_test"], configuration["n_validation"]) == (40, 20)
    assert {session for _, session in read} == {3}
    assert counts()["catalog.run"] == 1


def test_a_dataset_that_an_older_version_split_keeps_its_folds(
    flows_home: Path, tmp_path: Path
) -> None:
    """Numbers were always stored, as those of the defaults then; nothing said of rotation."""
    folder = write_blocks(tmp_path / "blocks")
    ingest_dataset(str(folder), {"folds": "single"})
    with open_session() as session, session.begin():
        dataset = session.scalars(select(Dataset)).one()
        older = {k: v for k, v in dataset.configuration.items() if k != "folds"}
        dataset.configuration = older | {"n_test": 1000, "n_validation": 1000}
    add_run()
    before = counts()
    assert not ingest_dataset(str(folder))["changed"]
    assert counts() == before
    with pytest.raises(ConflictError, match="its folds rotate"):
        ingest_dataset(str(folder), {"folds": "rotated"})
    assert counts() == before


def literal_responses(folder: Path, label: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    """All of a participant's responses, each session standardised by all its trials."""
    source = open_source(folder)
    trials = source.trials(label)
    sessions = np.unique(trials.session)
    z = [
        zscore(source.betas(label, number), np.ones((trials.session == number).sum(), dtype=bool))
        for number in sessions
    ]
    return np.concatenate(z), trials.stimulus.tolist(), trials.session


def test_blocks_are_ingested_with_folds_that_rotate(flows_home: Path, tmp_path: Path) -> None:
    folder = write_blocks(tmp_path / "blocks")
    answer = json.loads(sdc("ingest", folder, "--json"))
    assert answer["folds"] == ROTATED
    configuration, folds, rotation = stored()
    assert configuration["folds"] == "rotated"
    for key, group in rotation.items():
        run = int(key[-2:])
        assert group == run
        assert folds[key] == {0: "test", 1: "validation"}.get(run, "train")
    usable = int(np.prod(GRID)) - CONSTANT
    with open_session() as session:
        reports = session.scalars(select(Ingestion.report)).one()
        voxels = len(session.scalars(select(Voxel.id)).all())
    assert voxels == 2 * usable
    for report in reports.values():
        assert report["kept"] == usable
        assert report["voxel_rule"] == (
            "all usable voxels: folds rotate, and test trials may not choose voxels"
        )
        assert report["zscore"] == "all trials of a session, since folds rotate"
        assert report["folds"] == ROTATED
    dataset = load_dataset("blocks")
    assert dataset.rotation == [int(key[-2:]) for key in dataset.keys]
    check_rotations(dataset, folder)


def check_rotations(dataset: DatasetTables, folder: Path) -> None:
    """Every trial is tested once, with the responses and sessions that a literal reading has."""
    assert dataset.rotation is not None
    store = get_store()
    for subject in dataset.subjects:
        z, keys, sessions = literal_responses(folder, subject.label)
        tested = []
        for group in sorted(set(dataset.rotation)):
            folds = rotated_folds(dataset.rotation, group)
            x, image = load_responses(store, subject.artefacts, folds, "test")
            rows = [row for row, key in enumerate(keys) if folds[dataset.keys.index(key)] == "test"]
            assert [dataset.keys[each] for each in image] == [keys[row] for row in rows]
            np.testing.assert_allclose(x, z[rows][:, CONSTANT:], atol=5e-3)
            of = load_trial_sessions(store, subject.artefacts, folds, "test")
            np.testing.assert_array_equal(of, sessions[rows])
            tested += rows
        assert sorted(tested) == list(range(len(keys)))


def test_a_noise_ceiling_chooses_no_voxel_where_folds_rotate(
    flows_home: Path, tmp_path: Path
) -> None:
    # Noise alone, each picture four times: by its ceiling hardly a voxel would be kept.
    folder = write_lab_sized(tmp_path / "lab", images=40)
    for table in folder.glob("sub-*.csv"):
        lines = table.read_text().splitlines()
        half = [f"pic{int(line[3:6]) % 20:03d}{line[6:]}" for line in lines[1:]]
        table.write_text("\n".join([lines[0], *half]) + "\n")
    # Sessions are standardised by all their trials, whatever `zscore` says.
    told = ingest_dataset(str(folder), {"zscore": "train"})["folds"]
    assert "rotated over 5 groups of images" in told
    check_rotations(load_dataset("lab"), folder)
    with open_session() as session:
        ceilings = session.scalars(
            select(Voxel.noise_ceiling).join(Subject).order_by(Subject.label, Voxel.index)
        ).all()
    literal = []
    for label in ("sub-01", "sub-02", "sub-03"):
        z, keys, _ = literal_responses(folder, label)
        image = np.unique(keys, return_inverse=True)[1]
        literal += noise_ceiling(z, image, np.ones(len(z), dtype=bool))[CONSTANT:].tolist()
    np.testing.assert_allclose(ceilings, literal, atol=0.05)
    assert min(ceilings) == 0
    few = ingest_dataset(str(folder), {"folds": "single"}, replace=True)["report"]
    assert all(report["kept"] < len(ceilings) / 6 for report in few.values())


def test_blocks_that_grow_keep_their_groups_and_read_the_new_run_alone(
    flows_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_blocks(tmp_path / "blocks", runs=8)
    ingest_dataset(str(folder))
    add_run()
    _, _, before = stored()
    write_blocks(folder, runs=9)
    read = note_reading(monkeypatch, ManifestSource)
    assert ingest_dataset(str(folder))["changed"]
    _, _, after = stored()
    assert before.items() <= after.items()
    assert {after[key] for key in after if key not in before} == {8}
    assert {session for _, session in read} == {9}
    assert counts()["catalog.run"] == 1
    assert not ingest_dataset(str(folder))["changed"]


def test_other_groups_are_no_growth(flows_home: Path, tmp_path: Path) -> None:
    folder = write_lab_sized(tmp_path / "lab", images=2 * FEWEST_TESTED)
    ingest_dataset(str(folder))
    add_run()
    before = counts()
    with pytest.raises(ConflictError, match=r"the stimulus pic\d+ is (for|tested with group)"):
        ingest_dataset(str(folder), {"seed": 1})
    with pytest.raises(ConflictError, match="its folds no longer rotate"):
        ingest_dataset(str(folder), {"folds": "single"})
    assert counts() == before

"""Real fMRI through the whole house: manifest source, pipeline, search."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.concepts.service import show_concept
from app.database.engine import open_session
from app.database.models import Dataset, Decoder, Run, Stimulus, Subject, Voxel
from app.search.service import search
from flows.catalog import load_dataset
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from tests.flows.sources.haxby import write_haxby_manifest
from tests.flows.sources.nilearn_tree import slice_as_nilearn

RUN = {
    "encoder": "caption:all-MiniLM-L6-v2",
    "decoder": {"steps": 100},
    "reduction": {"components": 8, "steps": 100, "starts": 6},
    "statistics": {"permutations": 199, "mixtures": 199},
    "stability": {"seeds": 1},
}


@pytest.fixture
def published_haxby(flows_home: Path, real_data: Path, tmp_path: Path) -> int:
    folder = tmp_path / "haxby"
    write_haxby_manifest(folder, real_data / "haxby_slice")
    # The data set's own split: by default its twelve runs are tested in turn.
    ingested = ingest_dataset(str(folder), {"folds": "single"})
    assert ingested["changed"]
    return int(run_pipeline(ingested["dataset"], RUN)["run"])


def test_real_fmri_is_ingested_decoded_and_found(published_haxby: int) -> None:
    with open_session() as session:
        folds = session.execute(select(Stimulus.key, Stimulus.fold)).all()
        assert {fold for key, fold in folds if key.endswith(("09", "10"))} == {"validation"}
        assert {fold for key, fold in folds if key.endswith("11")} == {"test"}
        assert session.scalars(select(Run.id)).all() == [published_haxby]
        assert len(session.scalars(select(Voxel.id)).all()) == 530
        assert session.scalars(select(Voxel.noise_ceiling)).first() is None
        report = session.scalars(select(Subject.report)).one()
        assert report["kept"] == 530
        assert "three training repeats" in report["voxel_rule"]

        metrics = session.scalars(select(Decoder.metrics)).one()
        assert metrics["pool"] == 8
        assert metrics["trials"] == {"development": 88, "test": 8}
        # One run of eight blocks is little to judge by; the benchmark rotates all twelve.
        assert metrics["test"]["top1"] >= 0.375


@pytest.mark.slow
def test_a_human_face_is_answered_by_face_above_house(published_haxby: int) -> None:
    with open_session() as session:
        answer = search(session, "a human face", k=8)
        shown = {found.id: show_concept(session, found.id) for found in answer.concepts}
    # The words nearest to a concept, and the held-out blocks that the brain tells most of it: one
    # block of each of the eight categories, so that which of the best comes first is chance.
    first = answer.concepts[0]
    assert "face" in shown[first.id].terms
    assert ["face"] in [each.captions for each in shown[first.id].best[:2]]
    assert ["house"] in [each.captions for each in shown[first.id].worst]
    house = next(found for found in answer.concepts if shown[found.id].terms[0] == "house")
    assert first.similarity > house.similarity


@pytest.mark.slow
def test_the_same_run_again_changes_nothing(published_haxby: int) -> None:
    again = run_pipeline("haxby-slice", RUN)
    assert again == {
        "run": published_haxby,
        "dataset": "haxby-slice",
        "changed": False,
        "encoder": RUN["encoder"],
        "encoder_reason": "as configured",
    }


@pytest.mark.slow
def test_nilearns_layout_is_ingested_alike(
    flows_home: Path, real_data: Path, tmp_path: Path
) -> None:
    slice_dir = real_data / "haxby_slice"
    write_haxby_manifest(tmp_path / "manifest", slice_dir)
    ingest_dataset(str(tmp_path / "manifest"))
    ingest_dataset(str(slice_as_nilearn(tmp_path / "haxby2001", slice_dir)))
    with open_session() as session:
        rows = session.execute(
            select(Dataset.slug, Dataset.layout, Subject.artefacts, Subject.report)
            .join(Subject, Subject.dataset_id == Dataset.id)
            .order_by(Dataset.slug)
        ).all()
    (slug, layout, artefacts, report), (_, _, expected, expected_report) = rows
    assert (slug, layout) == ("haxby", "haxby")
    # The store goes by content: the same references are the same numbers.
    assert artefacts == expected
    assert report == expected_report
    assert report["folds"] == "rotated over 12 runs, since one split would test 8 stimuli"
    dataset = load_dataset("haxby")
    assert dataset.rotation == [int(key[-2:]) for key in dataset.keys]

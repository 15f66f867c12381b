"""Ingestion of a BIDS derivative into a real catalog."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Dataset, Region, Stimulus, Subject, Voxel
from app.errors import InputError
from flows.ingest import ingest_dataset
from flows.responses import load_responses
from flows.stages import get_store
from tests.flows.sources.bids_tree import AFFINE, SHOWN, beta_file, brain, write_bids_tree

# One session each, in which no stimulus is shown three times: all voxels are kept.
OPTIONS = {"source": {"sessions": ["01"]}}


def test_a_derivative_is_ingested_whole(flows_home: Path, tmp_path: Path) -> None:
    stored = write_bids_tree(tmp_path / "betas")
    result = ingest_dataset(str(tmp_path / "betas"), OPTIONS)
    assert (result["dataset"], result["changed"]) == ("things-betas", True)
    assert not ingest_dataset(str(tmp_path / "betas"), OPTIONS)["changed"]
    places = np.argwhere(brain())
    with open_session() as session:
        dataset = session.scalars(select(Dataset)).one()
        assert (dataset.layout, dataset.licence) == ("bids", "CC0-1.0")
        stimuli = session.scalars(select(Stimulus).order_by(Stimulus.key)).all()
        assert [(one.key, one.fold) for one in stimuli] == [
            ("cat.png", "train"),
            ("dog.png", "test"),
            ("owl.png", "validation"),
        ]
        assert stimuli[0].captions == ["a cat", "the cat"]
        regions = session.scalars(select(Region).order_by(Region.name)).all()
        assert [(one.atlas, one.name) for one in regions] == [("floc", "FFA"), ("floc", "PPA")]
        subjects = session.scalars(select(Subject).order_by(Subject.label)).all()
        assert [one.label for one in subjects] == ["sub-01", "sub-02"]
        voxels = session.execute(
            select(Voxel.i, Voxel.j, Voxel.k, Voxel.mni_x, Voxel.mni_y, Voxel.mni_z)
            .where(Voxel.subject_id == subjects[0].id)
            .order_by(Voxel.index)
        ).all()
        table = np.array([tuple(row) for row in voxels], float)
        np.testing.assert_array_equal(table[:, :3], places)
        np.testing.assert_allclose(table[:, 3:], places @ AFFINE[:3, :3].T + AFFINE[:3, 3])
        folds = [one.fold for one in stimuli]
        x, shown = load_responses(get_store(), subjects[1].artefacts, folds, "test")
    assert shown.tolist() == [1, 1]
    # Standardised by the two training trials of the session, both of the first run.
    runs = [stored["02", "01", run][brain()].T for run in (1, 2)]
    training = runs[0][[0, 2]]
    assert SHOWN[1][1] == SHOWN[2][1] == "dog.png"
    dogs = np.stack([runs[0][1], runs[1][1]])
    expected = (dogs - training.mean(axis=0)) / training.std(axis=0)
    np.testing.assert_allclose(x, expected, rtol=2e-3, atol=2e-3)


def test_a_faulty_derivative_leaves_the_catalog_empty(flows_home: Path, tmp_path: Path) -> None:
    write_bids_tree(tmp_path / "betas")
    path = beta_file(tmp_path / "betas", "02", "01", 2)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="as NIfTI") as caught:
        ingest_dataset(str(tmp_path / "betas"), OPTIONS)
    assert str(path) in caught.value.message
    with open_session() as session:
        assert session.scalars(select(Dataset)).all() == []

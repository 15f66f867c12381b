"""Betas on surfaces, from CIFTI files to concepts that people ask for."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, text

from app.database.engine import get_engine, open_session
from app.database.models import Dataset, Subject, Voxel, VoxelRegion
from app.errors import InputError
from flows.ingest import ingest_dataset
from flows.responses import load_responses
from flows.stages import get_store
from tests.flows.planted import GAIN, STIMULI, TOPICS, write_words
from tests.flows.sources.bids_tree import DESCRIPTION, write_events, write_json
from tests.flows.sources.surface_tree import (
    CORTEX,
    PLACES,
    SIDES,
    brain_models,
    cifti_file,
    write_cifti,
    write_cifti_tree,
    write_surface,
)
from tests.flows.test_ingest import counts
from tests.flows.test_poor_data import SETTINGS, answer

OPTIONS = {"source": {"sessions": ["01"]}}
# Vertices of a hemisphere in the planted data set; the first of each are the medial wall.
VERTICES, WALL = 200, 20
PARTICIPANTS = ("01", "02")
# The topic that each vertex answers to: neighbours the same one.
TOPIC = (np.arange(2 * VERTICES) * TOPICS // (2 * VERTICES)).reshape(2, VERTICES)


def test_vertices_are_rows_of_the_same_tables(flows_home: Path, tmp_path: Path) -> None:
    root = tmp_path / "betas"
    root.mkdir()
    stored = write_cifti_tree(root)
    assert ingest_dataset(str(root), OPTIONS)["changed"]
    assert not ingest_dataset(str(root), OPTIONS)["changed"]
    places = [(side, vertex) for side in (0, 1) for vertex in sorted(CORTEX[side])]
    with open_session() as session:
        subjects = session.scalars(select(Subject).order_by(Subject.label)).all()
        assert [(one.surface, one.affine, one.grid) for one in subjects] == [
            ("fsLR", None, [2, 12, 1])
        ] * 2
        rows = session.scalars(
            select(Voxel).where(Voxel.subject_id == subjects[0].id).order_by(Voxel.index)
        ).all()
        assert [(row.i, row.j, row.k) for row in rows] == [(*place, 0) for place in places]
        for columns in (("x", "y", "z"), ("mni_x", "mni_y", "mni_z")):
            found = [[getattr(row, column) for column in columns] for row in rows]
            expected = np.array([PLACES[place] for place in places])
            np.testing.assert_array_equal(np.array(found, np.float32), expected)
        members = session.scalars(select(VoxelRegion.voxel_id).order_by(VoxelRegion.voxel_id)).all()
        assert len(members) == 3 + 1 + 2
        x, shown = load_responses(
            get_store(), subjects[1].artefacts, ["train", "test", "validation"], "test"
        )
    assert shown.tolist() == [1, 1]
    # Standardised by the two training trials of the session, both of the first run.
    flat = [
        np.array([[t[place] for place in places] for t in stored["02", "01", r]]) for r in (1, 2)
    ]
    training = flat[0][[0, 2]]
    dogs = np.stack([flat[0][1], flat[1][1]])
    expected = (dogs - training.mean(axis=0)) / training.std(axis=0)
    np.testing.assert_allclose(x, expected, rtol=2e-3, atol=2e-3)


def test_an_unknown_brain_model_leaves_the_catalog_as_it_was(
    flows_home: Path, tmp_path: Path
) -> None:
    root = tmp_path / "betas"
    root.mkdir()
    write_cifti_tree(root)
    ingest_dataset(str(root), OPTIONS)
    before = counts()
    path = cifti_file(root, "02", "01", 2)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"STRUCTURE_THALAMUS_LEFT", b"STRUCTURE_HOMUNCULUS_IN"))
    with pytest.raises(InputError, match="unknown brain model CIFTI_STRUCTURE_HOMUN") as caught:
        ingest_dataset(str(root), OPTIONS, replace=True)
    assert str(path) in caught.value.message
    assert counts() == before


def write_planted_surfaces(root: Path) -> Path:
    """Participants whose patches of cortex answer to one topic of the stimuli each."""
    root.mkdir()
    vectors = write_words(root / "words.csv")
    rng = np.random.default_rng(5)
    # A sphere for each hemisphere, its vertices along a spiral: neighbours in number are near.
    turn = np.arange(VERTICES)
    height = 1 - 2 * (turn + 0.5) / VERTICES
    around = turn * 2 * np.pi / 14
    sphere = np.stack(
        [np.sqrt(1 - height**2) * np.cos(around), np.sqrt(1 - height**2) * np.sin(around), height],
        axis=1,
    )
    for side, centre in zip(SIDES, (-45, 45), strict=True):
        places = 40 * sphere + [centre, 0, 0]
        write_surface(root / f"tpl-fsLR_den-32k_hemi-{side}_midthickness.surf.gii", places)
    write_json(root / "dataset_description.json", DESCRIPTION | {"Name": "planted"})
    write_json(root / "task-things_stat-effect_statmap.json", {})
    (root / "stimuli").mkdir()
    lines = [f"{word}\t{word}" for word in STIMULI]
    (root / "stimuli/stimuli.tsv").write_text("\n".join(["stimulus_id\tcaption", *lines]) + "\n")
    cortex = [list(range(WALL, VERTICES))] * 2
    for subject in PARTICIPANTS:
        for session in ("01", "02", "03"):
            shown = rng.permutation(len(STIMULI))
            betas = GAIN * vectors[shown][:, TOPIC] + rng.normal(size=(len(shown), 2, VERTICES))
            path = cifti_file(root, subject, session, 1)
            write_cifti(path, betas.astype(np.float32), brain_models(cortex, VERTICES))
            name = path.name.replace("_space-fsLR_den-91k_stat-effect_statmap.dscalar.nii", "")
            write_events(path.with_name(f"{name}_events.tsv"), [STIMULI[one] for one in shown])
    (root / "run.toml").write_text(f'encoder = "vectors:{root / "words.csv"}"\n' + SETTINGS)
    return root


def test_concepts_are_found_where_they_were_planted(flows_home: Path, tmp_path: Path) -> None:
    root = write_planted_surfaces(tmp_path / "planted")
    ingest_dataset(str(root), {"n_test": 40, "n_validation": 40})
    assert answer("run", "planted", "--config", str(root / "run.toml"))["concepts"]["found"] == 8
    query = text(
        "SELECT i, j, k FROM catalog.concept_voxels WHERE component_id = :component"
        " AND subject = :subject"
    )
    carried = []
    with get_engine().connect() as connection:
        components = connection.scalars(text("SELECT component_id FROM catalog.concepts")).all()
        decoded = connection.scalars(text("SELECT r_soft FROM catalog.component_subject")).all()
        assert min(decoded) > 0.8
        for component in components:
            for label in PARTICIPANTS:
                asked = {"component": component, "subject": f"sub-{label}"}
                i, j, k = np.array(connection.execute(query, asked).all()).T
                assert (j >= WALL).all()
                assert not k.any()
                carried.append(np.bincount(TOPIC[i, j], minlength=TOPICS))
    # What a component's members answer to is what they answer to in the other participant.
    alike = np.corrcoef(carried[0::2], carried[1::2])[: len(components), len(components) :]
    own = np.diag(alike)
    others = alike[~np.eye(len(components), dtype=bool)]
    assert own.mean() > others.mean() + 0.3
    assert (own > np.median(others)).mean() >= 0.75
    with open_session() as session:
        assert session.scalars(select(Dataset.layout)).all() == ["bids"]

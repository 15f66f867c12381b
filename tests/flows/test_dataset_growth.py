"""Datasets that grow: their runs stay, and what is no growth is refused and changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from app.database.engine import get_engine, open_session
from app.database.migrate import current_revision, downgrade
from app.database.models import (
    Component,
    ComponentRegion,
    ComponentVoxel,
    Dataset,
    Decoder,
    Region,
    Stimulus,
    Subject,
    Voxel,
    VoxelRegion,
    VoxelVector,
)
from app.errors import ConflictError, UnavailableError
from app.store import Artefact
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.sources.manifest import ManifestSource
from flows.stages import get_store
from flows.train import load_decoder
from tests.flows.planted import AFFINE, GRID, write_planted
from tests.flows.sources.nsd_tree import write_image
from tests.flows.test_ingest import add_run, counts, note_reading
from tests.flows.test_run_faults import FOLDS, RUN

# These answer to nothing: with three showings the noise ceiling sees it.
DEAF = 100
# Percent: about what the noise ceiling of the other voxels is, so that some exceed it.
DEMANDING = 30
ATLAS = """\
[[participants.regions]]
atlas = "late"
file = "late.nii.gz"
labels = { top = 1, low = 2 }
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two participants, three sessions, in the first of which some voxels are noise."""
    folder = write_planted(tmp_path / "planted")
    rng = np.random.default_rng(4)
    for session in (1, 2, 3):
        path = folder / f"p0_{session}.npy"
        betas = np.load(path)
        betas[:, :DEAF] = rng.normal(size=(len(betas), DEAF))
        np.save(path, betas)
    late = 1 + (np.indices(GRID)[2] < 3)
    write_image(folder / "late.nii.gz", late.astype(np.uint8), AFFINE)
    return folder


def hold_back(folder: Path) -> Callable[[], None]:
    """Take the last session and the second participant away; what brings them, and an atlas."""
    whole = {name: (folder / name).read_text() for name in ("trials.csv", "dataset.toml")}
    lines = whole["trials.csv"].splitlines(keepends=True)
    (folder / "trials.csv").write_text("".join(line for line in lines if not line.endswith(",3\n")))
    first, _, _ = whole["dataset.toml"].rpartition("[[participants]]")
    (folder / "dataset.toml").write_text(first)
    away = folder.parent / "away"
    away.mkdir()
    for name in ("p0_3.npy", "p1_3.npy"):
        (folder / name).rename(away / name)

    def bring() -> None:
        for path in away.iterdir():
            path.rename(folder / path.name)
        (folder / "trials.csv").write_text(whole["trials.csv"])
        (folder / "dataset.toml").write_text(whole["dataset.toml"] + ATLAS)

    return bring


def found_by(run: int) -> dict[str, Any]:
    """What a run says of voxels, told by their places."""
    place = (Subject.label, Voxel.i, Voxel.j, Voxel.k)
    with open_session() as session:
        masks = session.execute(
            select(Component.index, *place, ComponentVoxel.weight)
            .join(ComponentVoxel, ComponentVoxel.component_id == Component.id)
            .join(Voxel, Voxel.id == ComponentVoxel.voxel_id)
            .join(Subject, Subject.id == Voxel.subject_id)
            .where(Component.run_id == run)
        ).all()
        vectors = session.execute(
            select(*place, VoxelVector.vector)
            .join(
                Voxel,
                (Voxel.subject_id == VoxelVector.subject_id) & (Voxel.index == VoxelVector.index),
            )
            .join(Subject, Subject.id == Voxel.subject_id)
            .where(VoxelVector.run_id == run)
        ).all()
        regions = session.execute(
            select(Component.index, Subject.label, Region.name, ComponentRegion.auc)
            .join(ComponentRegion, ComponentRegion.component_id == Component.id)
            .join(Subject, Subject.id == ComponentRegion.subject_id)
            .join(Region, Region.id == ComponentRegion.region_id)
            .where(Component.run_id == run)
        ).all()
    return {
        "masks": {tuple(row) for row in masks},
        "vectors": {tuple(row[:4]): tuple(row[4]) for row in vectors},
        "regions": {tuple(row) for row in regions},
    }


def kept_places(label: str) -> list[tuple[int, int, int]]:
    """Where the voxels lie that the newest ingestion keeps, in the order of its artefacts."""
    with open_session() as session:
        artefacts = session.scalars(select(Subject.artefacts).where(Subject.label == label)).one()
    kept = get_store().get(Artefact.model_validate(artefacts["voxels"]))["kept"]
    return [tuple(place) for place in np.argwhere(np.ones(GRID))[kept].tolist()]


def stored_places(label: str, *, kept: bool) -> set[tuple[int, int, int]]:
    with open_session() as session:
        rows = session.execute(
            select(Voxel.i, Voxel.j, Voxel.k)
            .join(Subject)
            .where(Subject.label == label, Voxel.kept == kept)
        )
        return {tuple(row) for row in rows}


def current_run() -> int | None:
    with open_session() as session:
        return session.scalars(select(Dataset.current_run_id)).one()


def test_runs_stay_and_the_next_one_is_of_all_data(
    flows_home: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RUN | {"encoder": f"vectors:{data / 'words.csv'}"}
    bring = hold_back(data)
    ingest_dataset(str(data), FOLDS)
    first = run_pipeline("planted", options)["run"]
    told = found_by(first)
    assert told["masks"]
    assert len(told["vectors"]) == np.prod(GRID)
    bring()
    read = note_reading(monkeypatch, ManifestSource)
    assert ingest_dataset(str(data), FOLDS)["changed"]
    assert read == [("p0", 3), ("p1", 1), ("p1", 2), ("p1", 3)]
    assert current_run() == first
    assert found_by(first) == told
    places = kept_places("p0")
    assert stored_places("p0", kept=True) == set(places)
    dropped = stored_places("p0", kept=False)
    assert len(dropped) > DEAF / 2
    assert len(places) + len(dropped) == np.prod(GRID)
    second = run_pipeline("planted", options)["run"]
    assert second != first
    assert current_run() == second
    assert found_by(first) == told
    check_places(second)


def check_places(run: int) -> None:
    """A run's rows against its artefacts, voxel by voxel."""
    told = found_by(run)
    assert {(label, name) for _, label, name, _ in told["regions"]} == {
        *(("p0", name) for name in ("FFA",)),
        *(("p1", name) for name in ("FFA", "top", "low")),
    }
    with open_session() as session:
        decoders = session.execute(
            select(Subject.label, Decoder).join(Subject).where(Decoder.run_id == run)
        ).all()
    store = get_store()
    for label, decoder in decoders:
        places = kept_places(label)
        soft = store.get(Artefact(sha256=decoder.masks_sha256, size=0))["soft"]
        weights = {
            (index, *place): weight for index, of, *place, weight in told["masks"] if of == label
        }
        assert weights
        for (index, *place), weight in weights.items():
            assert weight == pytest.approx(soft[index, places.index(tuple(place))], rel=1e-5)
        artefact = {"sha256": decoder.artefact_sha256, "size": 0}
        vectors = load_decoder({"decoder": artefact, "kind": decoder.kind}).voxel_vectors()
        assert len([key for key in told["vectors"] if key[0] == label]) == len(places)
        for place, vector in zip(places, vectors, strict=True):
            unit = vector / np.linalg.norm(vector)
            np.testing.assert_allclose(told["vectors"][(label, *place)], unit, atol=2e-3)


def test_voxels_that_come_later_are_numbered_after_those_before(
    flows_home: Path, data: Path
) -> None:
    ingest_dataset(str(data), FOLDS | {"noise_ceiling": DEMANDING})
    few = stored_places("p0", kept=True)
    add_run()
    with open_session() as session:
        before = session.execute(select(Voxel.id, Voxel.index, Voxel.i, Voxel.j, Voxel.k)).all()
    assert ingest_dataset(str(data), FOLDS)["changed"]
    assert len(few) < len(stored_places("p0", kept=True))
    with open_session() as session:
        after = session.execute(select(Voxel.id, Voxel.index, Voxel.i, Voxel.j, Voxel.k)).all()
        indices = session.scalars(
            select(Voxel.index).join(Subject).where(Subject.label == "p0").order_by(Voxel.index)
        ).all()
    assert set(before) < set(after)
    assert indices == list(range(len(indices)))
    assert ingest_dataset(str(data), FOLDS | {"noise_ceiling": DEMANDING})["changed"]
    assert stored_places("p0", kept=True) == few


def test_without_runs_voxels_that_are_not_kept_go(flows_home: Path, data: Path) -> None:
    ingest_dataset(str(data), FOLDS)
    ingest_dataset(str(data), FOLDS | {"noise_ceiling": DEMANDING})
    assert not stored_places("p0", kept=False)
    assert stored_places("p0", kept=True) == set(kept_places("p0"))


def test_an_atlas_that_comes_later_is_added_and_nothing_read(
    flows_home: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_dataset(str(data), FOLDS)
    add_run()
    before = counts()
    manifest = data / "dataset.toml"
    manifest.write_text(manifest.read_text() + ATLAS)
    read = note_reading(monkeypatch, ManifestSource)
    assert ingest_dataset(str(data), FOLDS)["changed"]
    assert read == []
    added = {name: number - before[name] for name, number in counts().items()}
    voxels = len(kept_places("p1"))
    assert {name: number for name, number in added.items() if number} == {
        "catalog.region": 2,
        "catalog.voxel_region": voxels,
        "catalog.ingestion": 1,
    }
    with open_session() as session:
        top = session.execute(
            select(Voxel.k)
            .join(VoxelRegion, VoxelRegion.voxel_id == Voxel.id)
            .join(Region, Region.id == VoxelRegion.region_id)
            .where(Region.name == "top")
        ).scalars()
        assert set(top) == {3, 4, 5}
    assert not ingest_dataset(str(data), FOLDS)["changed"]


def test_captions_that_come_later_are_added_and_nothing_read(
    flows_home: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs rest on the captions that stimuli had; of those without any, on none."""
    path = data / "stimuli.csv"
    whole = path.read_text()
    path.write_text(whole.replace("word005,word005", "word005,"))
    ingested = ingest_dataset(str(data), FOLDS)
    assert any("have no caption and no picture" in each for each in ingested["warnings"])
    add_run()
    before = counts()
    path.write_text(whole)
    read = note_reading(monkeypatch, ManifestSource)
    again = ingest_dataset(str(data), FOLDS)
    assert (again["changed"], read) == (True, [])
    assert not any("caption" in each for each in again["warnings"])
    added = {name: number - before[name] for name, number in counts().items()}
    assert {name: number for name, number in added.items() if number} == {"catalog.ingestion": 1}
    with open_session() as session:
        told = session.scalar(select(Stimulus.captions).where(Stimulus.key == "word005"))
    assert told == ["word005"]
    assert not ingest_dataset(str(data), FOLDS)["changed"]


def test_where_data_lie_and_whose_they_are_can_change(flows_home: Path, data: Path) -> None:
    ingest_dataset(str(data), FOLDS)
    before = counts()
    moved = data.rename(data.parent / "moved")
    manifest = moved / "dataset.toml"
    manifest.write_text(manifest.read_text().replace("CC0-1.0", "CC-BY-4.0"))
    assert not ingest_dataset(str(moved), FOLDS)["changed"]
    assert counts() == before
    with open_session() as session:
        dataset = session.scalars(select(Dataset)).one()
        assert dataset.source_uri == (moved / "dataset.toml").as_uri()
        assert dataset.licence == "CC-BY-4.0"


def test_noise_ceilings_are_those_of_the_newest_data(flows_home: Path, data: Path) -> None:
    bring = hold_back(data)
    ingest_dataset(str(data), FOLDS)
    add_run()
    bring()
    ingest_dataset(str(data), FOLDS)
    with open_session() as session:
        subject = session.scalars(select(Subject).where(Subject.label == "p0")).one()
        stored = session.scalars(
            select(Voxel.noise_ceiling)
            .where(Voxel.subject_id == subject.id, Voxel.kept)
            .order_by(Voxel.i, Voxel.j, Voxel.k)
        ).all()
        artefact = Artefact.model_validate(subject.artefacts["voxels"])
        assert (subject.n_sessions, subject.n_trials) == (3, 360)
    assert stored == pytest.approx(get_store().get(artefact)["noise_ceiling"].tolist())


def _other_betas(folder: Path) -> None:
    path = folder / "p0_2.npy"
    np.save(path, np.load(path)[::-1])


def _other_trials(folder: Path) -> None:
    path = folder / "trials.csv"
    head, first, second, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, second, first, *others]))


def _fewer_participants(folder: Path) -> None:
    path = folder / "dataset.toml"
    path.write_text(path.read_text().rpartition("[[participants]]")[0])


def _other_region(folder: Path) -> None:
    inside = (np.indices(GRID)[0] < 3).astype(np.uint8)
    write_image(folder / "region.nii.gz", inside, AFFINE)


def _no_region(folder: Path) -> None:
    path = folder / "dataset.toml"
    text = path.read_text()
    path.write_text(text[: text.rindex("[[participants.regions]]")])


def _other_affine(folder: Path) -> None:
    write_image(folder / "mask.nii.gz", np.ones(GRID, np.uint8), AFFINE * [[1], [1], [1.5], [1]])
    write_image(
        folder / "region.nii.gz",
        (np.indices(GRID)[0] < 2).astype(np.uint8),
        AFFINE * [[1], [1], [1.5], [1]],
    )


def _no_mni(folder: Path) -> None:
    path = folder / "dataset.toml"
    path.write_text(path.read_text().replace('space = "MNI"', 'space = "native"', 1))


def _other_captions(folder: Path) -> None:
    path = folder / "stimuli.csv"
    path.write_text(path.read_text().replace("word005,word005", "word005,another thing"))


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (_other_betas, "session 2 of p0 has other responses or trials"),
        (_other_trials, "session 1 of p0 has other responses or trials"),
        (_fewer_participants, "the participant p1 is not in it"),
        (_other_region, "the region floc-faces:FFA of p0 has other voxels"),
        (_no_region, "the region floc-faces:FFA of p1 has other voxels"),
        (_other_affine, "p0 lies on another grid"),
        (_no_mni, "p0 lies elsewhere in MNI space"),
        (_other_captions, "the stimulus word005 has other captions"),
    ],
)
def test_what_is_no_growth_needs_a_word(
    flows_home: Path, data: Path, alter: Callable[[Path], None], words: str
) -> None:
    ingest_dataset(str(data), FOLDS)
    add_run()
    before = counts()
    alter(data)
    with pytest.raises(ConflictError, match="another planted, with 1 published run: ") as caught:
        ingest_dataset(str(data), FOLDS)
    assert words in str(caught.value)
    assert "--replace" in caught.value.hint
    assert counts() == before
    assert ingest_dataset(str(data), FOLDS, replace=True)["changed"]
    assert counts()["catalog.run"] == 0


def test_another_draw_of_folds_is_no_growth(flows_home: Path, data: Path) -> None:
    ingest_dataset(str(data), FOLDS)
    add_run()
    before = counts()
    with pytest.raises(ConflictError, match=r"the stimulus word\d+ is for \w+ and no longer for"):
        ingest_dataset(str(data), FOLDS | {"seed": 1})
    assert counts() == before


def test_localiser_maps_stay_as_they_are(flows_home: Path, data: Path) -> None:
    manifest = data / "dataset.toml"
    values = np.random.default_rng(0).normal(size=GRID).astype(np.float32)
    write_image(data / "t.nii.gz", values, AFFINE)
    without = manifest.read_text()
    with_map = without.replace('label = "p0"', 'label = "p0"\nmaps = { faces = "t.nii.gz" }')
    ingest_dataset(str(data), FOLDS)
    add_run()
    manifest.write_text(with_map)
    assert ingest_dataset(str(data), FOLDS)["changed"]
    assert counts()["catalog.run"] == 1
    # A map grows with the voxels that are kept.
    assert ingest_dataset(str(data), FOLDS | {"noise_ceiling": 15})["changed"]
    assert ingest_dataset(str(data), FOLDS)["changed"]
    before = counts()
    write_image(data / "t.nii.gz", values + 1, AFFINE)
    with pytest.raises(ConflictError, match="the localiser map faces of p0 is another or gone"):
        ingest_dataset(str(data), FOLDS)
    assert counts() == before


def test_what_the_store_has_lost_cannot_be_compared(flows_home: Path, data: Path) -> None:
    ingest_dataset(str(data), FOLDS)
    add_run()
    with open_session() as session:
        artefacts = session.scalars(select(Subject.artefacts).where(Subject.label == "p0")).one()
    lost = Artefact.model_validate(artefacts["sessions"][0])
    (Path(get_store().url) / lost.path).unlink()
    _other_betas(data)
    with pytest.raises(ConflictError, match="ingested of p0 is not in the store"):
        ingest_dataset(str(data), FOLDS | {"zscore": "all"})


@pytest.mark.parametrize(("first", "then"), [(5, DEMANDING), (DEMANDING, 5)])
def test_data_that_have_grown_keep_the_catalog_from_an_older_version(
    flows_home: Path, data: Path, first: int, then: int
) -> None:
    """Whether voxels went or came: the older version would take one voxel for another."""
    ingest_dataset(str(data), FOLDS | {"noise_ceiling": first})
    add_run()
    ingest_dataset(str(data), FOLDS | {"noise_ceiling": then})
    before = counts()
    with pytest.raises(UnavailableError, match="data have grown"):
        downgrade(get_engine(), "0016")
    assert counts() == before


def test_data_that_have_not_grown_go_back_to_an_older_version(flows_home: Path, data: Path) -> None:
    ingest_dataset(str(data), FOLDS)
    downgrade(get_engine(), "0016")
    assert current_revision(get_engine()) == "0016"

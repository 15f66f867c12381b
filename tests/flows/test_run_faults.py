"""What a run refuses: one clear line, and the catalog as it was."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner

from app.cli import app
from app.concepts.service import show_concept
from app.database.engine import get_engine, open_session
from app.database.migrate import downgrade
from app.database.models import Component, Decoder, Encoder, Run, VoxelVector
from app.embedding import load_encoder
from app.errors import CatalogError, ConflictError, InputError, NotFoundError, UnavailableError
from app.settings import get_settings
from app.store import Artefact
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.stages import get_store, store_at
from tests.flows.planted import write_planted
from tests.flows.test_ingest import counts

Options = dict[str, object]

# Of the small cohort; the planted data set takes less of everything, and no time to embed.
RUN = {
    "encoder": "caption:all-MiniLM-L6-v2",
    "decoder": {"steps": 20, "evaluate_every": 10},
    "reduction": {"components": 8, "steps": 100, "starts": 6},
    "masks": {"lambdas": [1.0, 3.0], "draws": 1},
    "statistics": {"permutations": 99, "mixtures": 99},
    "stability": {"seeds": 1},
}


FOLDS = {"n_test": 20, "n_validation": 20}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that tests read and none changes."""
    return write_planted(tmp_path_factory.mktemp("faults") / "planted")


@pytest.fixture
def ingested(flows_home: Path, planted: Path) -> Options:
    """Options of a run on the planted data set, which is in the catalog."""
    ingest_dataset(str(planted), FOLDS)
    return RUN | {"encoder": f"vectors:{planted / 'words.csv'}"}


def refused(kind: type[CatalogError], options: Options, dataset: str = "planted") -> str:
    before = counts()
    with pytest.raises(kind) as caught:
        run_pipeline(dataset, options)
    assert "\n" not in str(caught.value)
    assert counts() == before
    return str(caught.value)


def test_an_unknown_dataset(ingested: Options) -> None:
    assert "no dataset nowhere" in refused(NotFoundError, ingested, "nowhere")


def test_an_unknown_encoder(ingested: Options) -> None:
    line = refused(InputError, ingested | {"encoder": "magic:beans"})
    assert "magic:beans" in line
    assert "caption:all-MiniLM-L6-v2" in line


def test_an_encoder_of_another_dimension_than_the_stored_vectors(ingested: Options) -> None:
    with open_session() as session, session.begin():
        session.add(
            Encoder(
                name=load_encoder(str(ingested["encoder"])).name,
                spec=str(ingested["encoder"]),
                dimension=7,
                checksum="0",
                sees_images=False,
                text_mean=np.zeros(7),
            )
        )
    assert "dimension" in refused(ConflictError, ingested)


def test_a_number_of_seeds_that_is_none(ingested: Options) -> None:
    before = counts()
    result = CliRunner().invoke(app, ["run", "planted", "--set", "stability.seeds=0"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: stability.seeds: Input should be greater than or equal")
    assert result.stderr.count("\n") == 1
    assert counts() == before


def test_more_components_than_the_data_can_carry(ingested: Options) -> None:
    line = refused(InputError, ingested | {"reduction": {"components": 200, "steps": 20}})
    assert "reduction.components is 200, larger than the data can carry" in line


def test_an_encoder_of_pictures_where_the_device_is_missing(
    ingested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("SDC_DEVICE", "cuda")
    get_settings.cache_clear()
    assert "cuda" in refused(UnavailableError, ingested)


def test_a_database_at_another_migration(ingested: Options) -> None:
    downgrade(get_engine(), "0001")
    with pytest.raises(UnavailableError, match="at migration 0001") as caught:
        run_pipeline("planted", ingested)
    assert "sdc db upgrade" in caught.value.hint


def test_a_dataset_that_is_replaced_under_way(
    ingested: Options,
    planted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows import pipeline

    literal = pipeline.publish_run

    def replacing(*args: object) -> object:
        ingest_dataset(str(planted), FOLDS | {"seed": 4}, replace=True)
        return literal(*args)

    monkeypatch.setattr(pipeline, "publish_run", replacing)
    with pytest.raises(ConflictError, match="changed while the run was under way"):
        run_pipeline("planted", ingested)
    assert counts()["catalog.run"] == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_in_mid_run_and_the_run_that_goes_on(
    ingested: Options, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path(get_settings().store_url)
    subprocess.run(["cp", "-a", f"{store}/.", str(small_disk)], check=True)
    monkeypatch.setenv("SDC_STORE", str(small_disk))
    get_settings.cache_clear()
    store_at.cache_clear()
    free = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 60_000))
    line = refused(CatalogError, ingested)
    assert "the disk is full" in line
    assert "finished work is kept" in line
    ballast.unlink()
    assert run_pipeline("planted", ingested)["changed"]


def test_a_run_is_published_and_again_is_the_same(ingested: Options) -> None:
    first = run_pipeline("planted", ingested)
    rows = counts()
    assert first["changed"]
    assert rows["catalog.component"] >= 4
    assert rows["catalog.decoder"] == 2
    assert rows["catalog.voxel_vector"] == rows["catalog.voxel"]
    with open_session() as session:
        for decoder in session.scalars(select(Decoder)).all():
            stored = session.scalars(
                select(VoxelVector.vector)
                .where(VoxelVector.subject_id == decoder.subject_id)
                .order_by(VoxelVector.index)
            ).all()
            weights = get_store().get(Artefact(sha256=decoder.artefact_sha256, size=0))["weight"].T
            unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
            # Half precision has eleven bits; how a norm is summed up moves the last one.
            np.testing.assert_allclose(stored, unit, rtol=2**-10, atol=2**-20)
            as_they_lie = session.scalars(
                text("SELECT index FROM catalog.voxel_vector WHERE subject_id = :s ORDER BY ctid"),
                {"s": decoder.subject_id},
            ).all()
            assert as_they_lie == list(reversed(range(len(weights))))
        # One seed measures no stability.
        run = session.scalars(select(Run)).one()
        assert not {"stability", "repeat"} & {*run.metrics, *run.parents, *run.timings}
        concept = session.scalars(select(Component)).first()
        shown = show_concept(session, concept.id)
        assert (shown.stability, shown.stability_chance) == (None, None)
    again = run_pipeline("planted", ingested)
    assert again == {name: each for name, each in first.items() if name != "timings"} | {
        "changed": False
    }
    assert (again["encoder"], again["encoder_reason"]) == (ingested["encoder"], "as configured")
    assert counts() == rows
    other = run_pipeline("planted", ingested | {"seed": 1})
    assert other["run"] != first["run"]
    with open_session() as session:
        from app.runs.service import list_runs

        current = [run.run for run in list_runs(session, "planted").runs if run.current]
    assert current == [other["run"]]

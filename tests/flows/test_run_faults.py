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
from app.errors import CatalogError, ConflictError, InputError, NotFoundError, UnavailableError
from app.settings import get_settings
from app.store import Artefact
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.stages import get_store, store_at
from tests.flows.test_ingest import OPTIONS, counts

RUN = {
    "encoder": "caption:all-MiniLM-L6-v2",
    "decoder": {"steps": 20, "evaluate_every": 10},
    "reduction": {"components": 4, "steps": 20},
    "masks": {"lambdas": [5.0]},
    "statistics": {"permutations": 99},
    "stability": {"seeds": 1},
}


@pytest.fixture
def ingested(flows_home: Path, small_cohort: Path) -> Path:
    ingest_dataset(str(small_cohort), OPTIONS)
    return flows_home


def refused(kind: type[CatalogError], options: dict[str, object], dataset: str = "small") -> str:
    before = counts()
    with pytest.raises(kind) as caught:
        run_pipeline(dataset, options)
    assert "\n" not in str(caught.value)
    assert counts() == before
    return str(caught.value)


def test_an_unknown_dataset(ingested: Path) -> None:
    assert "no dataset nowhere" in refused(NotFoundError, RUN, "nowhere")


def test_an_unknown_encoder(ingested: Path) -> None:
    line = refused(InputError, RUN | {"encoder": "magic:beans"})
    assert "magic:beans" in line
    assert "caption:all-MiniLM-L6-v2" in line


def test_an_encoder_of_another_dimension_than_the_stored_vectors(ingested: Path) -> None:
    with open_session() as session, session.begin():
        session.add(
            Encoder(
                name="caption:all-MiniLM-L6-v2",
                spec="caption:all-MiniLM-L6-v2",
                dimension=7,
                checksum="0",
                sees_images=False,
                text_mean=np.zeros(7),
            )
        )
    assert "dimension" in refused(ConflictError, RUN)


def test_a_number_of_seeds_that_is_none(ingested: Path) -> None:
    before = counts()
    result = CliRunner().invoke(app, ["run", "small", "--set", "stability.seeds=0"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: stability.seeds: Input should be greater than or equal")
    assert result.stderr.count("\n") == 1
    assert counts() == before


def test_more_components_than_the_data_can_carry(ingested: Path) -> None:
    line = refused(InputError, RUN | {"reduction": {"components": 200, "steps": 20}})
    assert "reduction.components is 200, larger than the data can carry" in line


def test_an_encoder_of_pictures_where_the_device_is_missing(
    ingested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("SDC_DEVICE", "cuda")
    get_settings.cache_clear()
    assert "cuda" in refused(UnavailableError, RUN)


def test_a_database_at_another_migration(ingested: Path) -> None:
    downgrade(get_engine(), "0001")
    with pytest.raises(UnavailableError, match="at migration 0001") as caught:
        run_pipeline("small", RUN)
    assert "sdc db upgrade" in caught.value.hint


def test_a_dataset_that_is_replaced_under_way(
    ingested: Path,
    small_cohort: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows import pipeline

    literal = pipeline.publish_run

    def replacing(*args: object) -> object:
        ingest_dataset(str(small_cohort), OPTIONS | {"seed": 4}, replace=True)
        return literal(*args)

    monkeypatch.setattr(pipeline, "publish_run", replacing)
    with pytest.raises(ConflictError, match="was replaced while the run was under way"):
        run_pipeline("small", RUN)
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
    ingested: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path(get_settings().store_url)
    subprocess.run(["cp", "-a", f"{store}/.", str(small_disk)], check=True)
    monkeypatch.setenv("SDC_STORE", str(small_disk))
    get_settings.cache_clear()
    store_at.cache_clear()
    free = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 1_000_000))
    line = refused(CatalogError, RUN)
    assert "the disk is full" in line
    assert "finished work is kept" in line
    ballast.unlink()
    assert run_pipeline("small", RUN)["changed"]


def test_the_small_run_is_published_and_again_is_the_same(ingested: Path) -> None:
    first = run_pipeline("small", RUN)
    rows = counts()
    assert first["changed"]
    assert rows["catalog.component"] == 4
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
    assert run_pipeline("small", RUN) == {"run": first["run"], "dataset": "small", "changed": False}
    assert counts() == rows
    other = run_pipeline("small", RUN | {"seed": 1})
    assert other["run"] != first["run"]
    with open_session() as session:
        from app.runs.service import list_runs

        current = [run.run for run in list_runs(session, "small").runs if run.current]
    assert current == [other["run"]]

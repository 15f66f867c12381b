"""Areas under the curve and Dice of a run, computed again from all that the catalog gives out."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import polars
import pytest
from fastapi.testclient import TestClient
from nibabel.nifti1 import Nifti1Image
from sklearn.metrics import roc_auc_score
from sqlalchemy import select, text

from app.api import make_api
from app.database.engine import open_session
from app.database.models import Decoder
from app.exports.service import export
from app.store import Artefact
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.responses import load_responses
from flows.stages import get_store
from tests.flows.planted import write_planted
from tests.flows.test_run_faults import FOLDS, RUN

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Stored:
    """An area and a Dice that the catalog has, and what they are of."""

    component: int
    subject: str
    region: str
    auc: float
    dice: float


@dataclass(frozen=True)
class Published:
    """A published run, and where it was exported to."""

    stored: list[Stored]
    folder: Path


@pytest.fixture(scope="module")
def published(
    server_url: str,
    template_database: str,
    prefect_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Published]:
    """A small run on planted data, in a catalog of the module's own, exported in two forms."""
    from tests.flows.conftest import home_of_a_module

    folder = tmp_path_factory.mktemp("maps")
    home = folder / "home"
    with home_of_a_module(home, server_url, template_database, prefect_server):
        planted = write_planted(folder / "planted", constant=7)
        # A second region, which overlaps the first one.
        text_ = (planted / "dataset.toml").read_text()
        more = (
            '\n[[participants.regions]]\natlas = "own"\nfile = "region.nii.gz"\n'
            "labels = { anterior = 1 }\n"
        )
        parts = text_.split("[[participants]]")
        (planted / "dataset.toml").write_text(
            parts[0] + "".join(f"[[participants]]{part.rstrip()}\n{more}" for part in parts[1:])
        )
        ingest_dataset(str(planted), FOLDS)
        run = run_pipeline("planted", RUN | {"encoder": f"vectors:{planted / 'words.csv'}"})
        assert run["changed"]
        with open_session() as session:
            rows = session.execute(
                text(
                    "SELECT component_id, subject, atlas || ':' || region, auc, dice"
                    " FROM catalog.concept_regions ORDER BY 1, 2, 3"
                )
            )
            stored = [Stored(*row) for row in rows]
            for kind in ("bids", "parquet"):
                export(session, "planted", folder / kind, kind, lambda *_: None)  # type: ignore[arg-type]
        yield Published(stored, folder)


def check(stored: Stored, inside: np.ndarray, weight: np.ndarray) -> None:
    """Hold what is stored against what any program makes of the maps."""
    inside, member = inside.astype(bool), weight >= 0.5
    assert 0 < inside.sum() < len(inside)
    assert roc_auc_score(inside, weight) == pytest.approx(stored.auc, abs=TOLERANCE)
    dice = 2 * (inside & member).sum() / (inside.sum() + member.sum())
    assert dice == pytest.approx(stored.dice, abs=TOLERANCE)


def test_there_is_something_to_compute(published: Published) -> None:
    assert len(published.stored) >= 8
    assert {one.subject for one in published.stored} == {"p0", "p1"}
    assert {one.region for one in published.stored} == {"floc-faces:FFA", "own:anterior"}
    aucs = [one.auc for one in published.stored]
    assert min(aucs) < 0.4
    assert max(aucs) > 0.8
    assert any(one.dice > 0 for one in published.stored)


def test_nifti_gives_the_areas_again(published: Published) -> None:
    root = published.folder / "bids"
    for one in published.stored:
        atlas, region = one.region.split(":")
        stem = root / f"sub-{one.subject}" / "func" / f"sub-{one.subject}_task-pictures"
        part = f"_space-MNI152NLin6Asym_res-native_desc-concept{one.component}_stat-weight_statmap"
        weight = nibabel.load(f"{stem}{part}.nii.gz").get_fdata()
        atlas_name = atlas.replace("-", "")
        label = f"_space-MNI152NLin6Asym_res-native_label-{region}_desc-{atlas_name}_mask.nii.gz"
        inside = nibabel.load(f"{stem}{label}").get_fdata()
        known = np.isfinite(weight)
        check(one, inside[known], weight[known])
        told = json.loads(Path(f"{stem}{part}.json").read_text())["Regions"]
        (own,) = [each for each in told if (each["Atlas"], each["Region"]) == (atlas, region)]
        assert (own["AUC"], own["Dice"]) == (one.auc, one.dice)
        low, high = own["AUCInterval95"]
        assert low <= high


def test_parquet_gives_the_areas_again(published: Published) -> None:
    maps = polars.read_parquet(published.folder / "parquet" / "concept_maps.parquet")
    voxels = polars.read_parquet(published.folder / "parquet" / "voxels.parquet")
    for one in published.stored:
        own = maps.filter(component_id=one.component, subject=one.subject)
        rows = own.explode("voxel_id", "weight").join(voxels, on="voxel_id")
        inside = rows["regions"].list.contains(one.region)
        check(one, inside.to_numpy(), rows["weight"].to_numpy())


def test_sql_gives_the_areas_again(published: Published) -> None:
    query = text(
        "SELECT map.weight, :region = ANY (voxel.regions) AS inside"
        " FROM catalog.concept_maps AS maps"
        " CROSS JOIN unnest(maps.voxel_id, maps.weight) AS map (voxel_id, weight)"
        " JOIN catalog.voxels AS voxel ON voxel.voxel_id = map.voxel_id"
        " WHERE maps.component_id = :component AND maps.subject = :subject"
    )
    with open_session() as session:
        for one in published.stored:
            asked = {"component": one.component, "subject": one.subject, "region": one.region}
            weight, inside = zip(*session.execute(query, asked), strict=True)
            check(one, np.array(inside), np.array(weight))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rest_gives_the_areas_again(published: Published, kind: str) -> None:
    with TestClient(make_api()) as client:
        for one in published.stored:
            asked = {"subject": one.subject, "format": kind, "every": "true"}
            answer = client.get(f"/v1/components/{one.component}/voxels", params=asked)
            if kind == "csv":
                rows: Any = list(csv.DictReader(io.StringIO(answer.text)))
                inside = [one.region in row["regions"].split("|") for row in rows]
                weight = [float(row["weight"]) for row in rows]
            else:
                table = polars.read_parquet(io.BytesIO(answer.content))
                inside = table["regions"].list.contains(one.region).to_list()
                weight = table["weight"].to_list()
            check(one, np.array(inside), np.array(weight))


def test_rest_and_nifti_have_the_same_maps(published: Published) -> None:
    one = published.stored[0]
    with TestClient(make_api()) as client:
        asked = {"subject": one.subject, "format": "parquet", "every": "true"}
        answer = client.get(f"/v1/components/{one.component}/voxels", params=asked)
        table = polars.read_parquet(io.BytesIO(answer.content))
        for name in ("weight", "needed", "pattern"):
            asked = {"subject": one.subject, "map": name}
            answer = client.get(f"/v1/components/{one.component}/mask", params=asked)
            volume = Nifti1Image.from_bytes(gzip.decompress(answer.content)).get_fdata()
            i, j, k = table.select("i", "j", "k").to_numpy().T
            np.testing.assert_array_equal(volume[i, j, k], table[name].to_numpy())
            assert np.isfinite(volume).sum() == len(table)


def test_maps_are_what_the_run_was_computed_by(published: Published) -> None:
    """Patterns are covariances of responses with what is decoded of them, along the component."""
    query = text(
        "SELECT component_id, subject, run_id, voxel_id, weight, needed, pattern"
        " FROM catalog.concept_maps ORDER BY 1, 2"
    )
    store = get_store()
    with open_session() as session:
        maps = session.execute(query).all()
        sha = dict(
            session.execute(
                text(
                    "SELECT subject.label, decoder.artefact_sha256 FROM catalog.decoder"
                    " JOIN catalog.subject ON subject.id = decoder.subject_id"
                )
            ).all()
        )
        members = {
            (row.component_id, row.subject, row.voxel_id): (row.weight, row.needed)
            for row in session.execute(text("SELECT * FROM catalog.concept_voxels"))
        }
        vectors = dict(
            session.execute(text("SELECT id, CAST(vector AS real[]) FROM catalog.component")).all()
        )
        folds = session.execute(
            text('SELECT key, fold FROM catalog.stimulus ORDER BY key COLLATE "C"')
        ).all()
        artefacts = dict(
            session.execute(text("SELECT label, artefacts FROM catalog.subject")).all()
        )
        kept = dict(
            session.execute(
                text(
                    "SELECT subject, array_agg(voxel_id ORDER BY i, j, k) FROM catalog.voxels"
                    " GROUP BY subject"
                )
            ).all()
        )
        assert session.scalar(select(Decoder.kind).limit(1)) == "linear"
    inside = {
        (row.component_id, row.subject, voxel): (weight, needed)
        for row in maps
        for voxel, weight, needed in zip(row.voxel_id, row.weight, row.needed, strict=True)
        if weight >= 0.5
    }
    # Where a mask counts for nothing it has no members, whatever its weights.
    assert members.items() <= inside.items()
    assert members
    for row in maps:
        assert row.voxel_id == kept[row.subject]
    development = ["development" if row.fold != "test" else "test" for row in folds]
    for row in maps:
        decoder = store.get(Artefact(sha256=sha[row.subject], size=0))
        weights = decoder["weight"]
        x, _ = load_responses(store, artefacts[row.subject], development, "development")
        x = x.astype(float)
        decoded = x @ (weights if weights.shape[0] == x.shape[1] else weights.T)
        along = decoded @ np.array(vectors[row.component_id])
        literal = [np.cov(column, along)[0, 1] for column in x.T]
        np.testing.assert_allclose(row.pattern, literal, rtol=2e-2, atol=2e-3 * np.std(literal))

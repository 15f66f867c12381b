"""The stage that holds masks against localisers, and what a run publishes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from scipy.stats import false_discovery_control
from sqlalchemy import func, select

from app.database.engine import open_session
from app.database.models import (
    Component,
    ComponentAtlas,
    ComponentRegion,
    ComponentSubject,
    Decoder,
    Region,
    Run,
    Subject,
    Validation,
    Voxel,
    VoxelRegion,
)
from app.search.service import search
from app.store import Artefact
from app.validation.service import validate
from flows.demo.anatomy import FLOC_MAPS
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.science.metrics import auc, dice
from flows.stages import get_store
from flows.validate import MAP_ATLASES, validate_subject
from tests.flows.science.fields import ball, smooth_maps, voxel_cloud
from tests.flows.test_ingest import OPTIONS
from tests.flows.test_run_faults import RUN

CLOUD = voxel_cloud(1000, np.random.default_rng(0))
SIDE = np.where(CLOUD[:, 0] > 0, 1, -1).astype(np.int8)
REGIONS = np.array([ball(CLOUD, centre, size) for centre, size in ((50, 25), (400, 30), (800, 40))])
ATLASES = ["floc-faces", "floc-faces", "floc-words"]

# So small a cohort gives usable masks of a few components alone.
SMALL = RUN | {
    "reduction": {"components": 6, "steps": 100, "starts": 6},
    "masks": {"lambdas": [0.5]},
}


def measured(soft: np.ndarray, maps: dict[str, np.ndarray] | None) -> tuple[Any, dict[str, Any]]:
    """The stage's result for masks (K, V), and its arrays."""
    store = get_store()
    result = validate_subject.function(
        "subj01",
        {
            "masks": store.put({"soft": soft.astype(np.float32)}).model_dump(),
            "threshold": 0.5,
            "reasons": [None] * len(soft),
        },
        store.put(
            {
                "native": CLOUD.astype(np.float32),
                "side": SIDE,
                "regions": REGIONS.astype(np.uint8),
            }
        ).model_dump(),
        ATLASES,
        store.put(maps).model_dump() if maps else None,
        99,
        0,
    )
    return result, store.get(Artefact.model_validate(result["overlap"]))


def test_the_maps_are_those_that_nsd_drew_its_regions_on() -> None:
    assert MAP_ATLASES == FLOC_MAPS


@pytest.mark.usefixtures("catalog")
def test_a_mask_that_is_its_localisers_regions_is_found_there_and_nowhere_else() -> None:
    rng = np.random.default_rng(1)
    faces, words = REGIONS[:2].any(axis=0), REGIONS[2]
    t = {
        name: (5 * region + rng.standard_normal(len(CLOUD))).astype(np.float32)
        for name, region in (("floc_facestval", faces), ("floc_wordtval", words))
    }
    t["floc_facestval"][:100] = np.nan
    noise = smooth_maps(CLOUD, 1, 6.0, rng).T
    result, found = measured(np.concatenate([[faces, words], noise / 4 + 0.3]), t)
    assert result["atlases"] == ["floc-faces", "floc-words"]
    assert result["maps"] == ["floc_facestval", "floc_wordtval"]
    np.testing.assert_allclose(np.diag(found["auc"]), 1, atol=1e-6)
    assert np.diag(found["dice"]).tolist() == [1, 1]
    assert (np.diag(found["p"]) == 0.01).all()
    assert (np.diag(found["rho"]) > 0.3).all()
    assert found["size"].tolist() == [int(faces.sum()), 40]
    assert np.diag(found["inside"]).tolist() == [int(faces.sum()), 40]
    for other in ((0, 1), (1, 0)):
        assert found["auc"][other] < 0.5
        assert found["dice"][other] == 0
        assert found["rho"][other] < 0.1
    # A smooth map of nothing: 1 of 20 such tests is below 0.05, and this draw is none of them.
    assert (found["p"][2] > 0.05).all()
    assert (np.abs(found["rho"][2]) < 0.2).all()


@pytest.mark.usefixtures("catalog")
def test_a_map_without_regions_is_an_atlas_of_no_voxels_and_no_map_is_no_rho() -> None:
    soft = np.random.default_rng(2).random((2, len(CLOUD)))
    result, found = measured(soft, {"cars": soft[0].astype(np.float32)})
    assert result["atlases"] == ["floc-faces", "floc-words", "cars"]
    assert result["maps"] == [None, None, "cars"]
    assert np.isnan(found["rho"][:, :2]).all()
    assert found["rho"][0, 2] == pytest.approx(1)
    assert found["size"][2] == 0
    assert np.isnan(found["auc"][:, 2]).all()
    result, found = measured(soft, None)
    assert result["maps"] == [None, None]
    assert np.isnan(found["rho"]).all()


@pytest.mark.slow
def test_a_run_stores_what_its_masks_literally_have_in_common_with_the_localisers(
    flows_home: Path, small_cohort: Path
) -> None:
    ingest_dataset(str(small_cohort), OPTIONS)
    first = run_pipeline("small", SMALL)["run"]
    assert_stored_is_literal(first)
    # The masks are remembered: other categories are asked of the same ones.
    probes = [
        {"category": "all", "prompt": "a street", "atlas": "prf-visualrois"},
        {"category": "none", "prompt": "a car", "atlas": "floc-cars"},
    ]
    second = run_pipeline("small", SMALL | {"validation": {"probes": probes}})["run"]
    with open_session() as session:
        rows = session.execute(
            select(Validation.run_id, Validation.category, func.count())
            .where(Validation.subject_id.is_not(None), Validation.region_id.is_(None))
            .group_by(Validation.run_id, Validation.category)
            .order_by(Validation.run_id, func.min(Validation.id))
        ).all()
    categories = ("faces", "bodies", "places", "words")
    assert [tuple(row) for row in rows] == [
        *((first, category, 2) for category in categories),
        (second, "all", 2),
    ]


def assert_stored_is_literal(run: int) -> None:
    """Every number of a run's validation against a reading of the store by other means."""
    with open_session() as session:
        subjects = session.execute(
            select(Subject, Decoder)
            .join(Decoder, Decoder.subject_id == Subject.id)
            .where(Decoder.run_id == run)
        ).all()
        rows = session.scalars(select(Validation).where(Validation.run_id == run)).all()
        assert {row.atlas for row in rows} == set(MAP_ATLASES.values())
        p_values: dict[bool, list[float]] = {True: [], False: []}
        for row in rows:
            answer = search(session, row.prompt, run=run, k=1)
            assert row.component_id == answer.concepts[0].id
            assert row.similarity == pytest.approx(answer.concepts[0].similarity)
            assert row.subject_id is not None
            ((subject, decoder),) = [each for each in subjects if each[0].id == row.subject_id]
            index = session.get_one(Component, row.component_id).index
            fault = session.scalar(
                select(ComponentSubject.reason).where(
                    ComponentSubject.component_id == row.component_id,
                    ComponentSubject.subject_id == row.subject_id,
                )
            )
            if fault is not None:
                assert (row.auc, row.rho, row.reason) == (None, None, fault)
                continue
            soft = get_store().get(Artefact(sha256=decoder.masks_sha256, size=0))["soft"][index]
            inside = _members(session, subject.id, row.atlas, row.region_id)
            assert row.auc == pytest.approx(float(auc(soft[:, None], inside)[0]), abs=1e-5)
            assert row.dice == pytest.approx(dice(soft >= 0.5, inside), abs=1e-6)
            assert row.n_region == inside.sum()
            assert row.n_voxels == (inside & (soft >= 0.5)).sum()
            assert row.p_value is not None
            p_values[row.region_id is None].append(row.p_value)
            if row.region_id is not None:
                assert row.rho is row.map is None
                continue
            maps = get_store().get(Artefact.model_validate(subject.artefacts["maps"]))
            assert MAP_ATLASES[str(row.map)] == row.atlas
            expected = scipy.stats.spearmanr(soft, maps[str(row.map)], nan_policy="omit")
            assert row.rho == pytest.approx(expected.statistic, abs=1e-6)
        for union, p in p_values.items():
            told = [row.q_value for row in rows if (row.region_id is None) == union]
            known = [q for q in told if q is not None]
            assert len(known) >= 2
            np.testing.assert_allclose(known, false_discovery_control(p))
        assert session.get_one(Run, run).timings["validate"] >= 0
        # What a prompt asks later is what a category asked when the run was made.
        asked = validate(session, run=run, atlas="floc-faces", prompt="a face").categories[0]
        kept = validate(session, run=run, atlas="floc-faces").categories[0]
        assert asked.component == kept.component
        for one, other in zip(asked.subjects, kept.subjects, strict=True):
            assert (one.auc, one.p_value, one.rho) == (other.auc, other.p_value, other.rho)
            assert [part.auc for part in one.regions] == [part.auc for part in other.regions]
        unions = session.scalar(select(func.count()).select_from(ComponentAtlas)) or 0
        assert unions > len(rows)
        single = session.scalar(select(func.count()).select_from(ComponentRegion)) or 0
        assert single > 0


def _members(session: Any, subject: int, atlas: str, region: int | None) -> np.ndarray:
    """(V,) whether each voxel lies in a region, or in any of the atlas."""
    query = (
        select(Voxel.index)
        .join(VoxelRegion, VoxelRegion.voxel_id == Voxel.id)
        .join(Region, Region.id == VoxelRegion.region_id)
        .where(Voxel.subject_id == subject, Region.atlas == atlas)
    )
    if region is not None:
        query = query.where(Region.id == region)
    count = session.scalar(select(func.count()).where(Voxel.subject_id == subject)) or 0
    return np.isin(np.arange(count), session.scalars(query).all())

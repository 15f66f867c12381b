"""The clusters of planted decoders, and what each participant's members carry."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Component, ComponentSubject
from app.errors import InputError
from app.settings import get_settings
from app.store import Artefact
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.science.model import Decoder
from flows.science.voxel_clusters import ClusterConfig
from flows.stages import get_store
from flows.voxel_clusters import (
    find_clusters,
    measure_members,
    require_clusters,
    require_participants,
)
from tests.flows.test_ingest import OPTIONS
from tests.flows.test_methods import BY_CLUSTERS

Json = dict[str, Any]

DIMENSION, VOXELS, IMAGES = 256, 60, 80
GROUPS = (slice(0, 10), slice(10, 22))
# The last participant has none of the second group, and a voxel that tells nothing.
WITHOUT, SILENT = 2, 59
CONFIG = {"eps": 0.5, "min_neighbours": 1}


@dataclass(frozen=True)
class Cohort:
    """Three participants whose voxels decode in two groups; all others decode anything."""

    directions: np.ndarray
    weights: list[np.ndarray]
    decoders: list[Json]
    vectors: np.ndarray


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cohort]:
    monkeypatch.setenv("SDC_HOME", str(tmp_path))
    get_settings.cache_clear()
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(DIMENSION, 2)))[0].T
    weights = [_weights(rng, directions, participant) for participant in range(3)]
    vectors = rng.normal(size=(IMAGES, 2)) @ directions + 0.02 * rng.normal(
        size=(IMAGES, DIMENSION)
    )
    yield Cohort(
        directions=directions,
        weights=weights,
        decoders=[_decoder(own) for own in weights],
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
    )
    get_settings.cache_clear()


def _weights(rng: np.random.Generator, directions: np.ndarray, participant: int) -> np.ndarray:
    weights = rng.normal(size=(VOXELS, DIMENSION)) / np.sqrt(DIMENSION)
    for group, direction in zip(GROUPS, directions, strict=True):
        if not (participant == WITHOUT and group == GROUPS[1]):
            weights[group] = direction + 0.3 * weights[group]
    if participant == WITHOUT:
        weights[SILENT] = 0
    return weights.astype(np.float32)


def _decoder(weights: np.ndarray) -> Json:
    bias = np.full(weights.shape[1], 0.001, dtype=np.float32)
    decoder = Decoder("linear", {"weight": weights.T.copy(), "bias": bias})
    return {"decoder": get_store().put(decoder.tensors()).model_dump(), "kind": "linear"}


def arrays(reference: Json) -> dict[str, np.ndarray]:
    return get_store().get(Artefact.model_validate(reference))


def test_planted_groups_are_the_clusters_and_a_silent_voxel_is_in_none(cohort: Cohort) -> None:
    found = find_clusters.function(cohort.decoders, CONFIG, "cpu")
    components = arrays(found["components"])["components"]
    assert components.shape == (2, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(components, axis=1), 1, atol=1e-6)
    nearest = (components @ cohort.directions.T).argmax(axis=1)
    assert sorted(nearest) == [0, 1]
    for participant, reference in enumerate(found["members"]):
        cluster = arrays(reference)["cluster"]
        expected = np.full(VOXELS, -1)
        for planted, group in enumerate(GROUPS):
            if not (participant == WITHOUT and planted == 1):
                expected[group] = np.flatnonzero(nearest == planted)[0]
        np.testing.assert_array_equal(cluster, expected)


def test_unrelated_decoders_have_no_cluster(cohort: Cohort) -> None:
    rng = np.random.default_rng(1)
    decoders = [_decoder(rng.normal(size=(VOXELS, DIMENSION)).astype(np.float32)) for _ in range(3)]
    found = find_clusters.function(decoders, CONFIG, "cpu")
    assert found["count"] == 0
    assert arrays(found["components"])["components"].shape == (0, DIMENSION)
    assert all((arrays(each)["cluster"] == -1).all() for each in found["members"])
    with pytest.raises(InputError, match="there is no cluster") as caught:
        require_clusters(found["count"], ClusterConfig(**CONFIG))
    assert "\n" not in str(caught.value)
    for remedy in ("lower clusters.min_neighbours", "raise clusters.eps", "method masks"):
        assert remedy in caught.value.hint


def test_too_few_participants_are_told_what_to_do() -> None:
    require_participants("small", 4, ClusterConfig())
    with pytest.raises(InputError, match="small has 3 participants") as caught:
        require_participants("small", 3, ClusterConfig())
    assert "need at least 4" in caught.value.message
    assert "lower clusters.min_neighbours" in caught.value.hint


def test_a_cluster_of_all_voxels_says_nothing_of_where(cohort: Cohort) -> None:
    rng = np.random.default_rng(2)
    alike = [(cohort.directions[0] + 0.01 * rng.normal(size=(VOXELS, DIMENSION))) for _ in range(3)]
    everywhere = replace(
        cohort,
        weights=[own.astype(np.float32) for own in alike],
        decoders=[_decoder(own.astype(np.float32)) for own in alike],
    )
    result, fit, _ = measured(everywhere, 0)
    assert result["reasons"] == ["all of this participant's voxels are in the cluster"]
    assert not fit["soft"].any()
    assert fit["peak"].tolist() == [-1]


def measured(cohort: Cohort, participant: int) -> tuple[Json, dict[str, np.ndarray], np.ndarray]:
    """The stage's result for one participant, its arrays, and the test responses (N, V)."""
    store = get_store()
    rng = np.random.default_rng(participant)
    image = np.tile(np.arange(IMAGES), 2)
    x = cohort.vectors[image] @ cohort.weights[participant].T
    x = (x + 0.3 * rng.normal(size=x.shape)).astype(np.float32)
    artefacts = {
        "voxels": store.put({"kept": np.arange(VOXELS), "image": image}).model_dump(),
        "sessions": [store.put({"betas": x.T.copy()}).model_dump()],
    }
    places = np.argwhere(np.ones((4, 5, 3))).astype(np.float32) * 2
    region = np.zeros((1, VOXELS), dtype=np.uint8)
    region[0, GROUPS[0]] = 1
    found = find_clusters.function(cohort.decoders, CONFIG, "cpu")
    result = measure_members.function(
        "subj",
        artefacts,
        store.put({"native": places, "regions": region}).model_dump(),
        cohort.decoders[participant],
        store.put({"vectors": cohort.vectors}).model_dump(),
        found["components"],
        found["members"][participant],
        ["test"] * IMAGES,
        199,
        0,
        "cpu",
    )
    components = arrays(found["components"])["components"]
    return result, arrays(result["masks"]) | {"components": components}, x


def test_members_are_measured_as_masks_are(cohort: Cohort) -> None:
    result, fit, x = measured(cohort, 0)
    assert result["reasons"] == [None, None]
    first = int((fit["components"] @ cohort.directions[0]).argmax())
    assert np.isnan(fit["lam"]).all()
    soft = np.zeros((2, VOXELS))
    soft[first, GROUPS[0]] = soft[1 - first, GROUPS[1]] = 1
    np.testing.assert_array_equal(fit["soft"], soft)
    y = cohort.vectors[np.tile(np.arange(IMAGES), 2)]
    for index, row in enumerate(fit["components"]):
        told = (x * soft[index]) @ cohort.weights[0] + 0.001
        told /= np.linalg.norm(told, axis=1, keepdims=True)
        r = np.corrcoef(np.maximum(y @ row, 0), np.maximum(told @ row, 0))[0, 1]
        assert fit["r_hard"][index] == pytest.approx(r, abs=1e-4)
        assert fit["r_soft"][index] == fit["r_hard"][index]
        assert r > 0.3
        group = GROUPS[0] if index == first else GROUPS[1]
        strength = np.abs(cohort.weights[0] @ row)[group]
        assert fit["peak"][index] == group.start + strength.argmax()
    assert (fit["p_test"] <= 0.01).all()
    assert fit["peak_region"][1 - first, 0] == -1


def test_a_participant_without_members_is_told_why(cohort: Cohort) -> None:
    result, fit, _ = measured(cohort, WITHOUT)
    second = int((fit["components"] @ cohort.directions[1]).argmax())
    assert result["reasons"][second] == "none of this participant's voxels is in the cluster"
    assert result["reasons"][1 - second] is None
    assert not fit["soft"][second].any()
    assert fit["peak"][second] == -1
    assert np.isnan(fit["r_hard"][second])


def test_nothing_is_shared_where_brains_saw_other_pictures(
    flows_home: Path, small_cohort: Path, tmp_path: Path
) -> None:
    """Each participant's pictures are mixed up, those that both saw apart; repeats agree still."""
    cohort = Path(shutil.copytree(small_cohort, tmp_path / "nsd"))
    path = cohort / "nsddata/experiments/nsd/nsd_expdesign.mat"
    design = {name: value for name, value in loadmat(path).items() if name[0] != "_"}
    rng = np.random.default_rng(0)
    shared = design["sharedix"].size
    for ids in design["subjectim"]:
        ids[:shared] = rng.permutation(ids[:shared])
        ids[shared:] = rng.permutation(ids[shared:])
    savemat(path, design)
    ingest_dataset(str(cohort), OPTIONS | {"noise_ceiling": 25.0})
    run = run_pipeline("small", BY_CLUSTERS)["run"]
    with open_session() as session:
        components = session.scalars(select(Component).where(Component.run_id == run)).all()
        assert len(components) >= 2
        assert not any(component.shared for component in components)
        decoding = session.scalars(select(ComponentSubject.decodes)).all()
        assert sum(decoding) <= 1

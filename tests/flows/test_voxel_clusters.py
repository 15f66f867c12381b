"""The clusters of planted decoders, and the masks that each participant's members are."""

import json
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
from flows.science.cluster_radius import GRID
from flows.science.model import Decoder
from flows.science.voxel_clusters import ClusterConfig
from flows.stages import get_store
from flows.voxel_clusters import (
    cover_members,
    find_clusters,
    require_clusters,
    require_participants,
)
from tests.flows.test_ingest import OPTIONS
from tests.flows.test_methods import BY_CLUSTERS

Json = dict[str, Any]

DIMENSION, VOXELS = 256, 60
GROUPS = (slice(0, 10), slice(10, 22))
# The last participant has none of the second group, and a voxel that tells nothing.
WITHOUT, SILENT = 2, 59
# Of the weights, that need no responses: what is found in them is found in any vectors.
CHOOSING = {"min_neighbours": 1, "vectors": "weights"}
CONFIG = CHOOSING | {"eps": 0.5}


@dataclass(frozen=True)
class Cohort:
    """Three participants whose voxels decode in two groups; all others decode anything."""

    directions: np.ndarray
    weights: list[np.ndarray]
    decoders: list[list[Json]]
    ceilings: list[Json]


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cohort]:
    monkeypatch.setenv("SDC_HOME", str(tmp_path))
    get_settings.cache_clear()
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(DIMENSION, 2)))[0].T
    weights = [_weights(rng, directions, participant) for participant in range(3)]
    yield Cohort(
        directions=directions,
        weights=weights,
        decoders=[[_decoder(own)] for own in weights],
        ceilings=[_ceiling(np.full(VOXELS, 20.0))] * 3,
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
    decoder = Decoder("linear", {"weight": weights.T.astype(np.float32), "bias": bias})
    return {"decoder": get_store().put(decoder.tensors()).model_dump(), "kind": "linear"}


def _zeros() -> Json:
    patterns = np.zeros((VOXELS, DIMENSION), dtype=np.float32)
    return get_store().put({"patterns": patterns}).model_dump()


def _ceiling(percent: np.ndarray) -> Json:
    return get_store().put({"noise_ceiling": percent.astype(np.float32)}).model_dump()


def arrays(reference: Json) -> dict[str, np.ndarray]:
    return get_store().get(Artefact.model_validate(reference))


def find(cohort: Cohort, config: Json = CONFIG, labels: list[str] | None = None) -> Json:
    found = find_clusters.function(cohort.decoders, cohort.ceilings, config, 0, "cpu", labels)
    # Stages' results are remembered as JSON.
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def members_of(found: Json, participant: int) -> np.ndarray:
    bits = arrays(found["members"][participant])["members"]
    return np.unpackbits(bits, axis=1, count=VOXELS).astype(bool)


def nearest_of(found: Json, cohort: Cohort) -> list[int]:
    """The cluster of each direction."""
    components = arrays(found["components"])["components"]
    return (components @ cohort.directions.T).argmax(axis=0).tolist()


def test_planted_groups_are_the_clusters_and_a_silent_voxel_is_in_none(cohort: Cohort) -> None:
    found = find(cohort)
    components = arrays(found["components"])["components"]
    assert components.shape == (2, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(components, axis=1), 1, atol=1e-6)
    nearest = nearest_of(found, cohort)
    assert sorted(nearest) == [0, 1]
    for participant in range(3):
        expected = np.zeros((2, VOXELS), dtype=bool)
        for planted, group in enumerate(GROUPS):
            expected[nearest[planted], group] = not (participant == WITHOUT and planted == 1)
        np.testing.assert_array_equal(members_of(found, participant), expected)
    assert (found["count"], found["eps"], found["curve"]) == (2, 0.5, [])


def test_eps_is_chosen_and_its_curve_kept(cohort: Cohort) -> None:
    chosen = find(cohort, CHOOSING)
    assert [each["eps"] for each in chosen["curve"]] == list(GRID)
    best = max(chosen["curve"], key=lambda each: each["score"])
    assert (chosen["eps"], chosen["count"]) == (best["eps"], best["clusters"]) == (best["eps"], 2)
    given = find(cohort, CHOOSING | {"eps": chosen["eps"]})
    assert given["components"] == chosen["components"]
    assert given["members"] == chosen["members"]


def test_voxels_below_the_noise_ceiling_are_in_no_cluster(cohort: Cohort) -> None:
    percent = np.full(VOXELS, 20.0)
    percent[:3] = 8.0, 7.9, np.nan
    some = replace(cohort, ceilings=[_ceiling(percent), *cohort.ceilings[1:]])
    found = find(some)
    (first, _) = nearest_of(found, cohort)
    # Above 8 %, or not known.
    assert members_of(found, 0)[first, :5].tolist() == [False, False, True, True, True]
    assert members_of(found, 1)[first, :5].all()
    lower = find(some, CONFIG | {"noise_ceiling": 7.9})
    assert members_of(lower, 0)[first, :5].tolist() == [True, False, True, True, True]
    # A group whose voxels are below it in all participants but one is no cluster.
    percent = np.where(np.arange(VOXELS) < 10, 3.0, 20.0)
    without = replace(cohort, ceilings=[*cohort.ceilings[:1], *[_ceiling(percent)] * 2])
    assert find(without)["count"] == 1


def test_a_participant_without_a_usable_voxel_is_named(cohort: Cohort) -> None:
    low = replace(cohort, ceilings=[*cohort.ceilings[:2], _ceiling(np.full(VOXELS, 6.0))])
    with pytest.raises(InputError, match=r"sub-c: .* above clusters\.noise_ceiling 8 %") as caught:
        find(low, labels=["sub-a", "sub-b", "sub-c"])
    assert "lower clusters.noise_ceiling" in caught.value.hint
    with pytest.raises(InputError, match="participant 3 of 3: no voxel to cluster"):
        find(low)
    find(low, CONFIG | {"noise_ceiling": 5.0})


def test_seeds_are_averaged_at_one_scale(cohort: Cohort) -> None:
    rng = np.random.default_rng(3)
    noisy = [
        [own + 1.6 * rng.normal(size=own.shape) / np.sqrt(DIMENSION) for _ in range(4)]
        for own in cohort.weights
    ]
    scale = (1, 100, 1, 0.01)
    decoders = [
        [_decoder(factor * own) for own, factor in zip(each, scale, strict=True)] for each in noisy
    ]
    for seed in range(4):
        alone = replace(cohort, decoders=[[own[seed]] for own in decoders])
        assert find(alone)["count"] == 0
    together = find(replace(cohort, decoders=decoders))
    assert together["count"] == 2
    assert sorted(nearest_of(together, cohort)) == [0, 1]
    same = [[_decoder(own) for own in each] for each in noisy]
    again = find(replace(cohort, decoders=same))
    np.testing.assert_allclose(
        arrays(again["components"])["components"],
        arrays(together["components"])["components"],
        atol=1e-5,
    )
    np.testing.assert_array_equal(members_of(again, 0), members_of(together, 0))


@pytest.mark.parametrize("stored", [{}, {"patterns": None}])
def test_decoders_without_patterns_are_told_what_to_do(cohort: Cohort, stored: Json) -> None:
    without = replace(cohort, decoders=[[own[0] | stored] for own in cohort.decoders])
    with pytest.raises(InputError, match="stored without patterns") as caught:
        find(without, {"min_neighbours": 1})
    assert "set clusters.vectors to weights" in caught.value.hint


def test_patterns_are_clustered_unless_weights_are_asked_for(cohort: Cohort) -> None:
    patterns = {name: value for name, value in CONFIG.items() if name != "vectors"}
    rng = np.random.default_rng(4)
    told = [
        [
            _decoder(rng.normal(size=own.shape))
            | {"patterns": get_store().put({"patterns": own}).model_dump()}
        ]
        for own in cohort.weights
    ]
    found = find(replace(cohort, decoders=told), patterns)
    assert found["count"] == 2
    weights = find(cohort)
    assert (found["components"], found["members"]) == (weights["components"], weights["members"])
    assert find(replace(cohort, decoders=told))["count"] == 0
    silent = [[own[0] | {"patterns": _zeros()}] for own in told]
    with pytest.raises(InputError, match="none with patterns has a noise ceiling above"):
        find(replace(cohort, decoders=silent), patterns)


def test_unrelated_decoders_have_no_cluster(cohort: Cohort) -> None:
    rng = np.random.default_rng(1)
    apart = replace(
        cohort, decoders=[[_decoder(rng.normal(size=(VOXELS, DIMENSION)))] for _ in range(3)]
    )
    for config in (CONFIG, CHOOSING):
        found = find(apart, config)
        assert (found["count"], found["eps"]) == (0, config.get("eps"))
        assert arrays(found["components"])["components"].shape == (0, DIMENSION)
        assert all(members_of(found, who).shape == (0, VOXELS) for who in range(3))
        with pytest.raises(InputError, match="no cluster: no voxel's decoder weights") as caught:
            require_clusters(found["count"], ClusterConfig(**config))
        assert "\n" not in str(caught.value)
        tried = "clusters.eps 0.5" if "eps" in config else "any clusters.eps of 0.1 to 0.7"
        assert tried in caught.value.message
        for remedy in ("lower clusters.min_neighbours", "method masks"):
            assert remedy in caught.value.hint
        # Where the data choose the radius there is none to raise.
        assert ("raise clusters.eps" in caught.value.hint) == ("eps" in config)
    with pytest.raises(InputError, match="no cluster: no voxel's patterns have others"):
        require_clusters(0, ClusterConfig())


def test_too_few_participants_are_told_what_to_do() -> None:
    require_participants("small", 4, ClusterConfig())
    with pytest.raises(InputError, match="small has 3 participants") as caught:
        require_participants("small", 3, ClusterConfig())
    assert "need at least 4" in caught.value.message
    assert "lower clusters.min_neighbours" in caught.value.hint


def covered(
    cohort: Cohort, participant: int, partner: list[int] | None = None
) -> tuple[Json, dict[str, np.ndarray]]:
    """The stage's result for one participant, and its arrays."""
    found = find(cohort)
    region = np.zeros((1, VOXELS), dtype=np.uint8)
    region[0, GROUPS[0]] = 1
    components = arrays(found["components"])
    if partner is not None:
        components = {"components": components["components"][partner]}
    result = cover_members.function(
        "subj",
        get_store().put({"regions": region}).model_dump(),
        cohort.decoders[participant][0],
        get_store().put(components).model_dump(),
        found["members"][participant],
        partner,
    )
    return result, arrays(result["masks"]) | components


def test_members_are_the_masks(cohort: Cohort) -> None:
    result, fit = covered(cohort, 0)
    assert result["reasons"] == [None, None]
    assert np.isnan(fit["lam"]).all()
    first = int((fit["components"] @ cohort.directions[0]).argmax())
    soft = np.zeros((2, VOXELS))
    soft[first, GROUPS[0]] = soft[1 - first, GROUPS[1]] = 1
    np.testing.assert_array_equal(fit["soft"], soft)
    for index, row in enumerate(fit["components"]):
        group = GROUPS[0] if index == first else GROUPS[1]
        strength = np.abs(cohort.weights[0] @ row)[group]
        assert fit["peak"][index] == group.start + strength.argmax()
    assert fit["peak_region"][1 - first, 0] == -1
    other, moved = covered(cohort, 0, partner=[1, 0])
    np.testing.assert_array_equal(moved["soft"], fit["soft"][::-1])
    assert other["reasons"] == [None, None]


def test_a_voxel_that_two_clusters_share_is_in_both_masks(cohort: Cohort) -> None:
    weights = [own.copy() for own in cohort.weights]
    # Not within eps of a member of either cluster, but within the reach of their expansion.
    away = np.linalg.qr(np.vstack([cohort.directions, weights[0][30]]).T)[0][:, 2]
    weights[0][30] = 0.475 * cohort.directions.sum(axis=0) + 0.74 * away
    shared = replace(cohort, decoders=[[_decoder(own)] for own in weights])
    _, fit = covered(shared, 0)
    assert fit["soft"][:, 30].tolist() == [1, 1]
    exclusive = find(shared, CONFIG | {"overlapping": False})
    assert members_of(exclusive, 0)[:, 30].sum() == 1


def test_a_participant_without_members_is_told_why(cohort: Cohort) -> None:
    result, fit = covered(cohort, WITHOUT)
    second = int((fit["components"] @ cohort.directions[1]).argmax())
    assert result["reasons"][second] == "none of this participant's voxels is in the cluster"
    assert result["reasons"][1 - second] is None
    assert not fit["soft"][second].any()
    assert fit["peak"][second] == -1


def test_a_cluster_of_all_voxels_says_nothing_of_where(cohort: Cohort) -> None:
    rng = np.random.default_rng(2)
    alike = [cohort.directions[0] + 0.01 * rng.normal(size=(VOXELS, DIMENSION)) for _ in range(3)]
    everywhere = replace(cohort, decoders=[[_decoder(own)] for own in alike])
    result, fit = covered(everywhere, 0)
    assert result["reasons"] == ["all of this participant's voxels are in the cluster"]
    assert not fit["soft"].any()
    assert fit["peak"].tolist() == [-1]


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
    chosen = {"clusters": {"min_neighbours": 1}}
    none = run_pipeline("small", BY_CLUSTERS | chosen)
    assert none["verdict"].startswith("this run found nothing: there is no cluster")
    assert none["held_back"] == none["verdict"]
    # A given radius has clusters by chance, that nobody finds again.
    given = {"clusters": BY_CLUSTERS["clusters"] | {"eps": 0.5}}
    told = run_pipeline("small", BY_CLUSTERS | given)
    assert told["verdict"].startswith(
        "this run found nothing: these components are not reproducible"
    )
    assert told["concepts"] == {"found": 0, "shared": 0}
    run = run_pipeline("small", BY_CLUSTERS | given, force=True)["run"]
    with open_session() as session:
        components = session.scalars(select(Component).where(Component.run_id == run)).all()
        assert len(components) >= 2
        assert not any(component.shared for component in components)
        decoding = list(session.scalars(select(ComponentSubject.decodes)))
        # Null where a participant has no voxel in the cluster: nothing was tested.
        assert decoding.count(False) >= 2
        assert decoding.count(True) <= 1

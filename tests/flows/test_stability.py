"""Components and masks that other seeds find: planted ones, and those of a small cohort."""

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store import Artefact
from flows.config import RunConfig, StabilityConfig
from flows.matching import match
from flows.science.stability import NO_PARTNER
from flows.stability import compare_seeds
from flows.stages import get_store
from tests.conftest import forget_settings

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(0, 5)
SAME = 0.75
Found = tuple[dict[str, Any], dict[str, np.ndarray]]


def brute_force(similarity: np.ndarray, taken: set[tuple[int, int]]) -> float:
    """Highest total similarity of any one-to-one matching, of as many pairs as can be had."""
    count, other = similarity.shape
    if count > other:
        return brute_force(similarity.T, {(b, a) for a, b in taken})
    totals: dict[int, list[float]] = {}
    for columns in permutations(range(other), count):
        pairs = [pair for pair in enumerate(columns) if pair not in taken]
        totals.setdefault(len(pairs), []).append(sum(similarity[pair] for pair in pairs))
    return max(totals[max(totals)])


@given(SEEDS, SIZES, SIZES)
def test_partners_are_those_that_brute_force_finds(seed: int, count: int, other: int) -> None:
    similarity = np.random.default_rng(seed).uniform(-1, 1, (count, other))
    first = match(similarity)
    assert assert_one_to_one(first, similarity) == pytest.approx(brute_force(similarity, set()))
    taken = {(row, column) for row, column in enumerate(first.tolist()) if column != NO_PARTNER}
    second = match(similarity, without=first)
    assert assert_one_to_one(second, similarity) == pytest.approx(brute_force(similarity, taken))
    assert not taken & set(enumerate(second.tolist()))


def assert_one_to_one(partner: np.ndarray, similarity: np.ndarray) -> float:
    """Total similarity of partners, none of whom is given twice."""
    rows = np.flatnonzero(partner != NO_PARTNER)
    assert partner.shape == similarity.shape[:1]
    assert len(set(partner[rows].tolist())) == len(rows)
    return float(similarity[rows, partner[rows]].sum())


def test_a_lone_pair_has_no_runner_up() -> None:
    similarity = np.array([[0.5]])
    assert match(similarity).tolist() == [0]
    assert match(similarity, without=np.array([0])).tolist() == [NO_PARTNER]


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_no_two_seeds_share_a_start_of_a_reduction(seed: int, seeds: int) -> None:
    """Starts count up from a seed: the demo's, of eight and two a participant, are far apart."""
    config = RunConfig(seed=seed, stability=StabilityConfig(seeds=seeds))
    own = [seed, *config.further_seeds]
    assert len(own) == seeds
    starts = [{each + start for start in range(100)} for each in own]
    assert len(set().union(*starts)) == 100 * seeds


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Found]]:
    """Compares components and hard masks (a participant each) with those of further seeds."""
    monkeypatch.setenv("SDC_HOME", str(tmp_path))
    forget_settings()

    def compare(
        rows: np.ndarray,
        masks: list[np.ndarray],
        repeats: list[tuple[np.ndarray, list[np.ndarray]]],
        reasons: dict[int, str] | None = None,
    ) -> Found:
        store = get_store()

        def put(**arrays: np.ndarray) -> dict[str, Any]:
            return store.put(arrays).model_dump()

        result = compare_seeds.function(
            put(components=rows.astype(np.float32)),
            [
                {
                    "masks": put(soft=np.where(mask, 0.75, 0.25).astype(np.float32)),
                    "reasons": [(reasons or {}).get(index) for index in range(len(mask))],
                    "threshold": 0.5,
                }
                for mask in masks
            ],
            [
                {
                    "seed": 1000 * (number + 1),
                    "components": put(components=others.astype(np.float32)),
                    "masks": [put(members=np.packbits(each, axis=1)) for each in again],
                }
                for number, (others, again) in enumerate(repeats)
            ],
            # Scores along such stimuli have the components' own cosines.
            put(vectors=np.concatenate([np.eye(60), -np.eye(60)]).astype(np.float32)),
            SAME,
        )
        return result["summary"], store.get(Artefact.model_validate(result["stability"]))

    yield compare
    forget_settings()


def drawn(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Random components, and random masks of two participants of 403 and 1,000 voxels."""
    return rng.normal(size=(count, 60)), [rng.random((count, v)) < 0.1 for v in (403, 1000)]


def test_a_permuted_copy_is_found_again(compared: Callable[..., Found]) -> None:
    rng = np.random.default_rng(0)
    rows, masks = drawn(30, rng)
    orders = [rng.permutation(30) for _ in range(3)]
    repeats = [
        (rows[order] + 0.3 * rng.normal(size=rows.shape), [mask[order] for mask in masks])
        for order in orders
    ]
    summary, found = compared(rows, masks, repeats)
    for order, partner in zip(orders, found["partner"], strict=True):
        assert order[partner].tolist() == list(range(30))
    assert (found["cosine"] > 0.9).all()
    assert (found["dice"] == 1).all()
    assert found["component_dice"].tolist() == [1] * 30
    assert found["component_seeds"].tolist() == [3] * 30
    assert found["component_cosine"] == pytest.approx(found["cosine"].mean(axis=0))
    assert found["seed"].tolist() == summary["seeds"] == [1000, 2000, 3000]
    assert found["component_found"] == pytest.approx(found["component_cosine"])
    assert summary["found_again"] == 30
    assert summary["cosine"]["mean"] == pytest.approx(found["cosine"].mean())
    assert summary["cosine"]["median"] == pytest.approx(np.median(found["cosine"]))
    assert summary["dice"]["mean"] == summary["masks_again"] == 1
    # Masks of a tenth of the voxels each overlap by a tenth.
    assert summary["dice"]["others"] == pytest.approx(0.1, abs=0.01)
    assert summary["dice"]["runner_up"] == pytest.approx(0.1, abs=0.01)
    assert summary["cosine"]["runner_up"] < 0.3
    assert abs(summary["cosine"]["others"]) < 0.01


def test_where_nothing_is_found_again_the_best_matching_is_like_the_next(
    compared: Callable[..., Found],
) -> None:
    """The matching takes the highest cosines there are: unrelated components reach some too."""
    rng = np.random.default_rng(1)
    summary, found = compared(*drawn(40, rng), [drawn(40, rng) for _ in range(4)])
    cosine, dice = summary["cosine"], summary["dice"]
    assert summary["found_again"] == 0
    assert cosine["mean"] > 0.2
    assert 0.8 * cosine["mean"] < cosine["runner_up"] <= cosine["mean"]
    assert abs(cosine["others"]) < 0.01
    assert found["component_cosine"].min() > 0
    for level in dice.values():
        assert level == pytest.approx(0.1, abs=0.01)


def test_seeds_that_find_fewer_or_more_components(compared: Callable[..., Found]) -> None:
    rng = np.random.default_rng(2)
    rows, masks = drawn(6, rng)
    more = np.concatenate([rng.normal(size=(3, 60)), rows])
    more_masks = [np.concatenate([mask[:3], mask]) for mask in masks]
    repeats = [
        (rows[:4], [mask[:4] for mask in masks]),
        (more, more_masks),
        (rows[:0], [mask[:0] for mask in masks]),
    ]
    summary, found = compared(rows, masks, repeats)
    assert found["partner"].tolist() == [
        [0, 1, 2, 3, NO_PARTNER, NO_PARTNER],
        [3, 4, 5, 6, 7, 8],
        [NO_PARTNER] * 6,
    ]
    assert found["component_seeds"].tolist() == [2, 2, 2, 2, 1, 1]
    assert found["component_cosine"] == pytest.approx(np.ones(6))
    assert found["component_dice"].tolist() == [1] * 6
    # A seed that has no partner counts as one that did not find it again.
    assert found["component_found"] == pytest.approx([2 / 3] * 4 + [1 / 3] * 2)
    assert summary["found_again"] == 0
    assert np.isnan(found["dice"][2]).all()
    assert summary["masks_again"] == pytest.approx((4 + 6 + 0) / 18)


def test_clusters_are_compared_as_masks_are(compared: Callable[..., Found]) -> None:
    """Two of another seed's clusters are one of the run's."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(3, 60))
    clusters = [rng.integers(-1, 3, voxels) for voxels in (403, 1000)]
    masks = [cluster == np.arange(3)[:, None] for cluster in clusters]
    split = [
        np.where((cluster == 2) & (rng.random(cluster.shape) < 0.4), 3, cluster)
        for cluster in clusters
    ]
    others = np.concatenate([rows, rows[2:] + rng.normal(size=(1, 60))])
    parts = [cluster == np.arange(4)[:, None] for cluster in split]
    summary, found = compared(rows, masks, [(others, parts)])
    assert found["partner"].tolist() == [[0, 1, 2]]
    for participant, cluster in enumerate(split):
        kept = (cluster == 2).sum() / masks[participant][2].sum()
        expected = [1, 1, 2 * kept / (1 + kept)]
        assert found["dice"][0, participant] == pytest.approx(expected)
    assert summary["dice"]["others"] < 0.2


def test_no_component_at_all_is_nothing_measured(compared: Callable[..., Found]) -> None:
    rows, masks = drawn(0, np.random.default_rng(3))
    summary, found = compared(rows, masks, [(rows, masks)])
    assert summary["cosine"] == dict.fromkeys(("mean", "median", "runner_up", "others"))
    assert summary["dice"] == dict.fromkeys(("mean", "runner_up", "others"))
    assert summary["masks_again"] is None
    assert len(found["component_dice"]) == 0


def test_a_mask_that_counts_for_nothing_is_no_overlap(compared: Callable[..., Found]) -> None:
    rng = np.random.default_rng(4)
    rows, masks = drawn(5, rng)
    again = [mask.copy() for mask in masks]
    again[0][2] = again[0][3] = again[1][3] = False
    summary, found = compared(rows, masks, [(rows, again), (rows, masks)], {0: "full"})
    missing = np.isnan(found["dice"])
    assert missing[:, :, 0].all()
    assert missing[0].tolist() == [
        [True, False, True, True, False],
        [True, *[False] * 2, True, False],
    ]
    assert np.isnan(found["component_dice"][0])
    assert found["component_dice"][1:].tolist() == [1] * 4
    assert found["component_seeds"].tolist() == [2] * 5
    # Of 8 masks that count, as often as there are seeds, all but three count again.
    assert summary["masks_again"] == pytest.approx(13 / 16)
    assert summary["dice"]["mean"] == 1

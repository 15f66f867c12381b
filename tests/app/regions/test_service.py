import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.database.models import Run
from app.regions.repository import Overlap
from app.regions.schemas import Peak
from app.regions.service import apart_by_level, best_regions, level_of, rank_overlaps


def overlap(
    region: str, subject: str, auc: float, q: float, *, decodes: bool = True, component: int = 1
) -> Overlap:
    return Overlap(
        component=component,
        subject=subject,
        decodes=decodes,
        atlas="floc",
        region=region,
        auc=auc,
        dice=0.5,
        p_value=q / 2,
        q_value=q,
        n_voxels=3,
        peak=Peak(peak_mm=(1, 2, 3), space="MNI"),
    )


def named(overlaps: list[Overlap]) -> list[tuple[str, str]]:
    return [(each.region, each.subject) for each in overlaps]


def test_the_mean_over_those_who_decode_orders_regions() -> None:
    ranked = rank_overlaps(
        [
            overlap("EBA", "a", 0.7, 0.01),
            overlap("EBA", "b", 0.99, 0.01, decodes=False),
            overlap("FFA", "a", 0.8, 0.01),
            overlap("FFA", "b", 0.1, 0.9, decodes=False),
        ]
    )
    assert named(ranked) == [("FFA", "a"), ("FFA", "b"), ("EBA", "b"), ("EBA", "a")]


def test_where_nobody_decodes_all_count() -> None:
    ranked = rank_overlaps(
        [
            overlap("EBA", "a", 0.7, 0.5, decodes=False),
            overlap("FFA", "a", 0.9, 0.5, decodes=False),
        ]
    )
    assert named(ranked) == [("FFA", "a"), ("EBA", "a")]


def test_significance_in_half_of_the_participants_comes_before_a_larger_auc() -> None:
    rows = [
        overlap("EBA", "a", 0.95, 0.2),
        overlap("EBA", "b", 0.95, 0.2),
        overlap("FFA", "a", 0.7, 0.3),
        overlap("FFA", "b", 0.6, 0.01),
    ]
    assert named(rank_overlaps(rows)) == [("FFA", "b"), ("FFA", "a"), ("EBA", "a"), ("EBA", "b")]
    assert named(rank_overlaps([*rows, overlap("FFA", "c", 0.7, 0.3)]))[0][0] == "EBA"


def test_only_so_many_regions_are_kept_with_all_their_participants() -> None:
    rows = [overlap(name, who, 0.7, 0.01) for name in "xyz" for who in "ab"]
    assert named(rank_overlaps(rows, 2)) == [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b")]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(0, 1)
        ),
        max_size=30,
    ),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
)
def test_a_region_scores_by_its_best_concept(
    rows: list[tuple[int, str, str, float]], similarities: list[float]
) -> None:
    similarity = dict(enumerate(similarities, start=1))
    overlaps = [
        overlap(region, subject, auc, 0.5, component=component)
        for component, subject, region, auc in rows
    ]
    told = best_regions(overlaps, similarity)
    expected: dict[tuple[str, str], float] = {}
    for component, subject, region, auc in rows:
        if similarity[component] > 0:
            score = similarity[component] * (2 * auc - 1)
            expected[subject, region] = max(score, expected.get((subject, region), -2))
    assert {(each.subject, each.region): each.score for each in told} == expected
    assert [each.score for each in told] == sorted(expected.values(), reverse=True)


def test_regions_that_carry_are_told_apart_in_the_order_they_came() -> None:
    rows = [
        *(overlap("FFA", "a", 0.9, 0.05), overlap("FFA", "b", 0.8, 0.051)),
        *(overlap("EBA", "a", 0.7, 0.2), overlap("PPA", "b", 0.6, 0.01)),
    ]
    carrying, weaker = apart_by_level(rows, 0.05)
    assert named(carrying) == [("FFA", "a"), ("PPA", "b")]
    assert named(weaker) == [("FFA", "b"), ("EBA", "a")]
    carrying, weaker = apart_by_level(rows, 0.05, 1)
    assert (named(carrying), named(weaker)) == ([("FFA", "a")], [("FFA", "b")])


@pytest.mark.parametrize(
    ("configuration", "level"),
    [
        ({}, 0.05),
        ({"statistics": {"level": 0.01}}, 0.01),
        ({"statistics": {}}, 0.05),
        ({"statistics": None}, 0.05),
    ],
)
def test_the_level_is_the_runs(configuration: dict[str, object], level: float) -> None:
    assert level_of(Run(configuration=configuration)) == level

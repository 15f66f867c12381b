from hypothesis import given
from hypothesis import strategies as st

from app.regions.repository import Overlap
from app.regions.schemas import Peak
from app.regions.service import best_regions, rank_overlaps


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

"""Tests of what places carry, against the truth of the published catalog."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy.orm import Session

from app.errors import CatalogError
from app.places.service import search_place, search_region
from app.regions.repository import list_overlaps
from tests.app.published import (
    CONCEPTS,
    REASONS,
    REGIONS,
    RESPONDS,
    SHARED,
    VERDICTS,
    VOXELS_A_REGION,
    Published,
)

WEIGHTS = np.linspace(1, 0.6, VOXELS_A_REGION)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_ball_around_one_mask(session: Session, published: Published, concept: str) -> None:
    """Voxel (i, j) lies at (2 i, 2 j, 0) mm; mask i is row i, its weights fall with j."""
    at = CONCEPTS.index(concept)
    answer = search_place(session, (2.0 * at, 0.0, 0.0), 1.0, "native", subject="subj01")
    assert answer.voxels == {"subj01": 1}
    (found,) = answer.concepts
    assert found.id == published.components[concept]
    assert found.coverage == pytest.approx(1.0)
    assert found.subjects[0].nearest_mm == 0
    assert found.subjects[0].responds == RESPONDS[concept]


def test_coverage_is_weight_over_all_voxels_kept(session: Session, published: Published) -> None:
    """Every participant with voxels there counts, and so do voxels of no mask's."""
    centre = (2.0 - 40, 0.0 - 40, -40.0)
    answer = search_place(session, centre, 2.0, "MNI")
    # (0, 0), (1, 0), (2, 0) and (1, 1), in both participants.
    assert answer.voxels == {"subj01": 4, "subj02": 4}
    told = {each.id: each for each in answer.concepts}
    expected = {"body": (WEIGHTS[0] + WEIGHTS[1]) / 4, "face": 1 / 4, "house": 1 / 4}
    assert {published.components[name] for name in expected} == set(told)
    assert answer.concepts[0].id == published.components["body"]
    for name, coverage in expected.items():
        found = told[published.components[name]]
        assert found.coverage == pytest.approx(coverage, abs=1e-6)
        assert [each.subject for each in found.subjects] == ["subj01", "subj02"]
    assert told[published.components["face"]].subjects[0].nearest_mm == pytest.approx(2.0)
    assert len(search_place(session, centre, 2.0, "MNI", k=1).concepts) == 1


@pytest.mark.parametrize(("concept", "region"), list(zip(CONCEPTS, REGIONS, strict=True)))
def test_a_region_carries_its_concept_most(
    session: Session, published: Published, concept: str, region: str
) -> None:
    answer = search_region(session, "floc", region)
    assert answer.concepts[0].id == published.components[concept]
    assert len(answer.concepts) == len(CONCEPTS)
    component = published.components[concept]
    overlaps = list_overlaps(session, [component], atlas="floc", region=region)
    judges = [each.auc for each in overlaps if each.decodes]
    assert answer.concepts[0].auc == pytest.approx(np.mean(judges))
    assert {each.region for found in answer.concepts for each in found.subjects} == {region}
    rest = [each.auc for each in answer.concepts[1:]]
    assert rest == sorted(rest, reverse=True)


def test_claims_stand_beside_shared(session: Session, published: Published) -> None:
    name_of = {id_: name for name, id_ in published.components.items()}
    placed = search_place(session, (-35.0, -35.0, -40.0), 30.0, "MNI").concepts
    carried = search_region(session, "floc", "FFA").concepts
    assert {each.id for each in placed} == {each.id for each in carried} == set(name_of)
    for each in (*placed, *carried):
        name = name_of[each.id]
        assert (each.decodable, each.specific, each.agreeing, each.stable) == VERDICTS[name]
        assert (each.shared is True, each.reasons) == (name in SHARED, REASONS[name])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"centre": (float("nan"), 0, 0)}, "is no place in a brain"),
        ({"centre": (0, 1e9, 0)}, "is no place in a brain"),
        ({"radius": 0}, "the radius is 0 mm"),
        ({"radius": float("nan")}, "the radius is nan mm"),
        ({"radius": 101}, "the radius is 101 mm"),
        ({"space": "native"}, "none is named"),
        ({"centre": (500, 0, 0)}, "no voxel was kept within 5 mm"),
        ({"subject": "nobody"}, "has no subject 'nobody'"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_bad_places(
    session: Session, published: Published, asked: dict[str, Any], message: str
) -> None:
    words = {"centre": (-40.0, -40.0, -40.0), "radius": 5.0, "space": "MNI"} | asked
    with pytest.raises(CatalogError, match=message):
        search_place(session, **words)  # type: ignore[arg-type]


def test_a_region_that_is_none(session: Session, published: Published) -> None:
    with pytest.raises(CatalogError, match="the dataset lab-a has no atlas 'x'"):
        search_region(session, "x", "FFA")
    with pytest.raises(CatalogError, match="the atlas floc of lab-a has no region 'x'"):
        search_region(session, "floc", "x")

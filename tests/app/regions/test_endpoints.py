"""Tests of the list of regions over HTTP."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.database.models import Subject, Voxel, VoxelRegion
from app.regions.service import list_regions
from app.store import ArtefactStore
from tests.app.published import ATLAS, REGIONS, SUBJECTS, VOXELS_A_REGION, Published, publish


def all_pages(client: TestClient, limit: int, **filters: object) -> tuple[list[Any], set[int]]:
    """Items over all pages, and the totals that pages told."""
    items: list[Any] = []
    totals, cursor = set(), None
    while True:
        asked = filters | {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/regions", params=asked).json()
        assert len(page["items"]) <= limit
        items += page["items"]
        totals.add(page["total"])
        cursor = page["next"]
        if cursor is None:
            return items, totals


@pytest.mark.parametrize("limit", [1, 4, 6, 50])
def test_pages_hold_every_region_once(client: TestClient, published: Published, limit: int) -> None:
    voxels = dict.fromkeys(SUBJECTS, VOXELS_A_REGION)
    assert all_pages(client, limit) == (
        [
            {"dataset": "lab-a", "atlas": ATLAS, "region": region, "voxels": voxels}
            for region in REGIONS
        ],
        {len(REGIONS)},
    )


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ({"dataset": "lab-a", "atlas": ATLAS, "subject": "subj02"}, len(REGIONS)),
        ({"atlas": ATLAS}, len(REGIONS)),
        ({"atlas": "flock"}, 0),
        ({"subject": "nobody"}, 0),
    ],
)
def test_filters(
    client: TestClient, published: Published, filters: dict[str, str], number: int
) -> None:
    items, totals = all_pages(client, 2, **filters)
    assert (len(items), totals) == (number, {number})
    if "subject" in filters:
        assert all(list(each["voxels"]) == [filters["subject"]] for each in items)


def test_what_a_list_leads_to(client: TestClient, published: Published) -> None:
    """Atlas and region of an item are what a search by region takes."""
    for item in client.get("/v1/regions").json()["items"]:
        asked = {name: item[name] for name in ("dataset", "atlas", "region")}
        assert client.get("/v1/search/region", params=asked).status_code == 200


def test_voxels_are_counted_in_each_participant(
    session: Session, published: Published, store: ArtefactStore
) -> None:
    """A region without voxels is told too, and is no region of a participant who has none."""
    publish(session, f"vectors:{store.url.removesuffix('store')}words.csv", store, slug="lab-b")
    own = (
        select(Voxel.id)
        .join(Subject, Subject.id == Voxel.subject_id)
        .where(Subject.id == published.subjects["subj02"])
    )
    ffa, eba = published.regions["FFA"], published.regions["EBA"]
    session.execute(
        delete(VoxelRegion).where(VoxelRegion.region_id == ffa, VoxelRegion.voxel_id.in_(own))
    )
    session.execute(delete(VoxelRegion).where(VoxelRegion.region_id == eba))
    told = {each.region: each.voxels for each in list_regions(session, dataset="lab-a").items}
    assert (told["FFA"], told["EBA"]) == ({"subj01": 5}, {})
    assert told["PPA"] == {"subj01": 5, "subj02": 5}
    first, second = (
        list_regions(session, dataset="lab-a", subject=subject) for subject in SUBJECTS
    )
    assert (first.total, second.total) == (5, 4)
    assert {each.region for each in second.items} == set(REGIONS) - {"FFA", "EBA"}
    everywhere = list_regions(session)
    assert everywhere.total == 12
    assert {each.dataset for each in everywhere.items} == {"lab-a", "lab-b"}
    assert everywhere.items[6].voxels == {"subj01": 5, "subj02": 5}


@pytest.mark.parametrize(
    ("asked", "status", "detail", "hint"),
    [
        ({"dataset": "lab-x"}, 404, "no dataset 'lab-x' is in the catalog", "known: lab-a"),
        (
            {"dataset": "lab-a", "atlas": "flock"},
            *(404, "the dataset lab-a has no atlas 'flock'", "known: floc"),
        ),
        (
            {"dataset": "lab-a", "subject": "nobody"},
            *(404, "the dataset lab-a has no subject 'nobody'", "known: subj01, subj02"),
        ),
        ({"cursor": "abc"}, 404, "the cursor is none of this catalog's", "take `next` of a page"),
        ({"limit": 501}, 422, "limit is 501", "ask for 1 to 500 items a page"),
        ({"limit": 0}, 422, "query.limit: Input should be greater than", ""),
        ({"atlas": "\0"}, 422, "query.atlas: String should match pattern", ""),
    ],
)
def test_bad_lists(
    client: TestClient, asked: dict[str, object], status: int, detail: str, hint: str
) -> None:
    response = client.get("/v1/regions", params=asked)
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)
    assert response.json().get("hint", "").startswith(hint)

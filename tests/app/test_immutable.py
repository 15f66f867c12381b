"""Tests of answers that a client may keep."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.api import make_api
from app.database.engine import open_session
from app.database.models import Component
from tests.app.published import Published

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
PATHS = {
    "/v1/components/ID": "/v1/components/{face}",
    "/v1/components/ID/terms": "/v1/components/{face}/terms?k=2",
    "/v1/components/ID/mask": "/v1/components/{face}/mask?subject=subj01",
    "/v1/components/ID/voxels": "/v1/components/{face}/voxels?subject=subj01&format=parquet",
    "/v1/networks/SUBJECT": "/v1/networks/subj01",
    "/v1/validation": "/v1/validation",
    "/v1/regions": "/v1/regions?limit=2",
    "/v1/search/place": "/v1/search/place?x=-40&y=-40&z=-40",
    "/v1/search/region": "/v1/search/region?atlas=floc&region=FFA",
}
# Without a run to be held against localisers.
TAGGED = [each for each in PATHS if each != "/v1/validation"]


@pytest.mark.parametrize("path", TAGGED)
def test_what_a_client_has_is_not_sent_again(
    client: TestClient, published: Published, path: str
) -> None:
    asked = PATHS[path].format(**published.components)
    response = client.get(asked)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-cache"
    again = client.get(asked, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
    other = client.get(asked, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, response.content)


@pytest.mark.parametrize("path", ["/v1/networks/subj01", "/v1/search/region?atlas=floc&region=FFA"])
def test_a_run_by_its_id_and_the_current_one_are_the_same(
    client: TestClient, published: Published, path: str
) -> None:
    joint = "&" if "?" in path else "?"
    tags = [
        client.get(each).headers["etag"] for each in (path, f"{path}{joint}run={published.run}")
    ]
    assert tags[0] == tags[1]


def test_what_changed_is_sent(own_published: Published) -> None:
    client = TestClient(make_api())
    path = "/v1/networks/subj01"
    tag = client.get(path).headers["etag"]
    with open_session() as session, session.begin():
        session.execute(update(Component).values(shared=False, stable=False))
    response = client.get(path, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.headers["etag"] != tag


def test_the_document_and_the_page_tell_which_they_are() -> None:
    paths = make_api().openapi()["paths"]
    told = {
        re.sub(r"\{component_id\}", "ID", re.sub(r"\{subject[^}]*\}", "SUBJECT", path))
        for path, operations in paths.items()
        if "304" in operations.get("get", {}).get("responses", {})
    }
    assert told == set(PATHS)
    (said,) = re.findall(
        r"\*\*What does not change\*\*(.*?)\n\n", PAGE.read_text("utf-8"), re.DOTALL
    )
    assert set(re.findall(r"`(/v1/[^`]*)`", said)) == set(PATHS)

"""Tests that an embargoed dataset is as if it were not there, on every path of the API."""

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.api import make_api
from app.database.engine import open_session
from app.keys.service import create_key, set_embargo, wanted_key
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.conftest import Sdc
from tests.app.maps.volumes import in_mni
from tests.app.published import Published, publish

MAP = in_mni(np.random.default_rng(0).normal(size=(6, 5)))


@pytest.fixture
def both(own_published: Published, own_table: object) -> dict[str, Published]:
    """Two datasets of one encoder, of which one is embargoed."""
    with open_session() as session, session.begin():
        hidden = publish(
            session, f"vectors:{own_table}", ArtefactStore(get_settings().store_url), slug="hidden"
        )
        set_embargo(session, "hidden", True, "a test")
    return {"open": own_published, "hidden": hidden}


def headers_of(*scopes: str, datasets: tuple[str, ...] = ()) -> dict[str, str]:
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("test", scopes, datasets, 30), "a test").key
    return {"Authorization": f"Bearer {key}"}


def paths(component: int, run: int, seen: int) -> dict[str, str]:
    """Every reading path, asked for what is hidden; by way of a concept that is `seen`, too."""
    return {
        "datasets": "/v1/datasets",
        "runs": "/v1/runs",
        "runs of": "/v1/runs?dataset=hidden",
        "list": "/v1/components",
        "list of": "/v1/components?dataset=hidden",
        "list of run": f"/v1/components?run={run}",
        "search": "/v1/search?q=face",
        "search in": "/v1/search?q=face&dataset=hidden",
        "search in run": f"/v1/search?q=face&run={run}",
        "place": "/v1/search/place?x=-40&y=-40&z=-40&dataset=hidden",
        # Which a map is posted to.
        "map": "/v1/search/map?permutations=99",
        "map in": "/v1/search/map?permutations=99&dataset=hidden",
        "map in run": f"/v1/search/map?permutations=99&run={run}",
        "region": "/v1/search/region?atlas=floc&region=FFA&dataset=hidden",
        "concept": f"/v1/components/{component}",
        "similar": f"/v1/components/{component}/similar",
        "similar in": f"/v1/components/{seen}/similar?dataset=hidden",
        "similar in run": f"/v1/components/{seen}/similar?run={run}",
        "similar of": f"/v1/components/{seen}/similar?subject=subj01&k=1000",
        "terms": f"/v1/components/{component}/terms",
        "regions": "/v1/regions",
        "regions of": "/v1/regions?dataset=hidden&atlas=floc&subject=subj01",
        "regions where": "/v1/regions?atlas=floc&subject=subj01",
        "mask": f"/v1/components/{component}/mask?subject=subj01",
        "voxels": f"/v1/components/{component}/voxels?subject=subj01",
        "network": "/v1/networks/subj01?dataset=hidden",
        "network of run": f"/v1/networks/subj01?run={run}",
        "validation": "/v1/validation?dataset=hidden",
        "validation of run": f"/v1/validation?run={run}",
    }


def ask(client: TestClient, path: str, **options: object) -> Response:
    if path.startswith("/v1/search/map"):
        return client.post(path, files={"map": ("m.nii", MAP)}, **options)  # type: ignore[arg-type]
    return client.get(path, **options)  # type: ignore[arg-type]


def answers(client: TestClient, asked: dict[str, str], **options: object) -> dict[str, str]:
    return {
        name: f"{response.status_code} {response.headers.get('etag')} {response.text}"
        for name, path in asked.items()
        for response in [ask(client, path, **options)]
    }


def test_it_is_as_if_it_were_not_there(both: dict[str, Published]) -> None:
    """Answers to all without its scope are those of a catalog that never had it."""
    hidden = both["hidden"]
    component = hidden.components["face"]
    seen = both["open"].components["face"]
    asked = paths(component, hidden.run, seen)
    client = TestClient(make_api(), raise_server_exceptions=False)
    # Of the dataset that is open, whose neighbours lie in the hidden one.
    asked["neighbours"] = f"/v1/components/{seen}/similar?k=1000"
    outsiders = [{}, headers_of("read"), headers_of("read", datasets=("lab-a",))]
    told = [answers(client, asked, headers=each) for each in outsiders]
    absent = paths(component + 10_000, hidden.run + 10_000, seen)
    for each in told:
        assert each == told[0]
        for name, answer in each.items():
            # What was asked for is named again in an error, and tells nothing.
            said = answer.replace("no dataset 'hidden'", "")
            assert "hidden" not in said, name
        for name in (
            *("concept", "similar", "terms", "mask", "voxels"),
            *("list of run", "search in run", "similar in run", "map in run"),
        ):
            missing = ask(client, absent[name]).text
            assert each[name].split(" ", 2)[2].replace(str(component), "N").replace(
                f"run {hidden.run}", "run N"
            ) == missing.replace(str(component + 10_000), "N").replace(
                f"run {hidden.run + 10_000}", "run N"
            )
    page = json.loads(told[0]["list"].split(" ", 2)[2])
    assert page["total"] == len(both["open"].components)
    for name in ("neighbours", "similar of"):
        near = json.loads(told[0][name].split(" ", 2)[2])
        assert {each["dataset"] for each in near["concepts"]} == {"lab-a"}
    for name in ("regions", "regions where"):
        page = json.loads(told[0][name].split(" ", 2)[2])
        assert page["total"] == len(both["open"].regions)


@pytest.mark.parametrize("insider", ["its scope", "admin"])
def test_with_its_scope_it_is_there(both: dict[str, Published], insider: str) -> None:
    hidden = both["hidden"]
    headers = (
        headers_of("admin") if insider == "admin" else headers_of("read", datasets=("hidden",))
    )
    client = TestClient(make_api(), raise_server_exceptions=False)
    asked = paths(hidden.components["face"], hidden.run, both["open"].components["face"])
    # Two datasets can answer now, and the published run was never validated.
    expected = {"search": 422, "map": 422, "validation": 404, "validation of run": 404}
    for name, path in asked.items():
        assert ask(client, path, headers=headers).status_code == expected.get(name, 200), name
    assert client.get("/v1/components", headers=headers).json()["total"] == 12
    assert client.get("/v1/regions", headers=headers).json()["total"] == 12
    near = client.get(asked["similar in run"], headers=headers).json()
    assert {each["dataset"] for each in near["concepts"]} == {"hidden"}


def test_a_key_cannot_be_scoped_to_what_its_maker_does_not_see(
    both: dict[str, Published], sdc: Sdc
) -> None:
    """The command line works with the database itself, and sees all."""
    assert sdc("keys", "create", "x", "--scope", "read", "--dataset", "hidden").exit_code == 0
    assert sdc("keys", "create", "x", "--scope", "read", "--dataset", "nothing").exit_code == 2


def test_lifting_shows_it_again(both: dict[str, Published], sdc: Sdc) -> None:
    client = TestClient(make_api())
    assert len(client.get("/v1/datasets").json()["datasets"]) == 1
    assert sdc("embargo", "hidden", "--lift").stdout == "hidden is open\n"
    assert len(client.get("/v1/datasets").json()["datasets"]) == 2
    assert sdc("embargo", "hidden").stdout == "hidden is embargoed\n"
    assert len(client.get("/v1/datasets").json()["datasets"]) == 1
    missing = sdc("embargo", "nothing")
    assert (missing.exit_code, "no dataset 'nothing'" in missing.stderr) == (2, True)

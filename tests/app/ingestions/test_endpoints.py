"""Tests of asking for ingestions over HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.api import make_api
from app.client import Catalog
from app.database.engine import open_session
from app.database.models import Dataset, IngestionRequest
from tests.app.published import Published
from tests.app.serving import serving

Counts = dict[str, int]
Headers = dict[str, str]


@pytest.fixture
def client(root: Path) -> TestClient:
    return TestClient(make_api(), raise_server_exceptions=False)


def test_what_is_asked_for_waits_and_can_be_seen(
    client: TestClient, root: Path, headers_of: Callable[..., Headers]
) -> None:
    mine = headers_of("ingest")
    wanted = {
        "source": str(root / "faces"),
        "options": {"n_test": 20},
        "then_run": True,
        "run_options": {"seed": 3},
    }
    made = client.post("/v1/ingestions", json=wanted, headers=mine)
    assert made.status_code == 202
    answer = made.json()
    assert wanted.items() <= answer.items()
    assert (answer["state"], answer["trigger"], answer["attempt"]) == ("queued", "request", 1)
    assert made.headers["location"] == f"/v1/ingestions/{answer['id']}"
    assert client.get(made.headers["location"], headers=mine).json() == answer
    page = client.get("/v1/ingestions", headers=mine).json()
    assert (page["items"], page["total"]) == ([answer], 1)
    assert client.get("/v1/ingestions?state=done", headers=mine).json()["total"] == 0
    log = client.get(f"/v1/ingestions/{answer['id']}/log", headers=mine).json()
    assert log == {"id": answer["id"], "state": "queued", "lines": []}
    audit = client.get("/v1/audit", headers=headers_of("admin")).json()["items"]
    entry = next(each for each in audit if each["action"] == "ask ingestion")
    assert (entry["subject"], entry["detail"]["source"]) == (str(answer["id"]), wanted["source"])


def test_pages_go_from_the_newest_to_the_oldest(
    client: TestClient, root: Path, headers_of: Callable[..., Headers]
) -> None:
    mine = headers_of("ingest")
    ids = [
        client.post("/v1/ingestions", json={"source": str(root)}, headers=mine).json()["id"]
        for _ in range(5)
    ]
    seen, cursor = [], None
    while True:
        asked: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/ingestions", params=asked, headers=mine).json()
        assert page["total"] == 5
        seen += [each["id"] for each in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == ids[::-1]


def test_what_waits_is_cancelled_at_once_and_can_be_tried_again(
    client: TestClient, root: Path, headers_of: Callable[..., Headers]
) -> None:
    mine = headers_of("ingest")
    made = client.post("/v1/ingestions", json={"source": str(root)}, headers=mine).json()
    place = f"/v1/ingestions/{made['id']}"
    assert client.post(f"{place}/retry", headers=mine).json()["detail"] == (
        f"ingestion {made['id']} is queued"
    )
    cancelled = client.post(f"{place}/cancel", headers=mine).json()
    assert (cancelled["state"], cancelled["finished_at"] is None) == ("cancelled", False)
    assert client.post(f"{place}/cancel", headers=mine).json()["state"] == "cancelled"
    again = client.post(f"{place}/retry", headers=mine).json()
    assert (again["state"], again["attempt"], again["finished_at"]) == ("queued", 2, None)


def test_what_is_done_can_be_neither_cancelled_nor_tried_again(
    client: TestClient, root: Path, headers_of: Callable[..., Headers]
) -> None:
    mine = headers_of("ingest")
    made = client.post("/v1/ingestions", json={"source": str(root)}, headers=mine).json()
    with open_session() as session, session.begin():
        session.execute(update(IngestionRequest).values(state="done"))
    for action in ("cancel", "retry"):
        refused = client.post(f"/v1/ingestions/{made['id']}/{action}", headers=mine)
        assert refused.status_code == 409
        assert f"ingestion {made['id']} is done" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "/etc"}, "/etc: no folder that requests may read"),
        ({"source": "incoming"}, "incoming: no folder that requests may read"),
        ({"source": "{root}/../store"}, "{root}/../store: no folder that requests may read"),
        ({"source": "{root}/link/x"}, "{root}/link/x: no folder that requests may read"),
        ({"options": {"n_tests": 1}}, "n_tests: Extra inputs are not permitted"),
        ({"options": {"zscore": "some"}}, "zscore: Input should be 'train' or 'all'"),
        ({"options": {"n_test": -1}}, "n_test: Input should be greater than or equal to 2"),
        ({"run_options": {"sed": 1}, "then_run": True}, "sed: Extra inputs are not permitted"),
        ({"run_options": {"seed": 1}}, "run_options are given, and no run"),
        (
            {"run_options": {"encoder": "vectors:/etc/passwd"}, "then_run": True},
            "/etc/passwd: no folder that requests may read",
        ),
        (
            {"run_options": {"encoder": "vectors:passwd"}, "then_run": True},
            "passwd: no folder that requests may read",
        ),
        (
            {"run_options": {"encoder": "open_clip:ViT-B-32:/elsewhere/x.pt"}, "then_run": True},
            "/elsewhere/x.pt: no folder that requests may read",
        ),
    ],
)
def test_what_cannot_be_worked_on_is_refused_and_nothing_is_queued(
    client: TestClient,
    root: Path,
    headers_of: Callable[..., Headers],
    count_rows: Callable[[], Counts],
    change: dict[str, Any],
    message: str,
) -> None:
    (root / "link").symlink_to(root.parent)
    mine = headers_of("ingest")
    before = count_rows()
    wanted = {"source": str(root)} | change
    wanted["source"] = str(wanted["source"]).format(root=root)
    refused = client.post("/v1/ingestions", json=wanted, headers=mine)
    assert (refused.status_code, refused.json()["detail"]) == (422, message.format(root=root))
    assert count_rows() == before


def test_without_roots_requests_read_nothing(
    catalog: Path, headers_of: Callable[..., Headers]
) -> None:
    client = TestClient(make_api())
    refused = client.post("/v1/ingestions", json={"source": "/"}, headers=headers_of("admin"))
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "/: no folder that requests may read",
    )


def test_a_key_with_the_scope_is_needed(
    client: TestClient, root: Path, headers_of: Callable[..., Headers]
) -> None:
    wanted = {"source": str(root)}
    assert client.post("/v1/ingestions", json=wanted).status_code == 401
    reader = headers_of("read")
    assert client.post("/v1/ingestions", json=wanted, headers=reader).status_code == 403
    assert client.get("/v1/ingestions", headers=reader).status_code == 403
    assert client.get("/v1/schedules").status_code == 401


def test_keys_see_their_own_and_those_of_data_sets_that_they_may_see(
    root: Path, own_published: Published, headers_of: Callable[..., Headers]
) -> None:
    client = TestClient(make_api())
    mine, others, admin = headers_of("ingest"), headers_of("ingest"), headers_of("admin")
    insider = headers_of("ingest", datasets=(own_published.dataset,))
    made = client.post("/v1/ingestions", json={"source": str(root)}, headers=mine).json()
    place = f"/v1/ingestions/{made['id']}"

    def sees(headers: Headers) -> bool:
        found = client.get(place, headers=headers).status_code == 200
        assert client.get("/v1/ingestions", headers=headers).json()["total"] == int(found)
        assert (client.get(f"{place}/log", headers=headers).status_code == 200) == found
        return found

    assert [sees(each) for each in (mine, others, insider, admin)] == [True, False, False, True]
    with open_session() as session, session.begin():
        session.execute(update(IngestionRequest).values(dataset=own_published.dataset))
    assert [sees(each) for each in (mine, others, insider, admin)] == [True, True, True, True]
    with open_session() as session, session.begin():
        session.execute(update(Dataset).values(embargoed=True))
    assert [sees(each) for each in (mine, others, insider, admin)] == [True, False, True, True]
    for action in ("cancel", "retry"):
        hidden = client.post(f"{place}/{action}", headers=others)
        assert (hidden.status_code, hidden.json()["detail"]) == (
            404,
            f"there is no ingestion {made['id']}",
        )


@pytest.mark.parametrize("request_id", [0, -1, 7, 2**31, 2**70])
def test_an_ingestion_that_is_none(
    client: TestClient, headers_of: Callable[..., Headers], request_id: int
) -> None:
    answer = client.get(f"/v1/ingestions/{request_id}", headers=headers_of("ingest"))
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        f"there is no ingestion {request_id}",
    )


def test_the_client_asks_as_the_api_answers(root: Path, headers_of: Callable[..., Headers]) -> None:
    key = headers_of("ingest")["Authorization"].partition(" ")[2]
    with serving() as url, Catalog(url, key=key) as catalog:
        made = catalog.ask_ingestion(str(root), options={"n_test": 20})
        assert catalog.ingestion(made.id) == made
        assert catalog.ingestion_page(state="queued").items == [made]
        assert catalog.cancel_ingestion(made.id).state == "cancelled"
        assert catalog.retry_ingestion(made.id).attempt == 2
        assert catalog.ingestion_log(made.id, tail=3).lines == []
        planned = catalog.make_schedule(str(root), cron="0 3 * * *", timezone="Europe/Berlin")
        assert catalog.schedules().schedules == [planned]
        assert catalog.end_schedule(planned.id).next_at is None
        assert catalog.schedules().schedules == []

"""Tests of schedules: made, told, asked, ended."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.api import make_api
from app.database.engine import open_session
from app.database.models import IngestionRequest, IngestionSchedule
from app.keys.service import create_key, wanted_key
from app.schedules.schemas import ScheduleWanted
from app.schedules.service import ask_due, end_schedule, make_schedule
from tests.app.conftest import Sdc
from tests.conftest import forget_settings

WANTED = ScheduleWanted(source="/data", every_s=3600, options={"n_test": 9}, then_run=True)


def make_due(session: Session) -> None:
    session.execute(
        update(IngestionSchedule)
        .where(IngestionSchedule.next_at.is_not(None))
        .values(next_at=datetime.now(UTC) - timedelta(days=3))
    )
    session.commit()


def test_what_is_due_is_asked_for_once(own_session: Session) -> None:
    schedule = make_schedule(own_session, WANTED, "a test")
    assert ask_due(own_session) == []
    make_due(own_session)
    (request,) = ask_due(own_session)
    own_session.commit()
    asked = own_session.get(IngestionRequest, request)
    assert asked is not None
    assert (asked.trigger, asked.schedule_id, asked.source) == ("schedule", schedule.id, "/data")
    assert (asked.options, asked.then_run, asked.actor) == ({"n_test": 9}, True, "a test")
    # Three days that nobody looked are made up for once.
    assert ask_due(own_session) == []
    later = own_session.scalar(select(IngestionSchedule.next_at))
    assert later is not None
    assert later > datetime.now(UTC) + timedelta(minutes=50)


def test_a_schedule_waits_for_what_it_asked_for_before(own_session: Session) -> None:
    make_schedule(own_session, WANTED, "a test")
    make_due(own_session)
    assert len(ask_due(own_session)) == 1
    make_due(own_session)
    assert ask_due(own_session) == []
    own_session.execute(update(IngestionRequest).values(state="failed"))
    make_due(own_session)
    assert len(ask_due(own_session)) == 1


def test_two_who_look_at_once_ask_once(catalog: Path) -> None:
    with open_session() as one, open_session() as other:
        make_schedule(one, WANTED, "a test")
        make_due(one)
        asked = ask_due(one), ask_due(other)
        assert [len(each) for each in asked] == [1, 0]


def test_an_ended_schedule_asks_no_more(own_session: Session) -> None:
    schedule = make_schedule(own_session, WANTED, "a test")
    assert end_schedule(own_session, schedule.id, "a test").next_at is None
    make_due(own_session)
    assert ask_due(own_session) == []


def headers_of(*scopes: str) -> dict[str, str]:
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("test", scopes, (), 30), "a test").key
    return {"Authorization": f"Bearer {key}"}


def test_over_http_keys_see_their_own(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(catalog)]))
    forget_settings()
    client = TestClient(make_api())
    mine, others, admin = headers_of("ingest"), headers_of("ingest"), headers_of("admin")
    wanted = {"source": str(catalog), "cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    made = client.post("/v1/schedules", json=wanted, headers=mine)
    assert made.status_code == 201
    for headers, expected in ((mine, [made.json()]), (others, []), (admin, [made.json()])):
        assert client.get("/v1/schedules", headers=headers).json()["schedules"] == expected
    place = f"/v1/schedules/{made.json()['id']}"
    assert client.delete(place, headers=others).json()["detail"] == "there is no schedule 1"
    assert client.delete(place, headers=mine).json()["next_at"] is None
    assert client.get("/v1/schedules", headers=mine).json()["schedules"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cron": "every day"}, "'every day' is no time of a schedule"),
        ({"cron": "0 3 30 2 *"}, "'0 3 30 2 *' is no time of a schedule"),
        ({"cron": "0 3 * * *", "every_s": 600}, "give either cron or every_s"),
        ({}, "give either cron or every_s"),
        ({"every_s": 1}, "greater than or equal to 60"),
        ({"cron": "0 3 * * *", "timezone": "Mars"}, "'Mars' is no time zone"),
        ({"cron": "0 3 * * *", "options": {"x": 1}}, "x: Extra inputs are not permitted"),
    ],
)
def test_what_is_no_schedule_is_refused_and_nothing_is_made(
    catalog: Path,
    monkeypatch: pytest.MonkeyPatch,
    count_rows: Callable[[], dict[str, int]],
    change: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(catalog)]))
    forget_settings()
    headers = headers_of("ingest")
    before = count_rows()
    refused = TestClient(make_api()).post(
        "/v1/schedules", json={"source": str(catalog)} | change, headers=headers
    )
    assert refused.status_code == 422
    assert message in refused.json()["detail"]
    assert count_rows() == before


def test_on_the_command_line(catalog: Path, sdc: Sdc, tmp_path: Path) -> None:
    cron = sdc("ingest", tmp_path, "--schedule", "0 3 * * *", "--then-run", "--json")
    assert json.loads(cron.stdout)["cron"] == "0 3 * * *"
    every = sdc("ingest", tmp_path, "--schedule", "6h", "--set", "n_test=9", "--json")
    assert json.loads(every.stdout)["every_s"] == 6 * 3600
    told = json.loads(sdc("schedules", "--json").stdout)["schedules"]
    assert [each["id"] for each in told] == [1, 2]
    assert "every 21600 s" in sdc("schedules", "--end", 1).stdout
    assert len(json.loads(sdc("schedules", "--json").stdout)["schedules"]) == 1
    for wrong, message in (
        (("--schedule", "0 3 * *"), "'0 3 * *' is no time of a schedule"),
        (("--schedule", "sometimes"), "'sometimes' is no interval"),
        (("--schedule", "0h"), "'0h' is no interval"),
        (("--then-run",), "--then-run is for later"),
        (("--queue", "--run-set", "seed=1"), "--run-set is given, and no run"),
        (("--queue", "--set", "x=1"), "x: Extra inputs are not permitted"),
    ):
        refused = sdc("ingest", tmp_path, *wrong)
        assert (refused.exit_code, message in refused.stderr) == (2, True), refused.stderr
    assert len(json.loads(sdc("schedules", "--json").stdout)["schedules"]) == 1
    assert json.loads(sdc("ingestions", "--json").stdout)["total"] == 0

"""Tests of ingestions on the command line."""

import json
from pathlib import Path

from sqlalchemy import update

from app.database.engine import open_session
from app.database.models import IngestionRequest
from app.ingestions.queue import add_line
from tests.app.conftest import Sdc


def test_what_is_left_to_a_worker_is_listed_and_shown(
    catalog: Path, sdc: Sdc, tmp_path: Path
) -> None:
    made = sdc("ingest", tmp_path, "--queue", "--set", "n_test=9", "--replace", "--json")
    answer = json.loads(made.stdout)
    assert (answer["source"], answer["options"], answer["replace"], answer["trigger"]) == (
        str(tmp_path),
        {"n_test": 9},
        True,
        "command",
    )
    with open_session() as session, session.begin():
        add_line(session, answer["id"], 1, "ERROR", "it went wrong")
        session.execute(update(IngestionRequest).values(state="failed", error="it went wrong"))
    listed = sdc("ingestions")
    assert "failed" in listed.stdout
    assert "it went wrong" in listed.stdout
    assert json.loads(sdc("ingestions", "--state", "done", "--json").stdout)["items"] == []
    shown = sdc("ingestion", answer["id"])
    assert "ERROR it went wrong" in shown.stdout
    assert '{"n_test": 9}' in shown.stdout
    again = json.loads(sdc("ingestion", answer["id"], "--retry", "--json").stdout)
    assert (again["state"], again["attempt"], again["error"]) == ("queued", 2, None)
    ended = json.loads(sdc("ingestion", answer["id"], "--cancel", "--json").stdout)
    assert ended["state"] == "cancelled"


def test_what_cannot_be_done(catalog: Path, sdc: Sdc) -> None:
    for words, message in (
        ((7,), "there is no ingestion 7"),
        ((7, "--cancel", "--retry"), "--cancel and --retry are given"),
    ):
        refused = sdc("ingestion", *words)
        assert (refused.exit_code, message in refused.stderr) == (2, True)
    refused = sdc("ingestions", "--state", "lost")
    assert refused.exit_code == 2
    assert "'lost' is not one of" in refused.stderr
    refused = sdc("schedules", "--end", 7)
    assert (refused.exit_code, "there is no schedule 7" in refused.stderr) == (2, True)

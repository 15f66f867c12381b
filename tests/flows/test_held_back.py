"""Tests of runs that decode worse than the current one."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Dataset, Run
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from tests.conftest import forget_settings
from tests.flows.planted import write_planted
from tests.flows.test_run_faults import FOLDS, RUN
from tests.flows.test_telling import server


def test_a_run_that_decodes_worse_is_told_and_does_not_answer(
    flows_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = write_planted(tmp_path / "planted")
    ingest_dataset(str(planted), FOLDS)
    base = RUN | {"encoder": f"vectors:{planted / 'words.csv'}"}
    with server(204) as (url, received):
        monkeypatch.setenv("SDC_NOTIFY_URLS", json.dumps([url]))
        forget_settings()
        good = run_pipeline("planted", base | {"start": "ridge"})
        poor = run_pipeline("planted", base | {"start": "drawn"})
        better = run_pipeline("planted", base | {"start": "ridge", "seed": 1})
    assert [each["held_back"] == "" for each in (good, poor, better)] == [True, False, True]
    with open_session() as session:
        assert session.scalar(select(Dataset.current_run_id)) == better["run"]
        stored = session.get_one(Run, poor["run"]).metrics["held_back"]
    assert stored == poor["held_back"]
    assert f" in run {good['run']} to " in stored
    told = [json.loads(body) for _, body in received]
    assert [(each["kind"], each["run"]) for each in told] == [
        ("published", good["run"]),
        ("held_back", poor["run"]),
        ("published", better["run"]),
    ]
    assert told[1]["message"] == stored


def test_what_fails_is_told_once_with_its_line(
    flows_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(204) as (url, received):
        monkeypatch.setenv("SDC_NOTIFY_URLS", json.dumps([url]))
        forget_settings()
        for flow, about in ((ingest_dataset, str(tmp_path)), (run_pipeline, "nothing")):
            state = flow(about, return_state=True)
            assert state.is_failed()
    told = [json.loads(body) for _, body in received]
    assert [(each["kind"], each["dataset"]) for each in told] == [
        ("failed", str(tmp_path)),
        ("failed", "nothing"),
    ]
    assert "no data set of a known layout" in told[0]["message"]

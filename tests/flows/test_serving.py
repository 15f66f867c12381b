"""Tests of the commands that keep running: what they hand on to the programs that they start."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from app.cli import app
from flows import serving, worker
from flows.deployments import POOLS
from tests.conftest import forget_settings

OF_THE_PAGE = ("PREFECT_UI_API_URL", "PREFECT_UI_STATIC_DIRECTORY")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that Prefect's server would be started with."""
    seen: dict[str, str] = {}

    def look(_command: list[str], _stop: object) -> int:
        seen.update(os.environ)
        return 0

    before = dict(os.environ)
    for name in ("PREFECT_API_URL", *OF_THE_PAGE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://nowhere/x")
    forget_settings()
    monkeypatch.setattr(worker, "run_until", look)
    # It would take this process's signals.
    monkeypatch.setattr(worker, "stop_when_told", threading.Event)
    yield seen
    os.environ.clear()
    os.environ.update(before)


def test_prefects_page_lies_in_the_home_and_asks_where_it_came_from(
    started: dict[str, str], tmp_path: Path
) -> None:
    """Wherever it is listened at: no browser reaches 0.0.0.0, and packages may be read-only."""
    serving.prefect(host="0.0.0.0", port=4200)  # noqa: S104
    assert started["PREFECT_UI_API_URL"] == "/api"
    assert started["PREFECT_UI_STATIC_DIRECTORY"] == str(tmp_path / "home" / "prefect" / "page")


def test_what_the_environment_says_of_the_page_stands(
    started: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = dict(zip(OF_THE_PAGE, ("https://lab.example/api", "/elsewhere"), strict=True))
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    serving.prefect(host="127.0.0.1", port=4200)
    assert {name: started[name] for name in OF_THE_PAGE} == said


def test_pools_are_those_of_the_deployments() -> None:
    assert get_args(serving.Pool) == POOLS
    for command in ("worker", "deploy"):
        refused = CliRunner().invoke(app, [command, "--pool", "another"])
        assert refused.exit_code == 2

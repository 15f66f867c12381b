"""Tests of the log, as a process of its own writes it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.app.published import Published

ASK = """
from fastapi.testclient import TestClient
from app.api import make_api
from app.health import endpoints
from app.observing.logs import configure_logs
from app.settings import get_settings

configure_logs(get_settings())
api = make_api()

@api.get("/fails")
def fails():
    raise RuntimeError("a fault")

with TestClient(api, raise_server_exceptions=False) as client:
    headers = {"X-Request-ID": "mine", "Authorization": "Bearer secret-key"}
    client.get("/v1/components/0?x=secret-words", headers=headers)
    answer = client.get("/fails", headers=headers)
    print(answer.status_code, answer.headers["X-Request-ID"])
"""


def ask(**environment: str) -> tuple[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr.splitlines()


def test_lines_of_json_name_their_request(published: Published) -> None:
    printed, lines = ask(SDC_LOG_FORMAT="json")
    assert printed == "500 mine"
    logged: list[dict[str, Any]] = [json.loads(line) for line in lines]
    told = {line.get("operation"): line for line in logged}
    assert {line["request_id"] for line in logged if line["name"].startswith("app.")} == {"mine"}
    # The key is none that is known.
    assert (told["show_concept"]["status"], told["show_concept"]["level"]) == (401, "INFO")
    assert told["fails"]["status"] == 500
    (failed,) = [line for line in logged if line["message"] == "a request failed"]
    assert "a fault" in failed["exc_info"]
    assert "secret" not in "".join(lines)


@pytest.mark.parametrize("level", ["warning"])
def test_lines_of_text_from_a_severity_on(published: Published, level: str) -> None:
    _, lines = ask(SDC_LOG_LEVEL=level)
    assert lines[0].endswith("a request failed request_id=mine")
    assert "app.problems" in lines[0]
    assert not any(" INFO " in line for line in lines)

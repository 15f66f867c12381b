"""Tests of the log, as a process of its own writes it."""

import json
from typing import Any

from tests.app.observing.process import run_python
from tests.app.published import Published

ASK = """
from fastapi.testclient import TestClient
from sqlalchemy import text
from app.api import make_api
from app.database.engine import open_session
from app.observing.logs import configure_logs
from app.settings import get_settings

configure_logs(get_settings())
api = make_api()

@api.get("/fails")
def fails():
    raise RuntimeError("a fault")

@api.get("/fails-in-sql")
def fails_in_sql():
    with open_session() as session:
        session.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": "secret-words"})

with TestClient(api, raise_server_exceptions=False) as client:
    headers = {"X-Request-ID": "mine", "Authorization": "Bearer secret-key"}
    client.get("/v1/components/0?x=secret-words", headers=headers)
    client.get("/fails-in-sql", headers=headers)
    answer = client.get("/fails", headers=headers)
    print(answer.status_code, answer.headers["X-Request-ID"])
"""


def test_lines_of_json_name_their_request(published: Published) -> None:
    printed, lines = run_python(ASK, SDC_LOG_FORMAT="json")
    assert printed == "500 mine"
    logged: list[dict[str, Any]] = [json.loads(line) for line in lines]
    told = {line.get("operation"): line for line in logged}
    assert {line["request_id"] for line in logged if line["name"].startswith("app.")} == {"mine"}
    # The key is none that is known.
    assert (told["show_concept"]["status"], told["show_concept"]["level"]) == (401, "INFO")
    assert told["fails"]["status"] == 500
    in_sql, failed = (line for line in logged if line["message"] == "a request failed")
    assert "nowhere" in in_sql["exc_info"]
    assert "a fault" in failed["exc_info"]
    assert "secret" not in "".join(lines)
    # Libraries have nothing to say where all is well with them.
    assert {line["name"].split(".")[0] for line in logged} == {"app"}


def test_lines_of_text_from_a_severity_on(published: Published) -> None:
    _, lines = run_python(ASK, SDC_LOG_LEVEL="warning")
    assert [line for line in lines if line.endswith("a request failed request_id=mine")]
    assert "app.problems" in lines[0]
    assert not any(" INFO " in line for line in lines)


def test_debugging_is_of_our_own_code(published: Published) -> None:
    """Libraries would tell the bodies that they read."""
    _, lines = run_python(ASK, SDC_LOG_LEVEL="debug", SDC_LOG_FORMAT="json")
    assert {json.loads(line)["name"].split(".")[0] for line in lines} == {"app"}

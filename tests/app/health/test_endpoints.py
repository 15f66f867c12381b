"""Tests of what a supervisor asks."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.api import make_api
from app.database.engine import get_engine
from app.settings import get_settings
from tests.app.published import Published


def test_well(client: TestClient) -> None:
    for path in ("/healthz", "/readyz"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_database_at_another_migration(own_published: Published) -> None:
    with get_engine().begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with TestClient(make_api()) as client:
        assert client.get("/healthz").status_code == 200
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["hint"] == "run `sdc db upgrade`"


def test_no_database(catalog: object, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "postgresql://somebody:hunter2@127.0.0.1:1/nothing"  # noqa: S105
    monkeypatch.setenv("SDC_DATABASE_URL", secret)
    get_settings.cache_clear()
    get_engine.cache_clear()
    with TestClient(make_api()) as client:
        assert client.get("/healthz").status_code == 200
        response = client.get("/readyz")
    assert response.status_code == 503
    assert "cannot be reached" in response.json()["detail"]
    assert "hunter2" not in response.text

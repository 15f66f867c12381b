"""Tests of where Prefect keeps its state."""

import os
from pathlib import Path

import psycopg
import pytest
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from sqlalchemy import make_url

from app.errors import InputError, UnavailableError
from app.settings import get_settings
from flows.prefect_home import (
    PREFECT_DATABASE_URL,
    prefect_login,
    serve_prefect_on,
    unwatched,
)
from tests.app.conftest import Sdc, sdc
from tests.conftest import forget_settings

__all__ = ["sdc"]


@pytest.fixture(autouse=True)
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what the function sets is taken back.
    monkeypatch.setenv(PREFECT_DATABASE_URL, "")
    monkeypatch.delenv(PREFECT_DATABASE_URL)


def test_a_database_of_its_own_is_made_on_the_catalogs_server(catalog: Path) -> None:
    for _ in range(2):
        os.environ.pop(PREFECT_DATABASE_URL, None)
        serve_prefect_on(get_settings())
        url = make_url(os.environ[PREFECT_DATABASE_URL])
        assert (url.drivername, url.database) == ("postgresql+asyncpg", "prefect")
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(False)) as it:
            assert it.execute("SELECT current_database()").fetchone() == ("prefect",)


def test_what_the_environment_names_stands(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFECT_DATABASE_URL, "postgresql+asyncpg://elsewhere/x")
    serve_prefect_on(get_settings())
    assert os.environ[PREFECT_DATABASE_URL] == "postgresql+asyncpg://elsewhere/x"


def test_the_embedded_server_is_configured_with_the_rest(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SDC_DATABASE_URL")
    forget_settings()
    serve_prefect_on(get_settings())
    assert PREFECT_DATABASE_URL not in os.environ


def test_a_server_that_cannot_be_reached(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_DATABASE_URL", "postgresql://one:secret@127.0.0.1:1/sdc")
    forget_settings()
    with pytest.raises(UnavailableError) as caught:
        serve_prefect_on(get_settings())
    assert caught.value.message.startswith("the database prefect cannot be made: ")
    assert "secret" not in str(caught.value)


def test_who_has_a_server_of_their_own_sends_no_heartbeats() -> None:
    def heartbeats() -> int | None:
        return get_current_settings().flows.heartbeat_frequency

    usual = heartbeats()
    assert usual is not None
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with unwatched():
            assert heartbeats() is None
        assert heartbeats() == usual


def test_a_server_of_others_may_watch(prefect_server: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_server}), unwatched():
        assert get_current_settings().flows.heartbeat_frequency is not None


def test_a_server_that_is_away_is_told_in_one_line(
    catalog: Path, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that ``PREFECT_API_URL`` still names."""
    monkeypatch.setattr("flows.prefect_home._ANSWER_S", 0.1)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
        refused = sdc("ingest", str(catalog))
    assert refused.exit_code == 1
    assert refused.stderr == (
        "error: no Prefect server answers at http://127.0.0.1:1/api (start it (`sdc prefect`), "
        "or mend PREFECT_API_URL; where that is not set, ingest, run and demo start one of their "
        "own)\n"
    )


def test_the_homes_login_is_made_once_and_told_to_its_own_servers_alone(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    login = prefect_login(get_settings())
    assert login is not None
    assert login.startswith("sdc:")
    for url in ("http://127.0.0.1:4200/api", "http://localhost:1/api", "http://[::1]:4200/api"):
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert prefect_login(get_settings()) == login
    for url in ("http://lab.example:4200/api", "http://127.0.0.1.lab.example/api", "nonsense"):
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert prefect_login(get_settings()) is None
    monkeypatch.setenv("SDC_PREFECT_AUTH", "lab:secret")
    forget_settings()
    assert prefect_login(get_settings()) == "lab:secret"


@pytest.mark.parametrize("login", ["secret", ":secret", "sdc:", "sdc:a\nb"])
def test_a_login_that_is_none(catalog: Path, monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    monkeypatch.setenv("SDC_PREFECT_AUTH", login)
    forget_settings()
    with pytest.raises(InputError) as caught:
        prefect_login(get_settings())
    assert caught.value.message == "SDC_PREFECT_AUTH is no login of Prefect's"
    assert "secret" not in str(caught.value)

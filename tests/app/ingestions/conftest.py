"""A folder that requests may read, and keys to ask with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.database.engine import open_session
from app.keys.service import create_key, wanted_key
from tests.conftest import forget_settings

Headers = dict[str, str]


@pytest.fixture
def root(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below which sources may lie, and nowhere else."""
    folder = catalog / "incoming"
    folder.mkdir()
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(folder)]))
    forget_settings()
    return folder


@pytest.fixture
def headers_of() -> Callable[..., Headers]:
    """Makes a key with some scopes, and the headers that bring it."""

    def make(*scopes: str, datasets: tuple[str, ...] = ()) -> Headers:
        with open_session() as session, session.begin():
            key = create_key(session, wanted_key("test", scopes, datasets, 30), "a test").key
        return {"Authorization": f"Bearer {key}"}

    return make

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from app.database.engine import get_engine
from app.failures import as_catalog_error
from app.settings import get_settings
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published


def read_only(engine: Engine) -> None:
    """Makes the server refuse whatever an engine's next connections write."""

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: object) -> None:
        connection.cursor().execute("SET default_transaction_read_only = on")
        connection.commit()

    engine.dispose()


def test_a_server_that_refuses_writes(
    sdc: Sdc, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    read_only(get_engine())
    result = sdc("search", "the dog")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "read-only transaction" in result.stderr
    assert "role that may write" in result.stderr
    assert sdc("search", "dog").exit_code == 0
    assert count_rows() == before


def test_a_value_that_the_database_cannot_take(sdc: Sdc, published: Published) -> None:
    result = sdc("runs", "--dataset", "nul\0nul")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the database cannot take a value")


def test_a_name_that_is_no_unicode(sdc: Sdc, published: Published) -> None:
    result = sdc("runs", "--dataset", "half \udcff")
    assert result.exit_code == 2
    assert "Unicode" in result.stderr


@pytest.mark.parametrize("content", ["a = [", "foo = 1"])
def test_a_settings_file_that_cannot_be_used(sdc: Sdc, catalog: Path, content: str) -> None:
    (catalog / "settings.toml").write_text(content)
    get_settings.cache_clear()
    result = sdc("datasets")
    (catalog / "settings.toml").unlink()
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "settings.toml" in result.stderr


def test_what_nobody_foresaw_is_left_alone() -> None:
    assert as_catalog_error(ZeroDivisionError()) is None

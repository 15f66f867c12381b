from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.mcp.session import Call, caller_key
from app.settings import get_settings


@pytest.fixture(autouse=True)
def _own_key(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SDC_KEY", "of the process")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def with_headers(headers: dict[str, str] | None) -> Call:
    return cast(Call, SimpleNamespace(headers=headers))


def test_a_process_of_one_client_has_its_key_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert caller_key(with_headers(None)) == "of the process"
    assert "of the process" not in repr(get_settings())
    monkeypatch.delenv("SDC_KEY")
    get_settings.cache_clear()
    assert caller_key(with_headers(None)) is None


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Basic abc", "Basic abc"),
        ("abc", "abc"),
    ],
)
def test_over_http_the_key_is_the_calls_own(header: str, key: str | None) -> None:
    assert caller_key(with_headers({"authorization": header})) == key


def test_over_http_a_call_never_borrows_the_servers_key() -> None:
    assert caller_key(with_headers({})) is None

"""Tests that an embargo holds for language models too, whatever they call."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from app.database.engine import open_session
from app.keys.service import create_key, set_embargo, wanted_key
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.mcp.conftest import environment, fault, over_stdio, with_client
from tests.app.published import Published, publish


@pytest.fixture
def hidden(own_published: Published, own_table: Path) -> Published:
    """A second dataset of the test's own catalog, which is embargoed."""
    with open_session() as session, session.begin():
        written = publish(
            session, f"vectors:{own_table}", ArtefactStore(get_settings().store_url), slug="hidden"
        )
        set_embargo(session, "hidden", True, "a test")
    return written


@pytest.fixture
def own(catalog: Path) -> dict[str, str]:
    """What a server of the test's own catalog is started with."""
    url = get_settings().database_url
    assert url is not None
    return environment(catalog, url.get_secret_value())


def asked(target: Any, hidden: Published) -> dict[str, Any]:
    """Every tool, asked for what is hidden."""
    component = hidden.components["face"]
    seen = component - len(hidden.components)
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "datasets": ("datasets", {}),
        "runs": ("runs", {}),
        "search": ("search", {"prompt": "face", "dataset": "hidden"}),
        "show": ("show", {"component": component}),
        "similar": ("similar", {"component": component}),
        "similar in": ("similar", {"component": seen, "dataset": "hidden"}),
        "similar in run": ("similar", {"component": seen, "run": hidden.run}),
        "regions": ("regions", {"component": component}),
        "sql": ("sql", {"statement": "SELECT DISTINCT dataset FROM catalog.concepts ORDER BY 1"}),
    }

    async def ask(client: Client) -> dict[str, Any]:
        return {name: await client.call_tool(tool, words) for name, (tool, words) in calls.items()}

    return with_client(target, ask)  # type: ignore[no-any-return]


def test_without_its_scope_it_is_not_there(own: dict[str, str], hidden: Published) -> None:
    answers = asked(over_stdio(own), hidden)
    for name in ("datasets", "runs", "sql"):
        assert not answers[name].is_error
        assert "hidden" not in str(answers[name].structured_content)
        assert "lab-a" in str(answers[name].structured_content)
    for name in ("search", "similar in"):
        assert fault(answers[name]).startswith(
            "no dataset 'hidden' is in the catalog (known: lab-a)"
        )
    assert fault(answers["similar in run"]).startswith(f"there is no run {hidden.run}")
    for name in ("show", "similar", "regions"):
        assert fault(answers[name]).startswith(f"there is no component {hidden.components['face']}")


def test_with_its_scope_it_is_there(own: dict[str, str], hidden: Published) -> None:
    """In SQL it is not, since all keys share the reader's role."""
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("x", ["read"], ["hidden"], 1), "a test").key
    answers = asked(over_stdio(own | {"SDC_KEY": key}), hidden)
    assert not any(answer.is_error for answer in answers.values())
    assert "hidden" in str(answers["datasets"].structured_content)
    assert "hidden" not in str(answers["sql"].structured_content)


@pytest.mark.parametrize("key", ["sdc_" + "A" * 43, "nonsense"])
def test_a_key_that_is_none(own: dict[str, str], hidden: Published, key: str) -> None:
    for answer in asked(over_stdio(own | {"SDC_KEY": key}), hidden).values():
        assert fault(answer).startswith("the key is not valid")


def test_reading_may_need_a_key(own: dict[str, str], hidden: Published) -> None:
    for answer in asked(over_stdio(own | {"SDC_READING_NEEDS_KEY": "true"}), hidden).values():
        assert fault(answer).startswith("a key is needed")

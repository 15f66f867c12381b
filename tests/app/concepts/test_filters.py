"""Filters on claims: what the API, the MCP tools and the command line offer is one list."""

import inspect
from typing import Any, Unpack, get_args

import pytest
import typer

from app.api import make_api
from app.cli import app
from app.concepts.claims import CLAIMS
from app.concepts.filters import ClaimFilter, FilterText, take_claim_filters
from app.mcp.tools import make_tools

FILTERS = ["shared", *CLAIMS]


def of_the_api() -> list[str]:
    document = make_api().openapi()
    return [each["name"] for each in document["paths"]["/v1/components"]["get"]["parameters"]]


def of_the_tool() -> list[str]:
    (tool,) = [tool for tool in make_tools() if tool.name == "concepts"]
    return list(tool.parameters["properties"])


def of_the_command() -> list[str]:
    command: Any = typer.main.get_command(app)
    return [parameter.name for parameter in command.commands["concepts"].params]


def test_every_claim_has_a_filter() -> None:
    assert list(ClaimFilter.__annotations__) == FILTERS


@pytest.mark.parametrize("offered", [of_the_api, of_the_tool, of_the_command])
def test_filters_are_offered_in_their_place_once(offered: Any) -> None:
    names = offered()
    at = names.index("run") + 1
    assert names[at : at + len(FILTERS)] == FILTERS
    assert len(names) == len(set(names))
    assert "claims" not in names


def test_a_signature_names_the_filters_and_the_function_gets_them() -> None:
    markers: dict[str, FilterText] = {}

    def mark(name: str, text: FilterText) -> str:
        markers[name] = text
        return f"marked {name}"

    @take_claim_filters("first", mark)
    def take(first: int, last: int = 2, **claims: Unpack[ClaimFilter]) -> dict[str, Any]:
        return {"first": first, "last": last, **claims}

    parameters = inspect.signature(take).parameters
    assert list(parameters) == ["first", *FILTERS, "last"]
    assert parameters["last"].default == 2
    for name in FILTERS:
        assert parameters[name].default is None
        assert get_args(parameters[name].annotation) == (bool | None, f"marked {name}")
        assert all(markers[name])
    assert take(1, stable=False) == {"first": 1, "last": 2, "stable": False}


def test_filters_that_have_no_place_are_refused() -> None:
    def take(first: int, **claims: Unpack[ClaimFilter]) -> None: ...

    with pytest.raises(ValueError, match=r"'last' is not a parameter of take"):
        take_claim_filters("last", lambda *_: None)(take)
    assert list(inspect.signature(take).parameters) == ["first", "claims"]

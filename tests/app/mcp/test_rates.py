"""Tests of how much one asker may ask over HTTP."""

from pathlib import Path

import httpx
from mcp import Client

from app.database.engine import open_session
from app.keys.service import create_key, wanted_key
from app.settings import get_settings
from tests.app.mcp.conftest import call, environment, fault, over_http, over_stdio, with_client
from tests.app.published import Published

TOO_MANY = "more than 2 requests in a minute, the setting SDC_REQUESTS_PER_MINUTE (wait "


def told(url: str, tool: str, key: str | None = None) -> str:
    """What a call of a tool is answered with, sent as it travels."""
    arguments = {"statement": "SELECT 1"} if tool == "sql" else {}
    headers = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(
        url,
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        },
        headers=headers | ({"Authorization": f"Bearer {key}"} if key else {}),
        timeout=30,
    )
    result = answer.json()["result"]
    return result["content"][0]["text"] if result.get("isError") else "fine"


def test_a_rate_for_each_asker_over_http_alone(own_published: Published, catalog: Path) -> None:
    with open_session() as session, session.begin():
        one, other = (
            create_key(session, wanted_key("test", ["read"], [], 30), "a test").key
            for _ in range(2)
        )
    settings = get_settings()
    assert settings.database_url is not None
    own = environment(catalog, settings.database_url.get_secret_value())
    own |= {"SDC_REQUESTS_PER_MINUTE": "2"}
    with over_http(own) as url:
        for key in (None, one, other):
            assert [told(url, tool, key) for tool in ("datasets", "sql")] == ["fine"] * 2
            for tool in ("datasets", "sql"):
                assert told(url, tool, key).startswith(TOO_MANY)
        # Guesses count for the address, which has used up its own.
        assert told(url, "datasets", "sdc_guess").startswith(TOO_MANY)
        assert fault(call(url, "datasets", {})).startswith(TOO_MANY)

    async def thrice(client: Client) -> list[bool]:
        return [(await client.call_tool("datasets", {})).is_error for _ in range(3)]

    assert with_client(over_stdio(own), thrice) == [False] * 3

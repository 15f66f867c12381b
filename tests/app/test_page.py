"""The page in a browser, and what the API says of itself."""

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api import make_api


def references(tree: Any) -> list[str]:
    """All that a document refers to."""
    if isinstance(tree, dict):
        own = [tree["$ref"]] if isinstance(tree.get("$ref"), str) else []
        return own + [each for value in tree.values() for each in references(value)]
    if isinstance(tree, list):
        return [each for value in tree for each in references(value)]
    return []


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = make_api().openapi()
    found = references(document)
    assert "#/components/schemas/Problem" in found
    for reference in found:
        at = document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
        assert at
    told = document["paths"]["/readyz"]["get"]["responses"]["503"]["content"]
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert told["application/problem+json"] == problem


@pytest.mark.parametrize("status", ["408", "421", "503"])
def test_refusals_before_any_route_are_in_the_document(status: str) -> None:
    told = make_api().openapi()["paths"]["/v1/search"]["get"]["responses"][status]
    assert "application/problem+json" in told["content"]


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "script-src" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 4
    types = set()
    for each in loaded:
        file = client.get(f"/{each}")
        assert (file.status_code, file.headers["x-content-type-options"]) == (200, "nosniff")
        assert len(file.content) > 50
        types.add(file.headers["content-type"].partition(";")[0])
    assert types == {"text/javascript", "text/css", "image/png"}
    # Scripts that stand in the page itself are not let run.
    assert re.findall(r"<script[^>]*>[^<]", page.text) == []
    assert 'url: "openapi.json"' in client.get("/docs/start.js").text
    # Version 4 does not show documents of OpenAPI 3.1.
    script = client.get("/docs/swagger-ui-bundle.js").text
    assert re.search(r'PACKAGE_VERSION:"5\.', script)


def test_there_is_one_page(client: TestClient) -> None:
    assert client.get("/redoc").status_code == 404


def test_whoever_comes_to_the_door_is_shown_in(client: TestClient) -> None:
    told = client.get("/").json()
    assert set(told) == {"title", "page", "document", "ready"}
    for name in ("page", "document", "ready"):
        assert client.get(told[name]).status_code == 200
    lost = client.get("/v1/nowhere")
    assert lost.status_code == 404
    assert "/docs" in lost.json()["hint"]
    # What is not in the catalog is not told of paths.
    assert "/docs" not in str(client.get("/v1/components/0").json())

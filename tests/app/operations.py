"""A request to each operation of the OpenAPI document: who adds an operation adds its case here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from tests.app.maps.volumes import in_mni
from tests.app.published import ATLAS, Published

Document = dict[str, Any]
# An atlas of tests.app.validation.conftest's.
LOCALISER = "floc-faces"
MAP = in_mni(np.random.default_rng(0).normal(size=(6, 5)))


@dataclass(frozen=True)
class Asked:
    """What a request holds besides its operation, such as ``GET /v1/components/{component_id}``."""

    path: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    files: dict[str, Any] | None = None


def picture() -> bytes:
    """A small PNG file."""
    out = BytesIO()
    Image.new("RGB", (4, 3), "teal").save(out, "png")
    return out.getvalue()


def requests_to(published: Published, concept: str = "face") -> dict[str, Asked]:
    """Each operation, asked with every parameter that narrows its answer to one dataset.

    They are answered with 200, but that pictures need an encoder that sees them, administration a
    key, and validation localisers.
    """
    dataset, component = published.dataset, published.components[concept]
    here: dict[str, Any] = {"dataset": dataset, "k": 6}
    narrow = here | {"subject": "subj01", "atlas": ATLAS}
    one = {"component_id": component}
    question = {"query": concept, "plus": ["pizza"], "minus": ["sign"], "negate": False}
    return {
        "GET /healthz": Asked(),
        "GET /readyz": Asked(),
        "GET /v1/search": Asked(
            query=narrow | {"q": concept, "plus": "pizza", "minus": "sign", "template": "{}"}
        ),
        "POST /v1/search": Asked(body=narrow | {"questions": [question], "templates": ["{}"]}),
        "GET /v1/search/voxels": Asked(
            query=narrow | {"q": concept, "region": "EBA", "plus": "pizza", "template": "{}"}
        ),
        "POST /v1/search/image": Asked(
            query=narrow, files={"image": ("p.png", picture(), "image/png")}
        ),
        "POST /v1/search/map": Asked(
            query=here | {"subject": "subj01", "permutations": 99}, files={"map": ("m.nii", MAP)}
        ),
        "GET /v1/search/place": Asked(
            query=here | {"x": -40, "y": -40, "z": -40, "radius": 5, "subject": "subj01"}
        ),
        "GET /v1/search/region": Asked(query=here | {"atlas": ATLAS, "region": "FFA"}),
        "GET /v1/components": Asked(
            query={"dataset": dataset, "subject": "subj01", "text": concept, "limit": 50}
        ),
        "GET /v1/components/{component_id}": Asked(path=one),
        "GET /v1/components/{component_id}/similar": Asked(path=one, query=here),
        "GET /v1/components/{component_id}/mask": Asked(
            path=one, query={"subject": "subj01", "space": "MNI"}
        ),
        "GET /v1/components/{component_id}/voxels": Asked(
            path=one, query={"subject": "subj01", "format": "csv"}
        ),
        "GET /v1/components/{component_id}/terms": Asked(path=one, query={"k": 6}),
        "GET /v1/regions": Asked(
            query={"dataset": dataset, "atlas": ATLAS, "subject": "subj01", "limit": 50}
        ),
        "POST /v1/terms": Asked(body={"texts": [concept], "dataset": dataset}),
        "POST /v1/ingestions": Asked(body={"source": "/nowhere"}),
        "GET /v1/ingestions": Asked(query={"dataset": dataset, "state": "done"}),
        "GET /v1/ingestions/{request_id}": Asked(path={"request_id": 1}),
        "GET /v1/ingestions/{request_id}/log": Asked(path={"request_id": 1}, query={"tail": 5}),
        "POST /v1/ingestions/{request_id}/cancel": Asked(path={"request_id": 1}),
        "POST /v1/ingestions/{request_id}/retry": Asked(path={"request_id": 1}),
        "POST /v1/schedules": Asked(body={"source": "/nowhere", "cron": "0 3 * * *"}),
        "GET /v1/schedules": Asked(),
        "DELETE /v1/schedules/{schedule_id}": Asked(path={"schedule_id": 1}),
        "POST /v1/triggers": Asked(body={"source": "/nowhere", "kind": "watch"}),
        "GET /v1/triggers": Asked(),
        "DELETE /v1/triggers/{trigger_id}": Asked(path={"trigger_id": 1}),
        "POST /v1/hooks/{trigger_id}": Asked(path={"trigger_id": 1}, body={"source": "/nowhere"}),
        "POST /v1/runs/{run}/promote": Asked(path={"run": published.run}),
        "GET /v1/runs/{run}": Asked(path={"run": published.run}),
        "GET /v1/runs": Asked(query={"dataset": dataset}),
        "GET /v1/datasets": Asked(),
        "GET /v1/networks/{subject}": Asked(path={"subject": "subj01"}, query={"dataset": dataset}),
        "GET /v1/validation": Asked(
            query={"dataset": dataset, "subject": "subj01", "atlas": LOCALISER, "prompt": concept}
        ),
        "POST /v1/keys": Asked(
            body={"name": "a test", "scopes": ["read"], "datasets": [dataset], "days": 1}
        ),
        "GET /v1/keys": Asked(),
        "DELETE /v1/keys/{key_id}": Asked(path={"key_id": 1}),
        "PUT /v1/datasets/{dataset}/embargo": Asked(path={"dataset": dataset}),
        "DELETE /v1/datasets/{dataset}/embargo": Asked(path={"dataset": dataset}),
        "GET /v1/audit": Asked(query={"limit": 50}),
    }


def operations_of(document: Document) -> dict[str, Document]:
    """The document's operations, by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def parameters_of(operation: Document) -> Iterator[tuple[str, str, bool]]:
    """Where each parameter is (path or query), its name, and whether it is a text."""
    for parameter in operation.get("parameters", []):
        yield parameter["in"], parameter["name"], _is_text(parameter["schema"])


def send(
    client: TestClient, operation: str, asked: Asked, headers: dict[str, str] | None = None
) -> Response:
    """The answer to a request; values in its path are quoted already."""
    method, _, path = operation.partition(" ")
    return client.request(
        method,
        path.format(**asked.path),
        params=asked.query,
        json=asked.body,
        files=asked.files,
        headers=headers,
    )


def _is_text(schema: Document) -> bool:
    kinds = [schema, *schema.get("anyOf", []), schema.get("items", {})]
    return any(kind.get("type") == "string" for kind in kinds)

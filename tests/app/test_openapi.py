"""The OpenAPI document, held against what the API does, by requests made from the document."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from PIL import Image
from schemathesis import Case
from schemathesis.checks import negative_data_rejection

from app.api import make_api
from app.database.engine import get_engine
from app.settings import get_settings
from tests.app.conftest import SharedCatalog
from tests.app.maps.volumes import in_mni

document = schemathesis.openapi.from_asgi("/openapi.json", make_api())


@pytest.fixture(autouse=True, scope="module")
def answering(shared_catalog: SharedCatalog) -> Iterator[None]:
    """The shared catalog, for all requests; nobody among them has a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDC_HOME", str(shared_catalog.home))
        patch.setenv("SDC_DATABASE_URL", shared_catalog.url)
        patch.setenv("SDC_REQUESTS_PER_MINUTE", "1000000")
        # Without it the server says that it takes no messages, 503.
        patch.setenv("SDC_HOOK_SECRET", "x" * 32)
        _forget()
        yield
        get_engine().dispose()
    _forget()


@document.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_does_what_its_document_says(case: Case) -> None:
    no_fault = []
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if case.path == "/v1/search/image" and positive and isinstance(case.body, dict):
        # A schema can say that bytes are a picture or a map, and not what makes them one.
        out = BytesIO()
        Image.new("RGB", (4, 3), "teal").save(out, "png")
        # The document's cases share their bodies: one that is changed would change the others.
        case.body = case.body | {"image": out.getvalue()}
    if case.path == "/v1/search/map" and positive and isinstance(case.body, dict):
        # Bytes that are put in are taken for a fault, which a map that can be read is not.
        no_fault = [negative_data_rejection]
        case.body = case.body | {"map": in_mni(np.arange(30.0).reshape(6, 5) % 7)}
    case.call_and_validate(excluded_checks=no_fault)


def _forget() -> None:
    get_settings.cache_clear()
    get_engine.cache_clear()

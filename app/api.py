"""The REST API: the same services as the command line, over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from app.capacity import Capacity, size_threads
from app.concepts.endpoints import router as concepts_router
from app.datasets.endpoints import router as datasets_router
from app.guard import Guard, TrustedProxies
from app.health.endpoints import router as health_router
from app.ingestions.endpoints import router as ingestions_router
from app.keys.endpoints import ADMINISTRATION
from app.keys.endpoints import router as keys_router
from app.networks.endpoints import router as networks_router
from app.observing.endpoints import router as metrics_router
from app.observing.requests import Observed
from app.page import router as page_router
from app.problems import MEDIA_TYPE, Problem, tell_problems
from app.rates import Rates
from app.regions.endpoints import router as regions_router
from app.runs.endpoints import router as runs_router
from app.schedules.endpoints import router as schedules_router
from app.search.endpoints import router as search_router
from app.terms.endpoints import INGESTION
from app.terms.endpoints import router as terms_router
from app.triggers.endpoints import hooks_router
from app.triggers.endpoints import router as triggers_router
from app.uploads import BodyLimit
from app.validation.endpoints import router as validation_router

DESCRIPTION = """
Concepts that brains carry, asked in words. Every answer names its run and its encoder; vectors of
two encoders are never compared. Errors are problem details (RFC 9457).
"""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "model": Problem,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, description in {
        400: "The body cannot be read.",
        401: "A key is needed, or the one given is not valid.",
        403: "The key has not the scope that is needed.",
        404: "What was named does not exist.",
        409: "What was asked contradicts what is stored.",
        413: "The body is larger than the setting `SDC_UPLOAD_MB`, or `SDC_JSON_MB` without a "
        "file, or what is in it takes more memory than `SDC_UPLOAD_MEMORY_MB`.",
        422: "What was given cannot be used.",
        408: "The body did not come in the setting `SDC_SLOW_REQUEST_S`, and 10 kB a second.",
        421: "The server is not asked by that name, see the setting `SDC_ALLOWED_HOSTS`.",
        429: "More requests, and prompts to embed, in a minute than the setting "
        "`SDC_REQUESTS_PER_MINUTE`.",
        503: "A part that the catalog needs cannot be used now, or more is asked at once than the "
        "setting `SDC_REQUESTS_AT_ONCE`; `Retry-After` says when to ask again.",
        504: "A query took longer than the setting `SDC_STATEMENT_TIMEOUT_S`.",
        507: "The artefact store or a disk cannot give back what it should.",
    }.items()
}


def make_api() -> FastAPI:
    """The application, as uvicorn serves it."""
    api = FastAPI(
        title="Catalog of shared decodable concepts",
        version="1",
        description=DESCRIPTION,
        generate_unique_id_function=_operation,
        docs_url=None,
        redoc_url=None,
        lifespan=_living,
    )
    tell_problems(api)
    api.state.rates = Rates()
    api.state.capacity = Capacity()
    api.add_middleware(BodyLimit)
    api.add_middleware(Guard)
    api.add_middleware(TrustedProxies)
    # Added last, it is the outermost: what others refuse is told as well.
    api.add_middleware(Observed)
    api.include_router(page_router)
    api.include_router(health_router)
    api.include_router(metrics_router)
    v1 = APIRouter(prefix="/v1", responses=PROBLEMS)
    for router in (
        search_router,
        concepts_router,
        regions_router,
        runs_router,
        datasets_router,
        networks_router,
        validation_router,
        terms_router,
        ingestions_router,
        schedules_router,
        triggers_router,
        hooks_router,
        keys_router,
    ):
        v1.include_router(router)
    api.include_router(v1)
    api.openapi = lambda: _document(api)  # type: ignore[method-assign]
    return api


@asynccontextmanager
async def _living(_api: FastAPI) -> AsyncIterator[None]:
    size_threads()
    yield


def _document(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: where a key may be sent, and where it must."""
    document = FastAPI.openapi(api)
    described = {"type": "http", "scheme": "bearer", "description": "See `sdc keys create`."}
    document["components"]["securitySchemes"] = {"key": described}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1"):
                must = not {ADMINISTRATION, INGESTION}.isdisjoint(operation["tags"])
                operation["security"] = [{"key": []}] if must else [{"key": []}, {}]
    return document


def _operation(route: APIRoute) -> str:
    return route.name

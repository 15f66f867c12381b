"""What Prometheus reads."""

import os

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.observing.catalog import CatalogMetrics
from app.observing.metrics import REGISTRY

router = APIRouter()

_CATALOG = CollectorRegistry()
_CATALOG.register(CatalogMetrics())


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Counts and times of this process, or of all that serve together; what the catalog holds."""
    counted = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    told = generate_latest(counted) + generate_latest(_CATALOG)
    return Response(told, media_type=CONTENT_TYPE_LATEST)

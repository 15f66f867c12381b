"""What Prometheus reads."""

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from app.observing.catalog import CatalogMetrics
from app.observing.metrics import REGISTRY

router = APIRouter()

_CATALOG = CollectorRegistry()
_CATALOG.register(CatalogMetrics())


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Counts and times of this process, and what the catalog holds."""
    told = generate_latest(REGISTRY) + generate_latest(_CATALOG)
    return Response(told, media_type=CONTENT_TYPE_LATEST)

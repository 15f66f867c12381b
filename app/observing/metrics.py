"""What is counted while the service works, in the names that Prometheus shows."""

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter(
    "sdc_requests",
    "Requests answered, by operation of the OpenAPI document; what was asked is not told.",
    ("method", "operation", "status"),
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "sdc_request_seconds",
    "From a request's first byte to its answer's last.",
    ("method", "operation"),
    buckets=_SECONDS,
    registry=REGISTRY,
)
QUERY_SECONDS = Histogram(
    "sdc_query_seconds",
    "SQL statements, until the server's first answer.",
    ("verb",),
    buckets=_SECONDS,
    registry=REGISTRY,
)

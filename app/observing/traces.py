"""Traces through API, services and SQL, sent where OpenTelemetry's own environment says."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

P = ParamSpec("P")
R = TypeVar("R")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def tracer() -> "Tracer | None":
    """What spans are made by; None where nothing of this process has loaded OpenTelemetry."""
    # Not imported for commands that send nothing, which are to begin soon.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    return trace.get_tracer("sdc")


def configure_traces() -> bool:
    """Send spans to the endpoint of the environment; whether there is one."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return False
    # Loaded where they are wanted: most processes send nothing.
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class LeaveOutWhatIsAsked(SpanProcessor):
        """FastAPI tells the query of a request's URL, where prompts stand."""

        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            if "url.query" in (span.attributes or {}):
                span.set_attribute("url.query", "(left out)")

    named = os.environ.get("OTEL_SERVICE_NAME", "sdc")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: named}))
    provider.add_span_processor(LeaveOutWhatIsAsked())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True


def traced(service: Callable[P, R]) -> Callable[P, R]:
    """Make a service's function a span of its own."""
    name = f"{service.__module__.removeprefix('app.')}.{service.__qualname__}"

    @wraps(service)
    def spanned(*args: P.args, **kwargs: P.kwargs) -> R:
        own = tracer()
        if own is None:
            return service(*args, **kwargs)
        # An error's message quotes what was asked.
        with own.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
            return service(*args, **kwargs)

    return spanned

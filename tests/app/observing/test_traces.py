"""Tests of traces: sent by a real server process, to a real collector over HTTP."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.app.published import Published

ASK = """
from fastapi.testclient import TestClient
from opentelemetry import trace
from app.api import make_api
from app.observing.traces import configure_traces
print(configure_traces())
with TestClient(make_api()) as client:
    print(client.get("/v1/search/voxels", params={"q": "face", "k": 3}).status_code)
if hasattr(trace.get_tracer_provider(), "shutdown"):
    trace.get_tracer_provider().shutdown()
"""


class Collector(BaseHTTPRequestHandler):
    """Keeps the spans that are sent to it."""

    spans: list

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def ask(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_trace_goes_through_api_service_and_sql(published: Published) -> None:
    Collector.spans = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert ask(OTEL_EXPORTER_OTLP_ENDPOINT=url) == ["True", "200"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    spans = {span.span_id: span for span in Collector.spans}
    (request,) = [each for each in spans.values() if each.name == "GET /v1/search/voxels"]
    (service,) = [each for each in spans.values() if each.name.endswith("service.search_voxels")]
    assert spans[service.parent_span_id].parent_span_id == request.span_id
    within = [each for each in spans.values() if each.parent_span_id == service.span_id]
    assert any("catalog.nearest_voxels" in str(each.attributes) for each in within)
    assert {each.trace_id for each in (request, service, *within)} == {request.trace_id}
    # What was asked is bound, and not told.
    assert not any("face" in str(each.attributes) for each in spans.values())


def test_without_an_endpoint_nothing_is_sent(published: Published) -> None:
    assert ask() == ["False", "200"]

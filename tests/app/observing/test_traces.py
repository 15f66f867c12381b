"""Tests of traces: sent by a real server process, to a real collector over HTTP."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.app.observing.process import run_python
from tests.app.published import Published

ASK = """
from fastapi.testclient import TestClient
from opentelemetry import trace
from app.api import make_api
from app.observing.traces import configure_traces
print(configure_traces())
with TestClient(make_api()) as client:
    print(client.get("/v1/search/voxels", params={"q": "face", "k": 3}).status_code)
    # An error's message quotes what was asked.
    answer = client.get("/v1/search/voxels", params={"q": "unheard-of", "k": 3})
    print(answer.status_code, "unheard-of" in answer.text)
if hasattr(trace.get_tracer_provider(), "shutdown"):
    trace.get_tracer_provider().shutdown()
"""


class Collector(BaseHTTPRequestHandler):
    """Keeps the spans that are sent to it."""

    spans: list

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_trace_goes_through_api_service_and_sql(published: Published) -> None:
    Collector.spans = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        printed, _ = run_python(ASK, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert printed.split() == ["True", "200", "404", "True"]
    spans = {span.span_id: span for span in Collector.spans}
    service, refused = (each for each in Collector.spans if each.name.endswith("search_voxels"))
    assert refused.trace_id != service.trace_id
    request = spans[spans[service.parent_span_id].parent_span_id]
    assert (request.name, request.parent_span_id) == ("GET /v1/search/voxels", b"")
    within = [each for each in spans.values() if each.parent_span_id == service.span_id]
    assert any("catalog.nearest_voxels" in str(each.attributes) for each in within)
    assert {each.trace_id for each in (request, service, *within)} == {request.trace_id}
    # What was asked is bound, and told neither by what is well nor by what fails.
    assert not any(word in str(each) for each in Collector.spans for word in ("face", "unheard-of"))


def test_without_an_endpoint_nothing_is_sent(published: Published) -> None:
    printed, _ = run_python(ASK)
    assert printed.split()[:2] == ["False", "200"]

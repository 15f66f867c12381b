"""Tests of what is told of requests: their names, counts, times and lines of the log."""

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.api import make_api
from app.observing.context import HEADER
from app.settings import get_settings
from tests.app.published import Published

Labels = tuple[tuple[str, str], ...]


def told(client: TestClient) -> dict[tuple[str, Labels], float]:
    """Every value of /metrics, by name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def requests_of(operation: str, status: int) -> tuple[str, Labels]:
    labels = {"method": "GET", "operation": operation, "status": str(status)}
    return "sdc_requests_total", tuple(sorted(labels.items()))


def test_requests_are_counted_by_operation(client: TestClient) -> None:
    routes = [
        ("/v1/components/0", "show_concept", 404),
        ("/v1/datasets", "list_datasets", 200),
        ("/v1/search?q=", "search_text", 422),
        ("/any/thing?q=secret-words", "none", 404),
    ]
    before = told(client)
    for path, _, status in routes:
        assert client.get(path).status_code == status
    after = told(client)
    for _, operation, status in routes:
        key = requests_of(operation, status)
        assert after[key] - before.get(key, 0) == 1
    timed = ("sdc_request_seconds_count", (("method", "GET"), ("operation", "list_datasets")))
    assert after[timed] - before.get(timed, 0) == 1
    assert "secret-words" not in str(after)


def test_what_the_catalog_holds_is_told_without_names(
    client: TestClient, published: Published
) -> None:
    values = told(client)
    assert values["sdc_database_up", ()] == values["sdc_store_up", ()] == 1
    assert values["sdc_current_runs", ()] >= 1
    assert values["sdc_store_bytes", ()] >= 0
    assert ("sdc_rows", (("table", "voxel"),)) in values
    assert values["sdc_query_seconds_count", (("verb", "SELECT"),)] > 0
    assert published.dataset not in str(values)


def test_metrics_without_a_database(catalog: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.database.engine import get_engine

    monkeypatch.setenv("SDC_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    get_settings.cache_clear()
    get_engine.cache_clear()
    with TestClient(make_api()) as client:
        values = told(client)
    assert values["sdc_database_up", ()] == 0
    assert ("sdc_current_runs", ()) not in values


def test_a_request_keeps_the_name_it_was_given(client: TestClient) -> None:
    assert client.get("/healthz", headers={HEADER: "lab-7.a_b"}).headers[HEADER] == "lab-7.a_b"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "é".encode("latin-1"), 'a"}'])
def test_a_name_that_no_log_can_hold_is_replaced(client: TestClient, name: str | bytes) -> None:
    given = client.get("/healthz", headers={HEADER: name}).headers[HEADER]
    assert len(given) == 32
    assert given != client.get("/healthz", headers={HEADER: name}).headers[HEADER]

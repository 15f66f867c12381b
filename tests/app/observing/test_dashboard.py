"""The dashboard asks for metrics that are there."""

import json
import re
from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = Path(__file__).parents[3] / "docker" / "grafana" / "catalog.json"


def test_every_metric_of_the_dashboard_is_told(client: TestClient) -> None:
    client.get("/v1/datasets")
    told = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"sdc_\w+", expression)}
    assert names <= told.keys()
    assert len(names) >= 8
    by = {
        label.strip()
        for expression in asked
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in group.split(",")
    }
    assert by <= set().union(*told.values())

import pytest
from fastapi.testclient import TestClient

from app.wording import of_requests
from tests.app.conftest import Sdc, SharedCatalog
from tests.app.mcp.conftest import call, environment, fault, over_stdio


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("", ""),
        ("name one with --dataset: a, b", "name one with dataset: a, b"),
        (
            "see `sdc runs 3`; ask it all the same with --run 3, or let it answer: sdc runs "
            "--promote 3",
            "see `sdc runs 3`; ask it all the same with run=3, or let it answer: sdc runs "
            "--promote 3",
        ),
        ("add it: sdc terms build --encoder SPEC", "add it: sdc terms build --encoder SPEC"),
        ("ask for one: --prompt TEXT --atlas floc", "ask for one: prompt=TEXT atlas floc"),
        ("run `sdc demo`, then --run-set A", "run `sdc demo`, then run_set A"),
        ("a -- b", "a -- b"),
    ],
)
def test_options_become_parameters_and_commands_stay(hint: str, expected: str) -> None:
    assert of_requests(hint) == expected


def test_each_way_is_told_in_its_own_words(
    client: TestClient, sdc: Sdc, shared_catalog: SharedCatalog
) -> None:
    told = client.get("/v1/validation", params={"prompt": "face"}).json()["hint"]
    assert told.startswith("add atlas")
    assert "--" not in told
    assert "add --atlas" in sdc("validate", "--prompt", "face").stderr
    refused = client.post("/v1/terms", json={"texts": ["face"]}).json()
    assert "SDC_KEY" in refused["hint"]
    assert "Authorization: Bearer" in refused["hint"]
    tool = fault(
        call(
            over_stdio(environment(shared_catalog.home, shared_catalog.url)),
            "search",
            {"prompt": "", "k": 3},
        )
    )
    assert "--" not in tool

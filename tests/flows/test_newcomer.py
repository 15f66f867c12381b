"""The whole chain as somebody meets it who has just read the docs: check, ingest, run, search."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.flows.newcomer import PARTICIPANTS, PLANTED, SLUG, Form, write_newcomer

# Each takes minutes.
pytestmark = pytest.mark.slow

ENCODER = "encoder=caption:all-MiniLM-L6-v2"
LEVEL = 0.05


@dataclass(frozen=True)
class Chain:
    """What each command of the chain told, as JSON."""

    checked: dict[str, Any]
    ingested: dict[str, Any]
    run: dict[str, Any]
    found: dict[str, dict[str, Any]]
    concepts: list[dict[str, Any]]


def sdc(*words: object) -> Any:
    """What a command that succeeds tells."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def chains(
    server_url: str,
    template_database: str,
    prefect_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """Goes through the chain on a set, once; no option is given but the encoder."""
    from tests.flows.conftest import home_of_a_module

    told: dict[tuple[Form, bool], Chain] = {}

    def chain(form: Form, planted: bool) -> Chain:
        if (form, planted) in told:
            return told[form, planted]
        folder = tmp_path_factory.mktemp(f"{form}-{planted}")
        data = write_newcomer(folder / "data", form, planted=planted)
        with (
            home_of_a_module(folder / "home", server_url, template_database, prefect_server),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("PREFECT_API_URL", prefect_server)
            checked = sdc("ingest", "--check", data)
            ingested = sdc("ingest", data)
            run = sdc("run", SLUG, "--set", ENCODER)
            of_run = ("--run", run["run"])
            told[form, planted] = Chain(
                checked,
                ingested,
                run,
                {name: sdc("search", f"a {name}", *of_run) for name in PLANTED},
                sdc("concepts", *of_run)["items"],
            )
        return told[form, planted]

    return chain


@pytest.fixture(params=["betas", "timeseries"])
def form(request: pytest.FixtureRequest) -> Form:
    return request.param


def test_the_chain_names_its_next_link(chains: Any, form: Form) -> None:
    chain = chains(form, True)
    assert chain.checked["next"].startswith("sdc ingest /")
    assert chain.checked["next"].endswith(f", then sdc run {SLUG}")
    assert chain.ingested["next"] == f"sdc run {SLUG}"
    kept = chain.ingested["choices"].pop("voxels")
    assert kept.startswith("960 of 960 kept ")
    del chain.checked["choices"]["voxels"]
    assert chain.ingested["choices"] == chain.checked["choices"]


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(chains: Any, form: Form, name: str) -> None:
    chain = chains(form, True)
    found = chain.found[name]
    concept = found["concepts"][0]
    assert name in concept["label"]
    assert len(concept["subjects"]) == PARTICIPANTS[form]
    assert concept["q_value"] <= LEVEL
    own = [each for each in found["regions"] if each["region"] == PLANTED[name]]
    assert found["regions"][0] in own
    assert len(own) == PARTICIPANTS[form]
    for each in own:
        assert each["responds"] == "more"
        assert each["auc"] > 0.95
        assert each["q_value"] <= LEVEL


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_shared(chains: Any, form: Form, name: str) -> None:
    """Two participants alone may agree by chance where a patch fills a tenth of a hemisphere."""
    concept = chains(form, True).found[name]["concepts"][0]
    assert name in concept["label"]
    if form == "betas":
        assert (concept["shared"], concept["reasons"]) == (True, {})
    else:
        assert set(concept["reasons"]) <= {"agreeing"}


def test_nothing_else_is_called_shared(chains: Any, form: Form) -> None:
    concepts = chains(form, True).concepts
    assert all(
        any(name in each["label"] for name in PLANTED) for each in concepts if each["shared"]
    )


def test_where_nothing_is_planted_nothing_is_shared(chains: Any, form: Form) -> None:
    chain = chains(form, False)
    assert not [each for each in chain.concepts if each["shared"]]
    assert chain.run["verdict"]
    told = " ".join(chain.run["warnings"])
    for number in range(1, PARTICIPANTS[form] + 1):
        assert f"this run tells nothing of sub-{number:02d}" in told

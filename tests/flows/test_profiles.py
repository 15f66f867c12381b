"""Named settings: what they say can be run, and what comes after them changes them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.errors import InputError
from flows.config import RunConfig
from flows.profiles import PROFILES, settings_of, with_profile
from flows.science.decoder import PUBLISHED
from flows.science.masks import PUBLISHED_MASKS
from flows.science.voxel_clusters import PUBLISHED_CLUSTERS


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["run", *words])


@pytest.fixture(autouse=True)
def any_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a dataset is there is asked first, and these tests have no catalog."""
    monkeypatch.setattr("flows.commands._require_dataset", lambda slug: None)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_can_be_run(name: str) -> None:
    assert RunConfig.model_validate(settings_of(name))
    assert PROFILES[name].description


def test_the_default_names_nothing() -> None:
    assert settings_of("default") == {}
    assert RunConfig.model_validate(with_profile("default", {"seed": 3})) == RunConfig(seed=3)


def test_the_published_profile_is_as_the_papers_are() -> None:
    chosen = RunConfig.model_validate(settings_of("published"))
    assert chosen.encoder == "open_clip:ViT-B-32:openai"
    assert chosen.start == "drawn"
    assert chosen.decoder == PUBLISHED["linear"]
    assert chosen.masks == PUBLISHED_MASKS
    reduction = chosen.reduction
    assert (reduction.components, reduction.steps, reduction.learning_rate) == (128, 15_000, 2e-4)
    assert reduction.starts == 1
    assert chosen.clusters == PUBLISHED_CLUSTERS
    assert (PUBLISHED_CLUSTERS.eps, PUBLISHED_CLUSTERS.vectors) == (0.6, "weights")
    assert (PUBLISHED_CLUSTERS.noise_ceiling, PUBLISHED_CLUSTERS.overlapping) == (8, True)
    assert (RunConfig().clusters.eps, RunConfig().clusters.vectors) == (None, "patterns")
    assert chosen.statistics == RunConfig().statistics
    assert "accumulated gradients" in PROFILES["published"].description


def test_the_published_decoder_is_that_of_its_kind() -> None:
    values = with_profile("published", {"decoder": {"kind": "mlp", "steps": 7}})
    assert RunConfig.model_validate(values).decoder == replace(PUBLISHED["mlp"], steps=7)
    assert values["decoder"]["temperature"] == PUBLISHED["mlp"].temperature


def test_what_is_given_comes_before_the_profile_and_leaves_it_as_it_is() -> None:
    before = settings_of("published")
    given = {"encoder": "caption:all-MiniLM-L6-v2", "reduction": {"components": 8}, "seed": 4}
    chosen = RunConfig.model_validate(with_profile("published", given))
    assert (chosen.encoder, chosen.reduction.components, chosen.seed) == (
        given["encoder"],
        8,
        4,
    )
    assert chosen.reduction.steps == 15_000
    assert given["reduction"] == {"components": 8}
    with_profile("published", {})["reduction"]["steps"] = 1
    assert settings_of("published") == before


def test_a_file_comes_after_the_profile_and_a_setting_after_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RunConfig] = []

    class Flow:
        """Takes note of what it is to run."""

        def with_options(self, **_: object) -> "Flow":
            return self

        def __call__(self, dataset: str, config: RunConfig, **_: object) -> dict[str, str]:
            asked.append(config)
            return {"dataset": dataset}

    monkeypatch.setattr("flows.commands._prepare", lambda: None)
    monkeypatch.setattr("flows.pipeline.run_pipeline", Flow())
    file = tmp_path / "run.toml"
    file.write_text("seed = 5\n[reduction]\ncomponents = 9\nsteps = 10\n")
    words = ("lab", "--profile", "published", "--config", str(file))
    result = run(*words, "--set", "reduction.components=11", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"dataset": "lab"}
    (config,) = asked
    assert (config.reduction.components, config.reduction.steps, config.seed) == (11, 10, 5)
    assert (config.start, config.reduction.learning_rate) == ("drawn", 2e-4)


def test_profiles_are_listed_without_a_dataset() -> None:
    lines = run("--profiles").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["profile", *PROFILES]
    assert "reduction.components=128" in lines[2]
    listed = json.loads(run("--profiles", "--json").stdout)["profiles"]
    assert [each["name"] for each in listed] == list(PROFILES)
    for each in listed:
        assert RunConfig.model_validate(each["settings"]) == RunConfig.model_validate(
            settings_of(each["name"])
        )


def test_an_unknown_profile_is_told_the_known_ones_the_nearest_first() -> None:
    for wrong, nearest in (("publishd", "published, default"), ("defaults", "default, published")):
        with pytest.raises(InputError, match=f"no profile '{wrong}'") as caught:
            with_profile(wrong, {})
        assert caught.value.hint == f"known: {nearest}"
    result = run("lab", "--profile", "publishd")
    assert result.exit_code == 2
    assert result.stderr.strip() == (
        "error: there is no profile 'publishd' (known: published, default)"
    )


def test_a_run_of_no_dataset_says_so() -> None:
    result = run()
    assert result.exit_code == 2
    assert "no dataset is named" in result.stderr

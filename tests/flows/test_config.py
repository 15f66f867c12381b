from pathlib import Path

import pytest

from app.errors import InputError
from flows.config import RunConfig, read_config


def test_categories_are_those_of_the_localiser_unless_others_are_named(tmp_path: Path) -> None:
    assert [(each.category, each.prompt) for each in RunConfig().validation.probes] == [
        ("faces", "a face"),
        ("bodies", "a body"),
        ("places", "a place"),
        ("words", "written words"),
    ]
    file = tmp_path / "run.toml"
    file.write_text('[[validation.probes]]\ncategory = "cars"\nprompt = " a car "\natlas = "x"\n')
    (probe,) = read_config(RunConfig, file, []).validation.probes
    assert (probe.category, probe.prompt, probe.atlas) == ("cars", "a car", "x")


PROBE = '{category = "a", prompt = "a face", atlas = "x"}'


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (f"[{PROBE}, {PROBE}]", "the category a stands twice"),
        ('[{category = "a", prompt = " ", atlas = "x"}]', "the prompt is empty"),
        ('[{category = "", prompt = "b", atlas = "x"}]', "validation.probes.0.category"),
        ('[{category = "a", prompt = "b"}]', "validation.probes.0.atlas"),
    ],
)
def test_categories_that_cannot_be_asked_are_refused_before_a_run(
    setting: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_config(RunConfig, None, [f"validation.probes={setting}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("clusters.eps=1.5", "eps and expansion_limit must lie in"),
        ("clusters.eps=wide", "clusters.eps: "),
        ("clusters.min_neighbours=0", "min_neighbours must be at least 1"),
        ("clusters.min_neighbours=1.5", "clusters.min_neighbours: "),
        ("clusters.expansion=-0.1", "expansion must be at least 0"),
        ("method=magic", "method: "),
    ],
)
def test_settings_of_clusters_are_told_what_is_wrong_with_them(setting: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_config(RunConfig, None, [setting])
    assert message in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_decoder_without_weights_of_voxels_is_no_fault_where_voxels_are_masked() -> None:
    assert read_config(RunConfig, None, ["decoder.kind=mlp"]).method == "masks"
    with pytest.raises(InputError, match="kind mlp") as caught:
        read_config(RunConfig, None, ["decoder.kind=mlp", "method=clusters"])
    assert "method masks" in caught.value.hint


@pytest.mark.parametrize("seeds", ["0", "-1", "1.5", "many"])
def test_a_number_of_seeds_that_is_none_is_refused(seeds: str) -> None:
    with pytest.raises(InputError, match=r"^stability\.seeds: ") as caught:
        read_config(RunConfig, None, [f"stability.seeds={seeds}"])
    assert "\n" not in str(caught.value)


def test_two_seeds_are_compared_unless_others_are_named() -> None:
    assert RunConfig().stability.seeds == 2
    assert read_config(RunConfig, None, ["stability.seeds=1"]).stability.seeds == 1

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.database.engine import open_session
from app.database.models import Term
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published

CATEGORY_FIELDS = [
    *("category", "prompt", "atlas", "component", "label"),
    *("shared", "decodable", "specific", "agreeing", "stable", "reason", "reasons", "prevalence"),
    *("similarity", "subjects"),
]
SUBJECT_FIELDS = [
    *("subject", "decodes", "responds", "auc", "dice", "p_value", "q_value", "rho", "map"),
    *("n_voxels", "n_region", "reason", "regions"),
]
REGION_FIELDS = ["region", "auc", "dice", "p_value", "q_value", "n_voxels", "n_region"]


def test_validate_as_json(sdc: Sdc, localised: Published) -> None:
    result = sdc("validate", "lab-a", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert list(answer) == [
        *("dataset", "run", "encoder", "method", "choice", "q_family", "categories")
    ]
    assert list(answer["categories"][0]) == CATEGORY_FIELDS
    assert list(answer["categories"][0]["subjects"][0]) == SUBJECT_FIELDS
    assert list(answer["categories"][0]["subjects"][0]["regions"][0]) == REGION_FIELDS
    named = ("--run", localised.run, "--subject", "subj02", "--atlas", "floc-faces", "--json")
    (one,) = json.loads(sdc("validate", *named).stdout)["categories"]
    assert [each["subject"] for each in one["subjects"]] == ["subj02"]


def test_validate_as_tables(sdc: Sdc, localised: Published) -> None:
    result = sdc("validate")
    head, _, columns, faces, words, cars, blank, of_subjects, first, *rest = (
        result.stdout.splitlines()
    )
    assert head.startswith(
        f"lab-a, run {localised.run} (masks), {localised.encoder}; each category's"
    )
    assert columns == (
        "category\tprompt\tatlas\tconcept\tlabel\tsimilarity\tshared\tAUC\tDice\trho\tq < 0.05"
        "\treason"
    )
    face = localised.components["face"]
    assert faces.startswith(f"faces\tportrait\tfloc-faces\t{face}\tface, ")
    assert faces.endswith("\tyes\t1.000\t1.000\t0.400\t2 of 2\t-")
    assert "\tnot measured\t" in words
    assert words.endswith("\t0.400\t1 of 1\tother seeds have no masks of it")
    assert cars.startswith("cars\ta car\tfloc-words\t-\t-\t-\t-\t-\t-\t-\t-\t")
    assert cars.endswith("has no vector for 'a car'")
    assert blank == ""
    assert of_subjects == (
        "category\tsubject\tdecodes\tresponds\tAUC\tDice\tp\tq\trho\tt-map\tvoxels\tof region"
        "\treason"
    )
    assert first == (
        "faces\tsubj01\tyes\tmore\t1.000\t1.000\t0.001\t0.001\t0.400\tfloc_facestval\t5\t5\t-"
    )
    assert rest[2] == (
        "words\tsubj02\tyes\t-\t-\t-\t-\t-\t0.400\tfloc_wordtval\t0\t0"
        "\tno voxel kept of subj02 lies in floc-words"
    )
    assert rest[4] == "category\tsubject\tregion\tAUC\tDice\tp\tq\tvoxels\tof region"
    assert rest[5] == "faces\tsubj01\tFFA-1\t1.000\t0.750\t0.001\t0.002\t3\t3"


def test_a_prompt_of_ones_own_is_kept_as_a_search_keeps_it(sdc: Sdc, localised: Published) -> None:
    result = sdc("validate", "--prompt", "pizza", "--atlas", "floc-faces", "--json")
    (one,) = json.loads(result.stdout)["categories"]
    assert (one["category"], one["component"]) == ("floc-faces", localised.components["food"])
    with open_session() as session:
        assert session.query(Term).filter_by(text="pizza").count() == 1


def test_validate_is_drawn(sdc: Sdc, localised: Published, tmp_path: Path) -> None:
    file = tmp_path / "validation.png"
    result = sdc("validate", "--subject", "subj01", "--figure", file)
    assert (result.exit_code, result.stderr) == (0, f"wrote {file}\n")
    assert result.stdout.startswith("lab-a, run ")
    assert file.read_bytes().startswith(b"\x89PNG")


BAD = [
    (("validate", "lab-z"), "no dataset 'lab-z' is in the catalog (known: lab-a)"),
    (("validate", "--run", "77"), "no run 77"),
    (("validate", "--run", "one"), "'--run'"),
    (("validate", "--subject", "subj9"), "no subject 'subj9' (known: subj01, subj02)"),
    (("validate", "--atlas", "x"), "no atlas 'x' (known: floc, floc-faces, floc-words)"),
    (("validate", "--atlas", "floc"), "is held against the atlas floc (ask for one: --prompt"),
    (("validate", "--prompt", "face"), "no atlas to hold it against (add --atlas: floc, "),
    (("validate", "--prompt", " ", "--atlas", "floc"), "prompt is empty"),
    (("validate", "--prompt", "quasar", "--atlas", "floc"), "no vector for 'quasar'"),
    (("validate", "--figure", "figure.gif"), "figure.gif is no name of a PNG file"),
    (("validate", "--figure", "nowhere/figure.png"), "cannot be written: there is no folder"),
    (("validate", "--figure", "/proc/figure.png"), "/proc/figure.png cannot be written"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_wrong_input_is_one_line_and_changes_nothing(
    sdc: Sdc,
    localised: Published,
    count_rows: Callable[[], Counts],
    words: tuple[str, ...],
    message: str,
) -> None:
    before = count_rows()
    result = sdc(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert count_rows() == before


def test_help_names_the_command(sdc: Sdc) -> None:
    assert " validate " in sdc().stdout


def test_data_without_localisers_are_named(sdc: Sdc, published: Published) -> None:
    result = sdc("validate")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no mask of run {published.run} was held against regions" in result.stderr

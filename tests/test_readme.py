"""What the README shows is what the commands print."""

import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from app.cli import app
from flows.demo.concepts import CONCEPTS
from flows.demo.varied import responses_of
from tests.readme import LEFT_OUT, README, Example, differences, read_blocks, run_block

COMMANDS = sorted(set(re.findall(r"(?:`|bin/)sdc ([a-z]+)", README)))
EXAMPLES = [example for block in read_blocks() for example in block]


def test_the_recovery_tables_have_a_row_a_planted_concept_and_no_other_line() -> None:
    tables = re.findall(r"^planted  asked as .*\n((?:.+\n)+)", README, re.MULTILINE)
    assert len(tables) == 2
    for table, kind in zip(tables, ("varied", "plain"), strict=True):
        rows = [re.split(" {2,}", line) for line in table.splitlines()]
        assert [tuple(row[:2]) for row in rows] == [(each.name, each.query) for each in CONCEPTS]
        for row, concept, planted in zip(rows, CONCEPTS, responses_of(kind), strict=True):
            assert row[2] in {"yes", "no"}
            assert re.fullmatch(r"[01]\.\d\d( [01]\.\d\d)*", row[3])
            assert row[2] == "no" or row[4] == planted or f"(planted: {planted})" in row[4]
            assert tuple(row[5].split(":")) in concept.regions or row[5] == "(none planted)"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_examples_ask_for_what_is_planted_and_name_no_id() -> None:
    """Ids are those of a table: another machine's demo gives others."""
    assert not re.findall(r"sdc (?:show|similar|runs|network) \d|--run \d|--promote \d", README)
    searched = [re.search('sdc search "(.+?)" -k', each.command) for each in EXAMPLES]
    prompts = {found[1] for found in searched if found}
    assert prompts
    assert prompts <= {concept.query for concept in CONCEPTS}
    for example in EXAMPLES:
        found = re.search('sdc search "(.+?)" -k', example.command)
        if found is None or not example.answer:
            continue
        (concept,) = [each for each in CONCEPTS if each.query == found[1]]
        named = {f"{atlas}:{region}" for atlas, region in concept.regions}
        assert example.told[3].rpartition("  ")[2] in named


SEARCH = Example(
    "sdc search x",
    [
        "concept  label  shared  region",
        "19  writing, text  yes  floc-words:VWFA-1",
        "",
        "subject  region  peak mm",
        "subj02  VWFA-1  -47 -62 -15",
    ],
)


@pytest.mark.parametrize(
    ("line", "other", "alike"),
    [
        (1, "7  letter, page  yes  floc-words:VWFA-2", True),
        (1, "7  letter, page  no  floc-words:VWFA-1", False),
        (1, "7  letter, page  yes  floc-faces:FFA-1", False),
        (1, "7  letter, page  yes", False),
        (4, "subj01  VWFA-1  -50.5 -64 -10", True),
        (4, "subj01  VWFA-1  47 -62 -15", False),
        (0, "concept  name  shared  region", False),
        (2, "others carry it", False),
    ],
)
def test_answers_are_held_against_readme_but_for_figures(
    line: int, other: str, alike: bool
) -> None:
    printed = [*SEARCH.answer[:line], other, *SEARCH.answer[line + 1 :]]
    assert bool(differences(SEARCH, printed)) != alike


def test_no_line_is_missing_or_beyond_but_where_some_are_left_out() -> None:
    assert not differences(SEARCH, SEARCH.answer)
    assert differences(SEARCH, SEARCH.answer[:-1])
    assert differences(SEARCH, [*SEARCH.answer, "more"])
    left_out = replace(SEARCH, answer=[*SEARCH.answer[:2], LEFT_OUT])
    assert not differences(left_out, SEARCH.answer)
    assert differences(left_out, SEARCH.answer[:1])


def test_examples_of_a_block_are_typed_into_one_shell() -> None:
    (block,) = read_blocks("x\n\n```\n$ id=7\n$ echo $id \\\n    8\n7 8\n```\n")
    assert block == [Example("id=7", []), Example("echo $id \\\n    8", ["7 8"])]
    assert run_block(block) == [[], ["7 8"]]

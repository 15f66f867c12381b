"""What the README shows is what the commands print."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from flows.demo.concepts import CONCEPTS
from flows.demo.varied import responses_of

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"`sdc ([a-z]+)", README)))


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

"""What the README shows is what the commands print."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from flows.demo.concepts import CONCEPTS

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"`sdc ([a-z]+)", README)))


def test_the_recovery_table_has_a_row_a_planted_concept_and_no_other_line() -> None:
    (table,) = re.findall(r"^planted  asked as .*\n((?:.+\n)+)", README, re.MULTILINE)
    rows = [re.split(" {2,}", line) for line in table.splitlines()]
    assert [tuple(row[:2]) for row in rows] == [(each.name, each.query) for each in CONCEPTS]
    for row, concept in zip(rows, CONCEPTS, strict=True):
        assert row[2] in {"yes", "no"}
        assert re.fullmatch(r"[01]\.\d\d( [01]\.\d\d)*", row[3])
        assert tuple(row[4].split(":")) in concept.regions or row[4] == "(none planted)"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0

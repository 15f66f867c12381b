"""README's examples: blocks of commands, and what they print."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
_MARK = "--- next example ---"
# What is left out of an example's answer.
LEFT_OUT = "..."


@dataclass(frozen=True)
class Example:
    """A command of README, and the lines that it says are the answer."""

    command: str
    answer: list[str]

    @property
    def told(self) -> list[str]:
        """The lines before what is left out."""
        end = self.answer.index(LEFT_OUT) if LEFT_OUT in self.answer else len(self.answer)
        return self.answer[:end]


def read_blocks(text: str = README) -> list[list[Example]]:
    """Examples, those of a block together: they are typed into one shell."""
    blocks = []
    for block in re.findall(r"^```\n(\$ .+?)^```", text, re.MULTILINE | re.DOTALL):
        examples = []
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *answer = part.rstrip("\n").splitlines()
            while command.endswith("\\"):
                command = f"{command}\n{answer.pop(0)}"
            examples.append(Example(command, answer))
        blocks.append(examples)
    return blocks


def run_block(block: list[Example]) -> list[list[str]]:
    """What the commands of a block print, in the catalog of the environment.

    Raises
    ------
    CalledProcessError
        A command fails.
    """
    script = "\n".join(f"{each.command}\necho '{_MARK}'" for each in block)
    # As after `make setup`, with this Python's environment in place of .venv.
    script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "1000"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    # Columns are set apart by tabs where no terminal shows them.
    shown = done.stdout.replace("\t", "  ").split(f"{_MARK}\n")[:-1]
    return [part.strip("\n").splitlines() for part in shown]


def shape_of(line: str) -> str:
    """A line without its figures, which are another machine's: ids, similarities, counts.

    Signs stay: they tell the left from the right.
    """
    return re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "#", line)


def differences(example: Example, printed: list[str]) -> list[str]:
    """Where an answer is another one than README says: words, columns, regions, signs of figures.

    Labels are no part of it, nor are figures: the words of a vocabulary nearest to a direction
    hang on its last digits.
    """
    if example.told == example.answer and len(printed) != len(example.answer):
        return [f"{len(printed)} lines, README has {len(example.answer)}"]
    found, header = [], [""]
    for number, said in enumerate(example.told):
        line = printed[number] if number < len(printed) else "(nothing)"
        cells, said_cells = (re.split(" {2,}", each) for each in (line, said))
        if len(said_cells) > 1 and line == said:
            header = said_cells
        alike = len(cells) == len(said_cells) and all(
            column == "label" or shape_of(one) == shape_of(other)
            for column, one, other in zip(
                header if len(header) == len(cells) else cells, cells, said_cells, strict=True
            )
        )
        if not alike:
            found.append(f"line {number + 1}: {line!r}, README has {said!r}")
    return found

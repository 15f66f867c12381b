"""CSV and TSV tables as rows that know their line, so that a fault in them can be named."""

import csv
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from app.errors import InputError
from flows.sources.fetching import require_file

_DELIMITERS = {",": "commas", "\t": "tabs", " ": "blanks"}


@dataclass(frozen=True)
class Row:
    """One line of a table; `line` is its number in the file, for messages."""

    path: Path
    line: int
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """The cell without surrounding blanks, "" where the column is absent."""
        return self.cells.get(column, "")

    def required(self, column: str) -> str:
        """The cell, which must not be empty."""
        if not (value := self.text(column)):
            raise self.fault(f"{column} is empty")
        return value

    def integer(self, column: str, *, least: int) -> int:
        """The cell as a whole number of at least `least`."""
        value = self.required(column)
        try:
            number = int(value)
        except ValueError:
            raise self.fault(f"{column} is {value!r}, not a whole number") from None
        if number < least:
            raise self.fault(f"{column} is {number}, the least possible is {least}")
        return number

    def number(self, column: str) -> float:
        """The cell as a finite number."""
        value = self.required(column)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.fault(f"{column} is {value!r}, not a number")
        return number

    def fault(self, reason: str, *, hint: str = "correct this line of the table") -> InputError:
        """An error that names the file and the line."""
        return InputError(f"{self.path}, line {self.line}: {reason}", hint=hint)


def read_table(path: Path, *, columns: Collection[str], delimiter: str | None = None) -> list[Row]:
    """Rows of a UTF-8 table with a header line; further columns may stand in any order.

    In a `.tsv` file `n/a` is an empty cell, as in BIDS.

    Parameters
    ----------
    delimiter : str, optional
        What stands between two cells; default: a tab in a `.tsv` file, a comma in others.

    Raises
    ------
    InputError
        The file is missing or no text, lacks one of `columns`, or has a ragged line.
    """
    between = delimiter or ("\t" if path.suffix == ".tsv" else ",")
    name = _DELIMITERS[between]
    require_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True, delimiter=between)
            header = [name.strip() for name in next(reader, [])]
            if missing := sorted(set(columns) - set(header)):
                raise InputError(
                    f"{path}: no column {', '.join(missing)}",
                    hint=f"the header has: {', '.join(header) or 'nothing'}",
                )
            rows = []
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells, the header has "
                        f"{len(header)}",
                        hint=f'put cells that hold {name} in "double quotes"',
                    )
                stripped = (cell.strip() for cell in cells)
                if path.suffix == ".tsv":
                    stripped = ("" if cell == "n/a" else cell for cell in stripped)
                rows.append(Row(path, reader.line_num, dict(zip(header, stripped, strict=True))))
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as a table: {getattr(error, 'strerror', None) or error}",
            hint=f"give a UTF-8 table with a header line and {name} between cells",
        ) from error

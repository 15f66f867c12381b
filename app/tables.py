"""Tables and lists of text, read by one reader in one dialect, described in docs/tables.md.

A line is a row, always: a quotation mark that is opened and never closed, which other readers take
the rest of the file into one cell for, is a fault of its own line.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import InputError
from app.texts import LINE_END, find_unstorable, one_form, read_text, require_storable

DELIMITERS = {",": "commas", "\t": "tabs", " ": "blanks"}
QUOTE = '"'
_MOST_SHOWN = 60


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
    """Rows of a table with a header line; further columns may stand in any order.

    In a `.tsv` file `n/a` is an empty cell, as in BIDS. All cells are in Unicode's composed form.

    Parameters
    ----------
    columns : collection of str
        Those that it must have.
    delimiter : str, optional
        As of `read_cells`.

    Raises
    ------
    InputError
        The file lacks one of `columns`, has one twice, or as `read_cells`.
    """
    lines = read_cells(path, delimiter)
    _, header = next(lines, (1, []))
    header = [one_form(name.strip()) for name in header]
    if missing := sorted(set(columns) - set(header)):
        raise InputError(
            f"{path}: no column {', '.join(missing)}",
            hint=f"the header has: {', '.join(header) or 'nothing'}",
        )
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise InputError(
            f"{path}, line 1: two columns are called {', '.join(twice)}",
            hint="give each column a name of its own",
        )
    empty = ("", "n/a") if _is_tsv(path) else ("",)
    rows = []
    for number, cells in lines:
        stripped = (one_form(cell.strip()) for cell in cells)
        known = ("" if cell in empty else cell for cell in stripped)
        rows.append(Row(path, number, dict(zip(header, known, strict=True))))
    return rows


def read_cells(path: Path, delimiter: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Numbers and cells of the lines of a table, the header's first; empty lines are left out.

    Parameters
    ----------
    path : Path
    delimiter : str, optional
        What stands between two cells; default: a tab in a `.tsv` file, a comma in others.

    Raises
    ------
    InputError
        The file is no UTF-8 text, a line has not as many cells as the header, a quotation mark is
        out of place, or a cell holds a NUL.
    """
    between = delimiter or ("\t" if _is_tsv(path) else ",")
    header: list[str] | None = None
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            continue
        cells = _split(path, number, line, between, header or [])
        if find_unstorable(line):
            for place, cell in enumerate(cells):
                column = _column(cells[:place], header or [])
                require_storable(cell, f"{path}, line {number}, column {column}")
        if header is None:
            header = cells
        elif len(cells) != len(header):
            name = DELIMITERS[between]
            raise InputError(
                f"{path}, line {number}: {_counted(len(cells))}, the header has {len(header)}",
                hint=f'put cells that hold {name} in "double quotes"',
            )
        yield number, cells


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file of text.

    Raises
    ------
    InputError
        It cannot be read, holds other bytes, or a NUL.
    """
    lines = _lines(path)
    for number, line in enumerate(lines, start=1):
        require_storable(line, f"{path}, line {number}")
    return lines


def lines_of(text: str) -> list[str]:
    """The lines of a text, which ends with a line's end or without one."""
    lines = LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def _lines(path: Path) -> list[str]:
    return lines_of(read_text(path))


def _split(path: Path, number: int, line: str, between: str, header: list[str]) -> list[str]:
    """The cells of a line: what is quoted without its quotation marks, all else as it stands."""
    if QUOTE not in line:
        return line.split(between)
    cells: list[str] = []
    at = 0
    while True:
        start = _past_blanks(line, at, between)
        if line[start : start + 1] != QUOTE:
            end = line.find(between, start)
            cells.append(line[at:] if end < 0 else line[at:end])
        else:
            cell, closed = _unquote(line, start)
            end = _past_blanks(line, closed, between) if closed else len(line)
            if not closed or line[end : end + 1] not in ("", between):
                wrong = "goes on after the closing" if closed else "has no closing"
                place = _column(cells, header)
                raise InputError(
                    f"{path}, line {number}, column {place}, character {start + 1}: a cell that "
                    f"begins with a quotation mark {wrong} one",
                    hint=_remedy(line, start, between),
                )
            cells.append(cell)
            end = end if end < len(line) else -1
        if end < 0:
            return cells
        at = end + 1


def _unquote(line: str, start: int) -> tuple[str, int]:
    """A quoted cell, and where the line goes on after it: 0 where it is not closed."""
    parts: list[str] = []
    at = start + 1
    while (end := line.find(QUOTE, at)) >= 0:
        parts.append(line[at:end])
        if line[end + 1 : end + 2] != QUOTE:
            return QUOTE.join(parts), end + 1
        at = end + 2
    return "", 0


def _past_blanks(line: str, at: int, between: str) -> int:
    while at < len(line) and line[at] in " \t" and line[at] != between:
        at += 1
    return at


def _column(cells: list[str], header: list[str]) -> str:
    """What to call the column of the cell after some others."""
    name = header[len(cells)].strip() if len(cells) < len(header) else ""
    return name or str(len(cells) + 1)


def _remedy(line: str, start: int, between: str) -> str:
    end = line.find(between, start)
    cell = (line[start:] if end < 0 else line[start:end]).strip()
    quoted = QUOTE + cell.replace(QUOTE, 2 * QUOTE) + QUOTE
    told = f"write {quoted} if this is its text" if len(quoted) <= _MOST_SHOWN else ""
    return "; ".join(filter(None, ("close it on its line, and double marks inside of it", told)))


def _counted(number: int) -> str:
    return "1 cell" if number == 1 else f"{number} cells"


def _is_tsv(path: Path) -> bool:
    return path.suffix.lower() == ".tsv"

"""How commands print: JSON, tables and facts on stdout; progress, notes and errors on stderr."""

import sys
import time
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from app.errors import CatalogError

# Rich is loaded where a terminal is drawn on: most commands are piped, or print a line.
if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Cell = str | int | float | bool | None | Sequence[str]


def print_json(answer: BaseModel) -> None:
    """An answer as JSON, and nothing else, on stdout."""
    print(answer.model_dump_json(indent=2))


def print_line(line: str = "") -> None:
    """One line on stdout."""
    print(_clean(line))


def note(line: str) -> None:
    """One line on stderr."""
    print(_clean(line), file=sys.stderr)


def print_error(error: CatalogError) -> None:
    """An error as one line on stderr: what is at fault, and what to do."""
    note(f"error: {error}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Rows under a header: aligned on a terminal, tab-separated where stdout is piped.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequences
        Numbers are rounded to three places, booleans told as yes and no.
    """
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(map(_told, row)))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        numeric = any(type(row[index]) in (int, float) for row in rows)
        table.add_column(
            column, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
        )
    for row in rows:
        table.add_row(*(Text(_told(cell)) for cell in row))
    Console(highlight=False).print(table)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Names and values, a line each; what is inside a value is indented below its name."""
    for line in _fact_lines(facts, ""):
        print(line)


class StageProgress:
    """Shows how far stages of work are, on stderr: bars on a terminal, else a line a stage.

    Called with (stage, done, total, detail), from any thread.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._finished: set[str] = set()

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Take note that `done` of `total` steps of a stage are done."""
        with self._lock:
            if done < total:
                self._finished.discard(stage)
            elif stage in self._finished:
                return
            else:
                self._finished.add(stage)
            if sys.stderr.isatty():
                self._draw(stage, done, total, detail)
            else:
                self._write(stage, done, total, detail)

    def stop(self) -> None:
        """Leave the bars as they stand, so that other lines can follow."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def _draw(self, stage: str, done: int, total: int, detail: str) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                console=Console(stderr=True),
            )
            self._bars.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(_clean(stage), total=total, detail="")
        self._bars.update(self._tasks[stage], completed=done, total=total, detail=_clean(detail))
        if all(task.finished for task in self._bars.tasks):
            self.stop()

    def _write(self, stage: str, done: int, total: int, detail: str) -> None:
        started = self._started.setdefault(stage, time.monotonic())
        if done >= total:
            del self._started[stage]
            note(f"{stage}: {total} done in {time.monotonic() - started:.1f} s {detail}".rstrip())


_progress = StageProgress()


def stage_progress() -> StageProgress:
    """The process's one display of progress."""
    return _progress


def _fact_lines(facts: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in facts.items():
        label = f"{indent}{_clean(str(name)).replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += [f"{label}:", *_fact_lines(value, indent + "  ")]
        elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
            lines.append(f"{label}:")
            for each in value:
                inner = _fact_lines(
                    each if isinstance(each, Mapping) else {"-": each}, indent + "    "
                )
                lines += [f"{indent}  - {inner[0].lstrip()}", *inner[1:]] if inner else []
        else:
            lines.append(f"{label}: {_told(value)}")
    return lines


def _told(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return _number(cell)
    if isinstance(cell, list | tuple):
        return ", ".join(map(_told, cell))
    return _clean(str(cell))


def _number(value: float) -> str:
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.3f}" if size >= 0.0005 or size == 0 else f"{value:.1e}"


def _clean(text: str) -> str:
    """A text on one line, without what would steer the terminal."""
    return "".join(each if each.isprintable() else " " for each in text)

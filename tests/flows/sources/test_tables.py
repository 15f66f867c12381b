from pathlib import Path

import pytest

from flows.sources.tables import read_table
from tests.flows.sources.faults import refused


def test_rows_know_their_line_and_blanks_are_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('\ufeffname , n\n"a, b", 3\n\nc,0\n', encoding="utf-8")
    first, second = read_table(path, columns=("n", "name"))
    assert (first.text("name"), first.integer("n", least=0), first.line) == ("a, b", 3, 2)
    assert (second.required("name"), second.line) == ("c", 4)
    assert first.text("absent") == ""


@pytest.mark.parametrize(
    ("name", "delimiter", "between", "words"),
    [("a.tsv", None, "\t", "tabs"), ("a.txt", " ", " ", "blanks"), ("a.csv", None, ",", "commas")],
)
def test_cells_are_parted_as_the_name_or_the_caller_says(
    tmp_path: Path, name: str, delimiter: str | None, between: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(f"name{between}n\nface{between}3\n")
    (row,) = read_table(path, columns=("name", "n"), delimiter=delimiter)
    assert row.cells == {"name": "face", "n": "3"}
    path.write_text(f"name{between}n\nface{between}3{between}4\n")
    error = refused(tmp_path, lambda: read_table(path, columns=(), delimiter=delimiter), "3 cells")
    assert words in (error.hint or "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name\nface\n", ["no column n"]),
        (b"", ["no column n, name"]),
        (b"name,n\nface,1,2\n", ["line 2", "3 cells", "has 2"]),
        (b"name,n\n\xff\xfe,1\n", ["line 2", "cannot be read"]),
        (b'name,n\n"face,1\nhouse,2\n', ["line 2, column name, character 1", "no closing"]),
        (b'name,n\n"STOP" sign,1\n', ["line 2, column name, character 1", "goes on"]),
        (b"name,n,n\nface,1,2\n", ["line 1", "two columns are called n"]),
    ],
)
def test_a_faulty_table_is_refused(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    refused(tmp_path, lambda: read_table(path, columns=("name", "n")), str(path), *words)


@pytest.mark.parametrize(
    ("cell", "reason"), [("x", "whole number"), ("1.5", "whole"), ("-1", "least"), ("", "empty")]
)
def test_a_faulty_cell_is_refused(tmp_path: Path, cell: str, reason: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"name,n\nface,{cell}\n")
    (row,) = read_table(path, columns=())
    refused(tmp_path, lambda: row.integer("n", least=0), f"{path}, line 2", reason)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    refused(tmp_path, lambda: read_table(path, columns=()), str(path), "no such file")

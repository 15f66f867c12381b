"""The one reader of tables: its dialect, and where its faults are said to be."""

import csv
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.embedding.vectors import VectorTable
from app.errors import InputError
from app.tables import lines_of, read_cells, read_lines, read_table


def cells_of(path: Path, content: str, delimiter: str | None = None) -> list[list[str]]:
    path.write_text(content, encoding="utf-8", newline="")
    return [cells for _, cells in read_cells(path, delimiter)]


def fault(path: Path, content: str) -> InputError:
    with pytest.raises(InputError) as caught:
        cells_of(path, content)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_an_unclosed_quotation_mark_is_a_fault_of_its_own_line(tmp_path: Path, suffix: str) -> None:
    """Other readers put the lines up to the next mark into one caption, and say nothing."""
    path = tmp_path / f"stimuli{suffix}"
    lines = ["key,caption", "a,a dog", 'b,"a cat', "c,a bird", 'd,a "fish"', 'e,a fox"', ""]
    content = "\n".join(lines).replace(",", "\t" if suffix == ".tsv" else ",")
    loose = list(csv.reader(StringIO(content), delimiter="\t" if suffix == ".tsv" else ","))
    assert len(loose) < 6
    error = fault(path, content)
    assert error.message == (
        f"{path}, line 3, column caption, character 3: a cell that begins with a quotation mark "
        "has no closing one"
    )
    assert error.hint.endswith('write """a cat" if this is its text')


def test_text_that_begins_with_a_quoted_word_is_a_fault_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "stimuli.csv"
    error = fault(path, 'key,caption\na,a dog\nb,"STOP" sign on a road\n')
    assert error.message == (
        f"{path}, line 3, column caption, character 3: a cell that begins with a quotation mark "
        "goes on after the closing one"
    )
    remedy = '"""STOP"" sign on a road"'
    assert f"write {remedy} if" in error.hint
    ((_, cell),) = cells_of(path, f"key,caption\nb,{remedy}\n")[1:]
    assert cell == '"STOP" sign on a road'


def test_what_the_dialect_takes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert cells_of(path, '\ufeffkey,caption\r\n\r\na, "a, b" \rb,12" of "x"\nc,""\nd,""""') == [
        ["key", "caption"],
        ["a", "a, b"],
        ["b", '12" of "x"'],
        ["c", ""],
        ["d", '"'],
    ]
    # These are text, and end a line for `str.splitlines`.
    odd = "a\x0bb\x0cc\x1cd\x85e\u2028f"
    assert cells_of(path, f"key\n{odd}\n") == [["key"], [odd]]
    assert cells_of(tmp_path / "T.TSV", 'a\tb\n"x\ty"\t z\n') == [["a", "b"], ["x\ty", " z"]]
    assert cells_of(tmp_path / "t.txt", 'a b\nx "y z"\n', " ") == [["a", "b"], ["x", "y z"]]


def test_faults_name_their_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    place = f"{path}, line"
    assert fault(path, 'a,b\n"x\ny",z\n').message.startswith(f"{place} 2, column a, character 1:")
    assert fault(path, 'a,"b\nx,y\n').message.startswith(f"{place} 1, column 2, character 3:")
    assert fault(path, 'a,b\n\nx,y,"z\n').message.startswith(f"{place} 3, column 3, character 5:")
    assert fault(path, "a,b\nx\n").message == f"{place} 2: 1 cell, the header has 2"
    path.write_bytes(b"a,b\r\nx,y\r\nx,\xff\r\n")
    with pytest.raises(InputError) as caught:
        list(read_cells(path))
    assert caught.value.message == (f"{place} 3: cannot be read as text: byte 0xff is no UTF-8")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_lines(tmp_path / "none.csv")


def test_a_column_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("key,caption,caption,,\na,a dog,a cat,,\n")
    with pytest.raises(InputError, match="line 1: two columns are called caption"):
        read_table(path, columns=("key",))
    path.write_text("key,caption,,\na,a dog,,\n")
    (row,) = read_table(path, columns=("key",))
    assert row.text("caption") == "a dog"


def test_lines_end_with_the_text_or_before_it() -> None:
    assert lines_of("") == []
    assert lines_of("a\n\nb") == lines_of("a\r\rb\r") == ["a", "", "b"]


one_line = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(
    st.lists(st.tuples(one_line, one_line), min_size=1, max_size=4),
    st.sampled_from([",", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_others_write_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    delimiter: str,
    end: str,
) -> None:
    written = StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator=end).writerows(
        # A row of nothing is an empty line.
        [["key", "n", "caption"], *([f"k{first}", "1", second] for first, second in rows)]
    )
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    found = cells_of(path, written.getvalue(), delimiter)
    assert found[1:] == [[f"k{first}", "1", second] for first, second in rows]


def test_the_page_on_tables_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text("utf-8")
    example, of_vectors = (each.split("```")[0] for each in page.split("```csv\n")[1:])
    rows = cells_of(tmp_path / "t.csv", example)
    assert rows[1:] == [
        ["img1", "a dog on a sofa"],
        ["img2", "a dog, asleep"],
        ["img3", '"STOP" sign on a road'],
        ["img4", 'a 12" record'],
    ]
    words = tmp_path / "words.csv"
    words.write_text(of_vectors)
    (code,) = (each.split("```")[0] for each in page.split("```python\n")[1:])
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/tables.md", "exec"), {})  # noqa: S102 - the page's own
    table, same = VectorTable(words), VectorTable(tmp_path / "words.npz")
    assert (table.name, table.checksum) == (same.name, same.checksum)
    assert (table.dimension, table.sources) == (3, ["lab"] * 3)
    assert (table.encode_texts(["a photo of a dog"]) == table.encode_texts(["DOG"])).all()
    assert np.linalg.norm(table.vectors, axis=1) == pytest.approx(1)

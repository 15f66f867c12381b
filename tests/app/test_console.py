import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import console
from app.console import StageProgress, print_facts, print_table
from app.errors import InputError


def pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes stdout and stderr say that they are a terminal of 60 columns."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_a_piped_table_is_tab_separated(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [(1, "x\ty\n[bold]"), (0.123456, None), (True, ["p", "q"])])
    assert capsys.readouterr().out == "a\tb\n1\tx y [bold]\n0.123\t-\nyes\tp, q\n"


def test_a_table_on_a_terminal_folds_what_is_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_terminal(monkeypatch)
    words = "a label of very many words " * 5
    print_table(("number", "label"), [(1.5, words + "[red]\x1b[2Jend")])
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 60
    told = " ".join(" ".join(lines).split())
    assert "number" in told
    assert "1.500" in told
    assert "[red] [2Jend" in told
    assert "\x1b[2J" not in told


def test_facts_are_indented_by_depth(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"top_1": 0.25, "timings": {"train": 1}, "list": [{"a": 1, "b": 2}], "none": None})
    assert capsys.readouterr().out.splitlines() == [
        "top 1: 0.250",
        "timings:",
        "  train: 1",
        "list:",
        "  - a: 1",
        "    b: 2",
        "none: -",
    ]


@given(st.text(), st.text())
def test_an_error_is_one_line_whatever_it_names(message: str, hint: str) -> None:
    line = console._clean(f"error: {InputError(message, hint=hint)}")
    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_progress_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = StageProgress()
    for done in range(3):
        progress("training", done, 2, "subj01")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"training: 2 done in \d+\.\d s subj01\n", captured.err)


def test_a_stage_that_says_twice_that_it_is_done_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = StageProgress()
    for done in (1, 2, 2, 1, 2):
        progress("training", done, 2)
    assert capsys.readouterr().err.count("training: 2 done") == 2


def test_bars_stop_when_all_is_done_and_start_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_terminal(monkeypatch)
    progress = StageProgress()
    progress("training [x]", 0, 2)
    progress("training [x]", 2, 2)
    assert progress._bars is None
    progress("masking", 1, 2)
    progress.stop()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "training [x]" in captured.err
    assert "2/2" in captured.err
    assert "1/2" in captured.err

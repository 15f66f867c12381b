from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.benchmarks import __main__ as benchmarks


def told(name: str) -> SimpleNamespace:
    def measure() -> Iterator[str]:
        yield f"figures of {name}"

    return SimpleNamespace(__doc__=f"Title of {name}.\n\nMore.", measure=measure)


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: told(name) for name in ("one", "two", "three")}
    monkeypatch.setattr(benchmarks, "BENCHMARKS", found)


@pytest.mark.parametrize(
    ("named", "run"),
    [([], ["one", "two", "three"]), (["three", "one"], ["three", "one"])],
)
def test_those_named_are_run_or_all(
    named: list[str], run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    benchmarks.main(named)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Title")] == [f"Title of {x}." for x in run]
    assert [line.strip() for line in lines if "figures" in line] == [f"figures of {x}" for x in run]


def test_an_unknown_one_is_named_before_any_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmarks.main(["one", "four"])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "there is no benchmark four: name any of one, two, three" in printed.err

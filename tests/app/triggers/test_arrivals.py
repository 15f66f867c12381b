"""Tests of when a data set has arrived in a watched folder."""

import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.triggers.arrivals import Seen, arrived, states_in

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_only_what_is_marked_counts(tmp_path: Path) -> None:
    write(tmp_path / "one" / "dataset.toml")
    write(tmp_path / "two" / "_SUCCESS")
    write(tmp_path / "half" / "betas.npy")
    write(tmp_path / "deep" / "inside" / "dataset.toml")
    write(tmp_path / "dataset.toml")
    assert list(states_in(str(tmp_path))) == [f"{tmp_path}/one", f"{tmp_path}/two"]


def test_a_state_is_of_names_and_sizes_however_deep(tmp_path: Path) -> None:
    write(tmp_path / "one" / "_SUCCESS")
    write(tmp_path / "one" / "deep" / "betas.npy", "xy")
    states = [states_in(str(tmp_path))]
    assert states_in(str(tmp_path)) == states[0]
    write(tmp_path / "one" / "deep" / "betas.npy", "xyz")
    states.append(states_in(str(tmp_path)))
    write(tmp_path / "one" / "deep" / "more.npy", "")
    states.append(states_in(str(tmp_path)))
    (tmp_path / "one" / "deep" / "more.npy").rename(tmp_path / "one" / "deep" / "less.npy")
    states.append(states_in(str(tmp_path)))
    assert len({next(iter(each.values())) for each in states}) == 4


def test_a_size_or_a_time_alone_is_another_state(tmp_path: Path) -> None:
    marker, betas = tmp_path / "one" / "_SUCCESS", tmp_path / "one" / "betas.npy"
    write(marker)
    states = set()
    for text, time in (("xy", 1e9), ("xyz", 1e9), ("xyz", 2e9)):
        write(betas, text)
        os.utime(betas, (time, time))
        states.add(states_in(str(tmp_path))[f"{tmp_path}/one"])
    assert len(states) == 3


@pytest.mark.parametrize("folder", ["nothing", "a file"])
def test_what_is_no_folder_holds_nothing(tmp_path: Path, folder: str) -> None:
    write(tmp_path / "a file")
    assert states_in(str(tmp_path / folder)) == {}


def look(seen: Seen, at: int, **states: str) -> tuple[Seen, dict[str, str]]:
    return arrived(seen, states, NOW + timedelta(seconds=at), MINUTE)


def test_it_has_arrived_when_nothing_changed_for_a_while() -> None:
    seen, ready = look({}, 0, a="1")
    assert not ready
    seen, ready = look(seen, 50, a="2")
    assert not ready
    seen, ready = look(seen, 100, a="2")
    assert not ready
    seen, ready = look(seen, 110, a="2")
    assert ready == {"a": "2"}
    seen, ready = look(seen, 1000, a="2")
    assert not ready


def test_it_arrives_again_when_it_has_changed() -> None:
    seen, _ = look({}, 0, a="1")
    seen, ready = look(seen, 60, a="1")
    assert ready
    seen, ready = look(seen, 70, a="2")
    assert not ready
    seen, ready = look(seen, 130, a="2")
    assert ready == {"a": "2"}


def test_what_is_gone_is_forgotten() -> None:
    seen, _ = look({}, 0, a="1", b="1")
    seen, _ = look(seen, 10, b="1")
    assert set(seen) == {"b"}


@given(st.lists(st.tuples(st.integers(1, 100), st.sampled_from("123")), max_size=20))
def test_a_state_is_asked_for_once_while_it_lasts(looks: list[tuple[int, str]]) -> None:
    seen: Seen = {}
    at, last, asked = 0, None, []
    for step, state in looks:
        at += step
        seen, ready = look(seen, at, a=state)
        if ready:
            asked.append(state)
            assert state == last
        last = state
    assert all(one != other for one, other in pairwise(asked))

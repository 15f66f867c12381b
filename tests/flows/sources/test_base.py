import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InputError
from flows.sources import open_source
from flows.sources.base import count_repeats, path_state


@given(st.lists(st.integers(0, 5)))
def test_repeats_are_counted_as_by_hand(shown: list[int]) -> None:
    literal = [shown[:place].count(image) for place, image in enumerate(shown)]
    assert count_repeats(np.array(shown, int)).tolist() == literal


def test_state_of_a_file_changes_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a" / "betas.npy"
    path.parent.mkdir()
    path.write_bytes(b"123")
    before = path_state(path, tmp_path)
    assert before.startswith("a/betas.npy 3 ")
    os.utime(path, ns=(1, 1))
    assert path_state(path, tmp_path) != before
    with pytest.raises(InputError, match="no such file"):
        path_state(tmp_path / "absent", tmp_path)


@pytest.mark.parametrize("name", ["", "absent", "file.txt"])
def test_a_place_without_a_data_set_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(InputError, match="known layout") as error:
        open_source(tmp_path / name)
    assert "dataset.toml" in error.value.hint

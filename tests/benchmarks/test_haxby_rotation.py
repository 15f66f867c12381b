import re

import pytest

from tests.benchmarks import haxby_rotation
from tests.flows.sources.haxby import find_haxby_slice


@pytest.mark.skipif(find_haxby_slice() is None, reason="needs the slice of real data")
def test_one_held_out_run_is_told_for_both_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haxby_rotation, "RUNS", 1)
    title, decoder, ridge, versus = haxby_rotation.measure()
    assert "1 runs, each held out once; 8 blocks; chance 0.125" in title
    for line in (decoder, ridge):
        (top1,) = re.findall(r"top-1 ([\d.]+)", line)
        # Of 8 blocks 4 hits come by chance once in 80 draws.
        assert float(top1) >= 0.5
    assert re.search(r"\d gained, \d lost, McNemar p [\d.]+; difference [+-][\d.]+", versus)


def test_without_the_data_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haxby_rotation, "find_haxby_slice", lambda: None)
    assert list(haxby_rotation.measure()) == ["skipped: no haxby_slice beside the checkout"]

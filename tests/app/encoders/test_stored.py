"""Tests of loading the encoders that the catalog has vectors of."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from app.database.models import Encoder as EncoderRow
from app.embedding import Encoder, load_encoder
from app.encoders import stored
from tests.app.published import write_table

Loads = Callable[[str], EncoderRow]


@pytest.fixture
def row_of(tmp_path: Path) -> Iterator[Loads]:
    """Rows of encoders that nobody has loaded yet."""

    def make(name: str) -> EncoderRow:
        encoder = load_encoder(f"vectors:{write_table(tmp_path / name)}")
        return EncoderRow(
            name=encoder.name,
            spec=encoder.spec,
            dimension=encoder.dimension,
            checksum=encoder.checksum,
        )

    stored._load.cache_clear()
    yield make
    stored._load.cache_clear()


def test_who_asks_at_once_shares_one_loading(
    row_of: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, loads, together = row_of("words.csv"), Counter[str](), Barrier(4)
    slowly = Event()

    def load(spec: str, *, device: str) -> Encoder:
        loads[spec] += 1
        # Time for the others to come as far.
        slowly.wait(0.2)
        return load_encoder(spec, device=device)

    def ask(_: int) -> Encoder:
        together.wait(10)
        return stored.load_stored_encoder(row)

    monkeypatch.setattr(stored, "load_encoder", load)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert loads == {row.spec: 1}
    assert all(each is found[0] for each in found)


def test_one_that_loads_keeps_no_other_waiting(
    row_of: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = row_of("slow.csv"), row_of("quick.csv")
    begun, free = Event(), Event()

    def load(spec: str, *, device: str) -> Encoder:
        if spec == slow.spec:
            begun.set()
            assert free.wait(10)
        return load_encoder(spec, device=device)

    monkeypatch.setattr(stored, "load_encoder", load)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(stored.load_stored_encoder, slow)
        assert begun.wait(10)
        try:
            other = pool.submit(stored.load_stored_encoder, quick).result(10)
        finally:
            free.set()
        assert (other.spec, waiting.result(10).spec) == (quick.spec, slow.spec)


def test_a_loading_that_failed_is_tried_again(
    row_of: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = row_of("words.csv")
    with monkeypatch.context() as patch:
        patch.setattr(stored, "load_encoder", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stored.load_stored_encoder(row)
    assert stored.load_stored_encoder(row).name == row.name

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from app.errors import StorageError
from app.store import Artefact, ArtefactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(str(tmp_path / "store"))


@given(arrays(st.sampled_from([np.float32, np.float16, np.int64, np.uint8]), array_shapes()))
def test_what_is_put_comes_back(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    store = ArtefactStore(str(tmp_path_factory.mktemp("store")))
    back = store.get(store.put({"array": array, "transposed": array.T}))
    np.testing.assert_array_equal(back["array"], array)
    np.testing.assert_array_equal(back["transposed"], array.T)
    assert back["array"].dtype == array.dtype


def test_the_address_is_the_content(store: ArtefactStore) -> None:
    first = store.put({"a": np.arange(3), "b": np.ones(2)})
    assert store.put({"b": np.ones(2), "a": np.arange(3)}) == first
    assert store.put({"a": np.arange(4), "b": np.ones(2)}) != first


def test_a_changed_byte_is_noticed(store: ArtefactStore) -> None:
    artefact = store.put({"a": np.arange(100)})
    path = Path(store.url) / artefact.path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match="is damaged"):
        store.get(artefact)


def test_a_missing_file_is_one_line(store: ArtefactStore) -> None:
    nowhere = Artefact(sha256="0" * 64, size=1)
    assert not store.exists(nowhere)
    with pytest.raises(StorageError, match="a file is missing"):
        store.get(nowhere)


def test_nothing_is_left_aside(store: ArtefactStore) -> None:
    artefact = store.put({"a": np.arange(3)})
    files = [p.relative_to(store.url) for p in Path(store.url).rglob("*") if p.is_file()]
    assert files == [Path(artefact.path)]


def test_a_remote_store_is_read_and_checked() -> None:
    store = ArtefactStore("memory://store-of-a-test")
    artefact = store.put({"a": np.arange(5)})
    np.testing.assert_array_equal(ArtefactStore(store.url).get(artefact)["a"], np.arange(5))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_what_was_there(small_disk: Path) -> None:
    store = ArtefactStore(str(small_disk))
    kept = store.put({"a": np.arange(1000)})
    with pytest.raises(StorageError, match="the disk is full") as caught:
        store.put({"a": np.random.default_rng(0).random(100_000)})
    assert "\n" not in str(caught.value)
    assert "free some disk" in caught.value.hint
    assert [p for p in small_disk.rglob("*") if p.is_file()] == [small_disk / kept.path]
    np.testing.assert_array_equal(store.get(kept)["a"], np.arange(1000))


def test_a_file_of_another_store_is_taken_by_its_address(tmp_path: Path) -> None:
    one, other = ArtefactStore(str(tmp_path / "one")), ArtefactStore(str(tmp_path / "other"))
    artefact = one.put({"a": np.arange(3)})
    with one.stream(artefact) as (file, size):
        assert size == artefact.size
        other.put_file(file, artefact)
    np.testing.assert_array_equal(other.get(artefact)["a"], np.arange(3))
    lost = Artefact(sha256="0" * 64, size=artefact.size)
    with one.stream(artefact) as (file, _), pytest.raises(StorageError, match="is damaged"):
        other.put_file(file, lost)
    assert not other.exists(lost)
    assert len([each for each in (tmp_path / "other").rglob("*") if each.is_file()]) == 1
    with pytest.raises(StorageError, match="a file is missing"), one.stream(lost):
        pass

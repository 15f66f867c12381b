"""Checksums of arrays: what changes them and what does not."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from app.embedding.checksum import arrays_checksum, file_checksum

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(1.5)}


def test_order_and_memory_layout_change_nothing() -> None:
    turned = {"b": ARRAYS["b"].copy(), "a": np.asfortranarray(ARRAYS["a"])}
    assert arrays_checksum(turned) == arrays_checksum(ARRAYS)
    assert len(arrays_checksum(ARRAYS)) == 64


@pytest.mark.parametrize(
    "other",
    [
        {"b": ARRAYS["b"]},
        {"c": ARRAYS["a"], "b": ARRAYS["b"]},
        {"a": ARRAYS["a"].reshape(3, 2), "b": ARRAYS["b"]},
        {"a": ARRAYS["a"].view(np.int32), "b": ARRAYS["b"]},
        {"a": ARRAYS["a"] + np.eye(2, 3, dtype=np.float32) * 1e-6, "b": ARRAYS["b"]},
        {"a": ARRAYS["a"], "b": ARRAYS["b"].reshape(1)},
    ],
)
def test_names_types_shapes_and_values_change_it(other: dict[str, np.ndarray]) -> None:
    assert arrays_checksum(other) != arrays_checksum(ARRAYS)


def test_a_file_is_hashed_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_checksum(tmp_path / "file") == hashlib.sha256(content).hexdigest()

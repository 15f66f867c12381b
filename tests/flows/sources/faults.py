"""What every refusal of bad input must be: one clear line with a hint, and nothing changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import InputError


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(folder: Path, action: Callable[[], object], *words: str) -> InputError:
    """Assert that `action` is refused in one line that has all `words`, and leaves `folder` be."""
    before = snapshot(folder)
    with pytest.raises(InputError) as caught:
        action()
    error = caught.value
    for word in words:
        assert word in error.message, error.message
    assert "\n" not in str(error)
    assert error.hint
    assert snapshot(folder) == before
    return error

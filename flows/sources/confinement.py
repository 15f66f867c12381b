"""Where files may lie that a source names: anywhere, unless whoever asked is confined."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from app.errors import InputError

_roots: ContextVar[tuple[Path, ...] | None] = ContextVar("roots", default=None)


@contextmanager
def reading_within(roots: Sequence[Path]) -> Iterator[None]:
    """Refuse paths that lead out of these folders, while the block runs."""
    token = _roots.set(tuple(root.expanduser().resolve() for root in roots))
    try:
        yield
    finally:
        _roots.reset(token)


def is_confined() -> bool:
    """Whether reading is confined."""
    return _roots.get() is not None


def confined(path: Path) -> None:
    """Refuse a path that may not be read.

    Raises
    ------
    InputError
        It leads out of the folders that reading is confined to, links followed.
    """
    roots = _roots.get()
    if roots is not None and not any(path.resolve().is_relative_to(root) for root in roots):
        raise InputError(
            f"{path} lies outside the folders that requests may read",
            hint="move it below one of the setting SDC_INGEST_ROOTS",
        )

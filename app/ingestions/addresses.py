"""Where sources lie: paths and URLs, and whether these lie below others."""

from collections.abc import Sequence
from pathlib import Path

from app.urls import require_no_login


def is_url(source: str) -> bool:
    """Whether a source is named by a URL, and not by a path."""
    return "://" in source


def whole(source: str) -> str:
    """A path in full, links followed, so that others can open it; a URL as it is.

    Raises
    ------
    InputError
        It is a URL with a user or a password in it.
    """
    require_no_login(source)
    return source if is_url(source) else str(Path(source).expanduser().resolve())


def below(source: str, roots: Sequence[Path]) -> str | None:
    """A full path with its links followed, where it lies in one of some folders; else None."""
    path = Path(source)
    try:
        resolved = path.resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    if path.is_absolute() and any(resolved.is_relative_to(root) for root in roots):
        return str(resolved)
    return None


def is_below_url(source: str, root: str) -> bool:
    """Whether a URL lies below another, as both are written."""
    parts = source.rstrip("/").split("/")
    # What a server or fsspec itself would read as something else.
    plain = not {".", ".."}.intersection(parts) and "%" not in source and "::" not in source
    return plain and f"{source.rstrip('/')}/".startswith(f"{root.rstrip('/')}/")

"""Which request, or which run, the code is at work for: logs and traces name it."""

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"

_bound: ContextVar[dict[str, str] | None] = ContextVar("bound", default=None)

_TOLD = re.compile(r"[A-Za-z0-9._-]{1,64}")


def bind(**fields: str) -> None:
    """Name what this context works for from now on, such as ``request_id`` or ``dataset``.

    Requests and flows have contexts of their own, so that nothing has to be taken back.
    """
    _bound.set(bound() | fields)


def bound() -> dict[str, str]:
    """What this context works for."""
    return _bound.get() or {}


def request_id(told: str) -> str:
    """What a caller calls its request where a log can hold that, else a new name."""
    return told if _TOLD.fullmatch(told) else uuid.uuid4().hex

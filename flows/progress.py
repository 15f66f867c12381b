"""How far the work is: stages report here, and whoever listens shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int, str], None]

# Of a context, not of the process: a process that runs several tasks tells each one's listeners
# of that task alone.
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


def report(stage: str, done: int, total: int, detail: str = "") -> None:
    """Tell all listeners that `done` of `total` steps of a stage are done."""
    for listener in _listeners.get():
        listener(stage, done, total, detail)


def steps_of(stage: str) -> Callable[..., None]:
    """A callback ``(done, total, …)`` that reports for one stage, as `flows.science` calls it."""

    def callback(done: int, total: int, *_: object) -> None:
        report(stage, done, total)

    return callback


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hand every report to a listener while the block runs."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)

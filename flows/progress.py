"""How far the work is: stages report here, and whoever listens shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int, str], None]

_listeners: list[Listener] = []


def report(stage: str, done: int, total: int, detail: str = "") -> None:
    """Tell all listeners that `done` of `total` steps of a stage are done."""
    for listener in _listeners:
        listener(stage, done, total, detail)


def steps_of(stage: str) -> Callable[..., None]:
    """A callback ``(done, total, …)`` that reports for one stage, as `flows.science` calls it."""

    def callback(done: int, total: int, *_: object) -> None:
        report(stage, done, total)

    return callback


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hand every report to a listener while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)

"""Memory of uploads in work: one budget for all of a process, asked before anything is decoded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import BusyError, TooLargeError
from app.settings import get_settings

# What an upload takes apart from its pixels or voxels: answers, surrogates, the encoder's batch.
LEAST = 50_000_000
_WAIT_S = 5

_lock = threading.Lock()
_taken = 0


class UploadWork:
    """What one upload has taken of the budget."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, size: int, name: str) -> None:
        """Take memory before it is used; it is given back where the work ends.

        Parameters
        ----------
        size : int
            Bytes; to the first of an upload `LEAST` is added.
        name : str
            What needs them, for errors.

        Raises
        ------
        TooLargeError
            All memory of the setting ``upload_memory_mb`` would not do.
        BusyError
            Others have too much of it now.
        """
        global _taken
        # Taken apart, many that wait for the rest could keep each other from it.
        size += 0 if self.taken else LEAST
        most = int(get_settings().upload_memory_mb * 1e6)
        if self.taken + size > most:
            raise TooLargeError(
                f"{name} takes {(self.taken + size) / 1e6:,.0f} MB of memory, more than"
                f" {most / 1e6:,g}, the setting SDC_UPLOAD_MEMORY_MB",
                hint="send a smaller one, or raise SDC_UPLOAD_MEMORY_MB",
            )
        with _lock:
            if _taken + size > most:
                raise BusyError(
                    f"other uploads are in work, and {name} does not fit beside them",
                    hint=f"send it again in {_WAIT_S} s",
                    retry_after_s=_WAIT_S,
                )
            _taken += size
            self.taken += size


@contextmanager
def upload_work() -> Iterator[UploadWork]:
    """Work on an upload; what it took of the budget is given back at the end."""
    global _taken
    work = UploadWork()
    try:
        yield work
    finally:
        with _lock:
            _taken -= work.taken

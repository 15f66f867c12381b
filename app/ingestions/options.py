"""What an ingestion and a run can be told, as whoever works on them checks it."""

from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from app.errors import UnavailableError

PLUGINS = "sdc.ingestion"

Json = dict[str, Any]
Check = Callable[[Json, Json], None]


def check_options(options: Json, run_options: Json) -> None:
    """Refuse settings that the flows would refuse.

    Raises
    ------
    InputError
        A name or value is none that an ingestion or a run knows.
    UnavailableError
        The flows are not installed.
    """
    load_checks()(options, run_options)


@lru_cache(maxsize=1)
def load_checks() -> Check:
    """The flows' own check, found as an entry point; a server loads it before it is asked."""
    for point in entry_points(group=PLUGINS, name="check"):
        check: Check = point.load()
        return check
    raise UnavailableError(
        "nothing is installed that could ingest", hint="install the package again"
    )

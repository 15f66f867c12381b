"""What ingestions that are asked for may be told; the API finds this as an entry point."""

from typing import Any

from flows.config import IngestConfig, RunConfig, checked

Json = dict[str, Any]


def check_options(options: Json, run_options: Json) -> None:
    """Refuse settings that the flows would refuse.

    Raises
    ------
    InputError
        A name or value is none that `IngestConfig` or `RunConfig` knows.
    """
    checked(IngestConfig, options, "options")
    checked(RunConfig, run_options, "run_options")

"""Intervals as people write them."""

from app.errors import InputError

UNITS = {"m": 60, "h": 3600, "d": 86_400}
LONGEST_S = 366 * 86_400


def seconds_of(interval: str) -> int:
    """Seconds of an interval such as ``30m``, ``6h`` or ``1d``.

    Raises
    ------
    InputError
        It is none.
    """
    number, unit = interval[:-1], interval[-1:]
    written = number.isascii() and number.isdigit() and len(number) < 9 and unit in UNITS
    seconds = int(number) * UNITS[unit] if written else 0
    if not 0 < seconds <= LONGEST_S:
        raise InputError(
            f"{interval!r} is no interval",
            hint="write 30m, 6h or 1d, or a cron line of five fields",
        )
    return seconds

"""When a schedule is due next."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from app.errors import InputError


def next_time(cron: str | None, every_s: int | None, timezone: str, after: datetime) -> datetime:
    """The first time of a rhythm after another time.

    Parameters
    ----------
    cron : str, optional
        Five fields: minute, hour, day of the month, month, weekday.
    every_s : int, optional
        Seconds, where there is no `cron`.
    timezone : str
        Name of the zone whose clock `cron` means.
    after : datetime

    Raises
    ------
    InputError
        `cron` is none, never comes true, or the zone is unknown.
    """
    if cron is None:
        return after + timedelta(seconds=every_s or 0)
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"{timezone!r} is no time zone", hint="give one such as Europe/Berlin, or UTC"
        ) from error
    try:
        return next(CronSim(cron, after.astimezone(zone))).astimezone(UTC)
    except (CronSimError, StopIteration) as error:
        raise InputError(
            f"{cron!r} is no time of a schedule{f': {error}' if str(error) else ''}",
            hint="give minute, hour, day, month and weekday, such as '0 3 * * *'",
        ) from error

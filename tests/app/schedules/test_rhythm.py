"""Tests of when schedules are due."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InputError
from app.schedules.rhythm import next_time

NOW = datetime(2026, 3, 28, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("0 3 * * *", "UTC", datetime(2026, 3, 29, 3, tzinfo=UTC)),
        ("*/20 * * * *", "UTC", datetime(2026, 3, 28, 12, 40, tzinfo=UTC)),
        ("0 9 * * 1", "UTC", datetime(2026, 3, 30, 9, tzinfo=UTC)),
        # The night in which clocks there go forward: what falls into the gap comes after it.
        ("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("0 12 * * *", "Europe/Berlin", datetime(2026, 3, 29, 10, tzinfo=UTC)),
    ],
)
def test_cron_is_read_on_the_clock_of_its_zone(cron: str, zone: str, expected: datetime) -> None:
    assert next_time(cron, None, zone, NOW) == expected


def test_an_interval_is_counted_from_now() -> None:
    assert (next_time(None, 3600, "UTC", NOW) - NOW).total_seconds() == 3600


@pytest.mark.parametrize(
    "cron",
    ["", "daily", "60 * * * *", "* * * *", "* * 30 2 *", "* * * * * * *", "0 3 * * mon-xyz"],
)
def test_a_line_that_is_no_cron(cron: str) -> None:
    with pytest.raises(InputError) as caught:
        next_time(cron, None, "UTC", NOW)
    assert caught.value.message.startswith(f"{cron!r} is no time of a schedule")
    assert "minute, hour, day, month and weekday" in caught.value.hint


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "a\x00"])
def test_a_zone_that_is_none(zone: str) -> None:
    with pytest.raises(InputError) as caught:
        next_time("0 3 * * *", None, zone, NOW)
    assert caught.value.message == f"{zone!r} is no time zone"


@given(st.text(alphabet="0123456789*/-, LW#mon", max_size=30))
def test_any_line_is_a_later_time_or_refused(cron: str) -> None:
    try:
        found = next_time(cron, None, "UTC", NOW)
    except InputError:
        return
    assert found > NOW

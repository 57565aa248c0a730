"""When a cron line is due, also on the days clocks change."""

from datetime import UTC, datetime, timedelta

import pytest

from guardian import cron
from guardian.errors import Invalid


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(line, zone, start, count):
    found = [at(start)]
    for _ in range(count):
        found.append(cron.next_after(line, zone, found[-1]))
    return [f"{time:%m-%d %H:%M}" for time in found[1:]]


@pytest.mark.parametrize(
    ("line", "zone", "start", "expected"),
    [
        ("0 */6 * * *", "UTC", "2026-01-01T00:00", ["01-01 06:00", "01-01 12:00", "01-01 18:00"]),
        ("30 8 * * mon", "Europe/Berlin", "2026-01-01T00:00", ["01-05 07:30", "01-12 07:30"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["02-29 00:00"]),
        # 29 March 2026: in Berlin there is no 02:30; it comes at 03:30 summer time.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-27T12:00",
            ["03-28 01:30", "03-29 01:30", "03-30 00:30"],
        ),
        # Two lines of one clock that fall together come once.
        ("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29 01:30", "03-30 00:30"]),
        # 25 October 2026: 02:30 comes twice, at 00:30 and 01:30 UTC; the first counts.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30"]),
        # Every half hour goes on through both.
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00",
            ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"],
        ),
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:30", ["03-29 01:00", "03-29 01:30"]),
        # A zone whose clock changes by half an hour.
        ("15 * * * *", "Australia/Lord_Howe", "2026-04-04T13:30", ["04-04 14:15", "04-04 15:45"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00", ["10-03 15:45", "10-04 15:15"]),
    ],
)
def test_comes_once_whatever_the_clocks_do(line, zone, start, expected):
    assert times(line, zone, start, len(expected)) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "61 * * * *",
        "a b c d e",
        "0 0 31 2 *",
        "0 0 1 1 * 2030",
    ],
)
def test_refuses_what_is_no_line_of_five_fields_that_comes(line):
    with pytest.raises(Invalid) as refused:
        cron.check(line, "UTC")

    assert refused.value.data["errors"][0]["path"] == "cron"


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "UTC\0"])
def test_refuses_what_is_no_zone(zone):
    with pytest.raises(Invalid) as refused:
        cron.check("* * * * *", zone)

    assert refused.value.data["errors"][0]["path"] == "timezone"


@pytest.mark.parametrize("line", ["R R * * *", "R(0-10) * * * *", "0 h * * *"])
def test_a_time_left_to_chance_is_no_time(line):
    with pytest.raises(Invalid):
        cron.check(line, "UTC")


@pytest.mark.parametrize("days", [1, 30])
def test_of_a_long_pause_the_newest_times_are_found(days):
    until = at("2026-11-22T00:00")

    found = cron.newest_due("* * * * *", "UTC", until - timedelta(days=days), until, most=100)

    assert found == [until - timedelta(minutes=n) for n in reversed(range(100))]


def test_of_a_short_pause_all_times_are_found_and_none_before_it():
    first, until = at("2026-11-01T06:00"), at("2026-11-22T00:00")

    found = cron.newest_due("0 6 * * *", "UTC", first, until, most=100)

    assert (found[0], len(found)) == (first, 21)

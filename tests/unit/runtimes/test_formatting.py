"""The text of times, sizes and ids that operators read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from runtimes.formatting import (
    format_duration,
    format_memory,
    format_time,
    from_unix_ms,
    short_image_id,
    single_line,
    to_rfc3339,
    to_unix,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (48 * 3600, "2 days")],
)
def test_a_duration_has_one_unit(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOW - timedelta(minutes=4), "11:56:00 UTC (4 min ago)"),
        (NOW + timedelta(seconds=20), "12:00:20 UTC (in 20 s)"),
        (NOW + timedelta(milliseconds=400), "12:00:00 UTC (0 s ago)"),
        (NOW - timedelta(days=1), "2026-02-28 12:00:00 UTC (24 h ago)"),
    ],
)
def test_a_time_has_its_age_and_another_day_has_its_date(at: datetime, text: str) -> None:
    assert format_time(at, now=NOW) == text


def test_a_time_on_the_wire_is_rfc_3339_in_utc() -> None:
    in_berlin = NOW.replace(microsecond=125_000).astimezone(timezone(timedelta(hours=1)))
    assert to_rfc3339(in_berlin) == "2026-03-01T12:00:00.125000Z"
    assert to_rfc3339(in_berlin, timespec="milliseconds") == "2026-03-01T12:00:00.125Z"


def test_unix_milliseconds_of_a_distant_time_are_exact() -> None:
    at = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert from_unix_ms(to_unix(at, timedelta(milliseconds=1))) == at


@pytest.mark.parametrize(("size", "text"), [(1000, "1000 bytes"), (1024**2, "1 MiB"), (64 * 1024**2, "64 MiB")])
def test_memory_is_shown_in_mebibytes(size: int, text: str) -> None:
    assert format_memory(size) == text


def test_a_short_image_id_keeps_the_name_of_its_hash() -> None:
    assert short_image_id("sha256:" + "ab" * 32) == "sha256:abababababab"


def test_a_message_becomes_one_line_without_a_full_stop() -> None:
    assert single_line("one\n two. ") == "one two"
    assert single_line("x" * 9, longest=3) == "xxx…"

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.formatting import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("90d", timedelta(days=90)),
        ("0s", timedelta()),
        ("1.5h", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1m500ms", timedelta(seconds=60, milliseconds=500)),
        (" 2s ", timedelta(seconds=2)),
    ],
)
def test_a_number_with_a_unit_is_a_duration(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "30", "s", "-1s", "+1s", "1 s", "1w", "1S", "1s2", "1,5s", ".5s", "5.s", "1e3s", "30s;", "∞s", "soon"],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration; write for example 500ms, 30s, 5m, 1h") as refused:
        parse_duration(text)

    assert repr(text) in str(refused.value)


@given(st.integers(0, 10_000_000), st.sampled_from(["ms", "s", "m", "h"]))
def test_units_are_what_they_say(amount: int, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]

    assert parse_duration(f"{amount}{unit}").total_seconds() == pytest.approx(amount * seconds)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        parsed = parse_duration(text)
    except ValueError:
        return
    assert parsed >= timedelta()


@pytest.mark.parametrize("text", ["9999999999d", "9" * 400 + "s"])
def test_a_duration_longer_than_time_is_a_value_error_too(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)

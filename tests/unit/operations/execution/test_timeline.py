from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operations.execution.attempt import MAX_STEPS, Timeline


def record(timeline: Timeline, *names: str) -> None:
    for name in names:
        with timeline.step(name):
            pass


def names(timeline: Timeline) -> list[str]:
    return [step["name"] for step in timeline.steps]


def test_steps_are_recorded_in_order_with_when_and_how_long() -> None:
    before = datetime.now(UTC)
    timeline = Timeline([])

    record(timeline, "look", "create")

    assert names(timeline) == ["look", "create"]
    for step in timeline.steps:
        assert set(step) == {"name", "started_at", "duration_ms", "error"}
        assert step["started_at"].endswith("Z")
        began = datetime.fromisoformat(step["started_at"])
        assert before - timedelta(milliseconds=1) <= began <= datetime.now(UTC)
        assert isinstance(step["duration_ms"], int)
        assert step["error"] == ""


def test_a_running_step_can_be_seen_before_it_ends() -> None:
    timeline = Timeline([])

    with timeline.step("pull"):
        assert (timeline.steps[0]["name"], timeline.steps[0]["duration_ms"]) == ("pull", None)

    assert timeline.steps[0]["duration_ms"] >= 0


def test_a_failed_step_keeps_the_error_and_lets_it_go_on() -> None:
    timeline = Timeline([])

    with pytest.raises(LookupError, match="no such image"), timeline.step("pull"):
        raise LookupError("no such image")

    assert timeline.steps[0]["error"] == "no such image"
    assert timeline.steps[0]["duration_ms"] is not None


def test_a_step_inside_a_step_follows_it() -> None:
    timeline = Timeline([])

    with timeline.step("outer"):
        record(timeline, "inner")

    assert names(timeline) == ["outer", "inner"]


def test_steps_of_earlier_attempts_stay_in_front() -> None:
    first = Timeline([])
    record(first, "first attempt")

    second = Timeline(first.steps)
    record(second, "second attempt")

    assert names(second) == ["first attempt", "second attempt"]
    assert names(first) == ["first attempt"]


def test_of_a_long_history_the_newest_steps_are_kept() -> None:
    timeline = Timeline([])

    record(timeline, *(str(number) for number in range(MAX_STEPS + 7)))

    assert names(timeline) == [str(number) for number in range(7, MAX_STEPS + 7)]


def test_what_was_once_begun_is_known_however_often_other_steps_follow() -> None:
    timeline = Timeline([])

    record(timeline, "stop", *["observe"] * 3 * MAX_STEPS)

    assert timeline.has("stop")
    assert len(timeline.steps) == MAX_STEPS


def test_a_step_that_fell_out_of_a_long_history_still_ends() -> None:
    timeline = Timeline([])

    with timeline.step("oldest"):
        record(timeline, *(str(number) for number in range(MAX_STEPS)))

    assert "oldest" not in names(timeline)


def test_the_stored_steps_of_an_operation_are_not_changed_behind_its_back() -> None:
    stored: list[dict[str, Any]] = []

    record(Timeline(stored), "look")

    assert stored == []

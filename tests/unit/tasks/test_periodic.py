"""When a periodic task is due: the same times for every leader, and not all tasks at once."""

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from tasks.loops.scheduler import ScheduledTask

HOURLY = {"task": "rtmanager.hourly", "every_seconds": 3600.0, "expires_seconds": 3240.0, "queue": "periodic"}

times = st.floats(min_value=1.7e9, max_value=2.5e9)


@given(times, st.floats(min_value=1.0, max_value=86400.0))
def test_the_next_tick_comes_after_the_seconds_left(at: float, every_seconds: float) -> None:
    one = ScheduledTask.read({**HOURLY, "every_seconds": every_seconds})

    left = one.seconds_left(at)

    # To the microsecond: so much is lost when a time of today is divided.
    assert 0 < left <= every_seconds
    assert one.tick(at + left + 1e-5) == one.tick(at) + 1
    assert one.tick(at + left / 2 - 1e-5) in {one.tick(at), one.tick(at - 1e-5)}


def test_an_hour_has_one_turn_of_what_is_done_hourly() -> None:
    one = ScheduledTask.read(HOURLY)

    ticks = [one.tick(1.8e9 + minute * 60) for minute in range(61)]

    assert ticks[-1] == ticks[0] + 1


def test_tasks_of_the_same_interval_have_times_of_their_own() -> None:
    scheduled = [ScheduledTask.read(entry) for entry in settings.RTM_SCHEDULE.values()]
    hourly = [one.seconds_left(1.8e9) for one in scheduled if one.every_seconds == 3600]

    assert len(hourly) > 2
    assert len({round(left) for left in hourly}) == len(hourly)


@pytest.mark.parametrize("name", settings.RTM_SCHEDULE)
def test_every_entry_of_the_schedule_can_be_read_and_expires_before_its_next_tick(name: str) -> None:
    one = ScheduledTask.read(settings.RTM_SCHEDULE[name])

    assert 0 < one.expires_seconds < one.every_seconds


def test_a_zero_interval_does_not_make_the_scheduler_spin() -> None:
    assert ScheduledTask.read({**HOURLY, "every_seconds": 0.0}).every_seconds == 0.1

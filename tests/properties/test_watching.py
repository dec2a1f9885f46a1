"""Properties of what the watcher remembers and of the timeline of an operation."""

from hypothesis import strategies as st

from operations.runner import backoff_seconds
from operations.timeline import MAX_STEPS, Timeline
from runtimes.containers.base import ContainerEvent, EventAction
from tasks.watcher import Cursor, Retries
from tests.properties.cases import holds_for

SECOND_NS = 10**9
moments = st.lists(st.integers(0, 40), max_size=8)


@holds_for(moments, st.integers(0, 8), cases=3_000)
def test_an_event_that_is_told_again_is_heard_once(seconds: list[int], cut: int) -> None:
    told = [ContainerEvent(f"c{number}", "g1", EventAction.DIE, at * SECOND_NS) for number, at in enumerate(seconds)]
    told.sort(key=lambda one: one.time_ns)
    cursor = Cursor(0)
    heard = cursor.fresh(told[:cut])

    again = [one for one in told if one.time_ns >= cursor.since_ns]

    assert heard + cursor.fresh(again) == told
    assert cursor.fresh([one for one in told if one.time_ns >= cursor.since_ns]) == []


@holds_for(st.lists(st.integers(0, 7), max_size=8), cases=3_000)
def test_a_busy_game_is_asked_about_again_until_it_is_judged(answers: list[int]) -> None:
    retries, busy = Retries(), set[str]()
    for now, answer in enumerate(answers):
        busy = {f"g{place}" for place in range(3) if answer >> place & 1}
        retries.settle(None, busy, now=float(now))

    assert retries.due(len(answers) + 10.0) == busy


@holds_for(st.integers(0, 10**6), cases=2_000)
def test_a_backoff_is_never_longer_than_half_a_minute(deferrals: int) -> None:
    assert 0.375 <= backoff_seconds(deferrals) <= 30


@holds_for(st.lists(st.sampled_from(["observe", "stop", "remove", "create"]), max_size=8), cases=2_000)
def test_a_step_that_was_begun_is_on_the_timeline(names: list[str]) -> None:
    timeline = Timeline([])
    for name in names:
        with timeline.step(name):
            pass

    assert [step["name"] for step in timeline.steps] == names
    assert {name for name in ("observe", "stop", "revert") if timeline.has(name)} == set(names) & {"observe", "stop"}
    assert len(timeline.steps) <= MAX_STEPS

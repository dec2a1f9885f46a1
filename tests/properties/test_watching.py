"""Properties of the state of the watcher and of the timeline of an operation."""

from hypothesis import strategies as st

from operations.execution.attempt import MAX_STEPS, Timeline
from operations.runner import backoff_seconds
from runtimes.containers.base import ContainerEvent, EventAction
from tasks.loops.container_events import Cursor, Retries
from tests.properties.cases import holds_for

SECOND_NS = 10**9
moments = st.lists(st.integers(0, 40), max_size=8)


@holds_for(moments, st.integers(0, 8), cases=3_000)
def test_a_repeated_event_is_new_once(seconds: list[int], cut: int) -> None:
    received = [ContainerEvent(f"c{index}", "g1", EventAction.DIE, at * SECOND_NS) for index, at in enumerate(seconds)]
    received.sort(key=lambda event: event.time_ns)
    cursor = Cursor(0)
    first = cursor.new_events(received[:cut])

    repeated = [event for event in received if event.time_ns >= cursor.since_ns]

    assert first + cursor.new_events(repeated) == received
    assert cursor.new_events([event for event in received if event.time_ns >= cursor.since_ns]) == []


@holds_for(st.lists(st.integers(0, 7), max_size=8), cases=3_000)
def test_a_busy_game_is_checked_again_until_it_is_not_busy(results: list[int]) -> None:
    retries, busy = Retries(), set[str]()
    for now, result in enumerate(results):
        busy = {f"g{number}" for number in range(3) if result >> number & 1}
        retries.resolve(None, busy, now=float(now))

    assert retries.due(len(results) + 10.0) == busy


@holds_for(st.integers(0, 10**6), cases=2_000)
def test_a_backoff_is_never_longer_than_half_a_minute(retries: int) -> None:
    assert 0.375 <= backoff_seconds(retries) <= 30


@holds_for(st.lists(st.sampled_from(["observe", "stop", "remove", "create"]), max_size=8), cases=2_000)
def test_a_started_step_is_on_the_timeline(names: list[str]) -> None:
    timeline = Timeline([])
    for name in names:
        with timeline.step(name):
            pass

    assert [step["name"] for step in timeline.steps] == names
    assert {name for name in ("observe", "stop", "revert") if timeline.has(name)} == set(names) & {"observe", "stop"}
    assert len(timeline.steps) <= MAX_STEPS

"""The state of the watcher: repeated events, and games to check again."""

from hypothesis import given
from hypothesis import strategies as st

from runtimes.containers.base import ContainerEvent, EventAction
from tasks.loops.container_events import Cursor, Retries

SECOND_NS = 10**9


def event(at_ns: int, container_id: str = "c", action: EventAction = EventAction.DIE) -> ContainerEvent:
    return ContainerEvent(container_id, "g1", action, at_ns)


events = st.builds(
    event,
    st.integers(0, 20 * SECOND_NS),
    st.sampled_from(["a", "b"]),
    st.sampled_from([EventAction.DIE, EventAction.DESTROY]),
)


@given(st.lists(events, unique=True), st.integers(0, 30))
def test_events_that_a_new_subscription_repeats_are_not_new(received: list[ContainerEvent], cut: int) -> None:
    received.sort(key=lambda event: event.time_ns)
    cursor = Cursor(0)
    first = cursor.new_events(received[:cut])

    repeated = [event for event in received if event.time_ns >= cursor.since_ns]

    assert first + cursor.new_events(repeated) == received


def test_several_events_may_have_the_same_time() -> None:
    together = [event(5), event(5, "other"), event(5, action=EventAction.OOM)]

    assert Cursor(0).new_events([*together, *together]) == together


def test_a_subscription_starts_before_the_last_known_event() -> None:
    cursor = Cursor(100 * SECOND_NS)
    before = cursor.since_ns
    cursor.new_events([event(200 * SECOND_NS)])

    assert before == 95 * SECOND_NS
    assert cursor.since_ns == 195 * SECOND_NS


def test_a_busy_game_is_checked_after_growing_pauses_and_then_no_more() -> None:
    retries, now, pauses = Retries(), 0.0, []
    retries.resolve({"g1"}, {"g1"}, now=now)

    while (pause := retries.seconds_to_next(now)) != float("inf"):
        now += pause
        pauses.append(pause)
        assert retries.due(now) == {"g1"}
        retries.resolve({"g1"}, {"g1"}, now=now)

    assert [round(pause, 3) for pause in pauses[:6]] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert 110 < now < 125


def test_a_game_that_is_not_busy_is_not_checked_again() -> None:
    retries = Retries()
    retries.resolve({"g1", "g2"}, {"g1", "g2"}, now=0.0)

    retries.resolve({"g1"}, set(), now=1.0)

    assert retries.due(1.0) == {"g2"}


def test_a_check_of_all_games_resolves_all_retries() -> None:
    retries = Retries()
    retries.resolve({"g1", "g2"}, {"g1", "g2"}, now=0.0)

    retries.resolve(None, {"g3"}, now=1.0)

    assert retries.due(9.0) == {"g3"}


def test_a_new_event_restarts_the_retries_of_a_game() -> None:
    retries = Retries()
    for second in range(5):
        retries.resolve({"g1"}, {"g1"}, now=float(second))

    retries.reset({"g1", "g2"})
    retries.resolve({"g1"}, {"g1"}, now=5.0)

    assert retries.due(5.11) == {"g1"}

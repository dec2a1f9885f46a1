"""What the watcher remembers: events told twice, and games to be asked about again."""

from hypothesis import given
from hypothesis import strategies as st

from runtimes.containers.base import ContainerEvent, EventAction
from tasks.watcher import Cursor, Retries

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
def test_what_a_new_subscription_tells_again_is_not_fresh(told: list[ContainerEvent], cut: int) -> None:
    told.sort(key=lambda one: one.time_ns)
    cursor = Cursor(0)
    heard = cursor.fresh(told[:cut])

    again = [one for one in told if one.time_ns >= cursor.since_ns]

    assert heard + cursor.fresh(again) == told


def test_one_moment_may_hold_several_events() -> None:
    together = [event(5), event(5, "other"), event(5, action=EventAction.OOM)]

    assert Cursor(0).fresh([*together, *together]) == together


def test_a_subscription_begins_a_little_before_what_is_known() -> None:
    cursor = Cursor(100 * SECOND_NS)
    before = cursor.since_ns
    cursor.fresh([event(200 * SECOND_NS)])

    assert before == 95 * SECOND_NS
    assert cursor.since_ns == 195 * SECOND_NS


def test_a_busy_game_is_asked_about_less_and_less_often_and_then_no_more() -> None:
    retries, now, asked = Retries(), 0.0, []
    retries.settle({"g1"}, {"g1"}, now=now)

    while (pause := retries.seconds_to_next(now)) != float("inf"):
        now += pause
        asked.append(pause)
        assert retries.due(now) == {"g1"}
        retries.settle({"g1"}, {"g1"}, now=now)

    assert [round(pause, 3) for pause in asked[:6]] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert 110 < now < 125


def test_a_game_that_was_judged_is_not_asked_about_again() -> None:
    retries = Retries()
    retries.settle({"g1", "g2"}, {"g1", "g2"}, now=0.0)

    retries.settle({"g1"}, set(), now=1.0)

    assert retries.due(1.0) == {"g2"}


def test_a_look_at_everything_settles_everything() -> None:
    retries = Retries()
    retries.settle({"g1", "g2"}, {"g1", "g2"}, now=0.0)

    retries.settle(None, {"g3"}, now=1.0)

    assert retries.due(9.0) == {"g3"}


def test_news_of_a_game_begin_its_asking_anew() -> None:
    retries = Retries()
    for second in range(5):
        retries.settle({"g1"}, {"g1"}, now=float(second))

    retries.begin_anew({"g1", "g2"})
    retries.settle({"g1"}, {"g1"}, now=5.0)

    assert retries.due(5.11) == {"g1"}

"""The exits that Docker's events report: the time of each, and how long it is offered."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from operations.health.exits import ContainerExit
from runtimes.containers.base import Container, ContainerEvent, ContainerState, EventAction
from tasks.loops.container_events import ContainerExits

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def event(at: datetime, exit_code: int | None = 3, action: EventAction = EventAction.DIE) -> ContainerEvent:
    return ContainerEvent("c1", "g1", action, int(at.timestamp()) * 10**9 + at.microsecond * 1000, exit_code)


def alive(finished_at: datetime | None) -> dict[str, Container | None]:
    return {"c1": Container("c1", "galaxy-game-g1", ContainerState.RUNNING, finished_at=finished_at)}


class Collector:
    def __init__(self) -> None:
        self.exits = ContainerExits()
        self.reported: list[ContainerExit] = []

    def record(self, *events: ContainerEvent, finished_at: datetime | None = None, oom: bool = False) -> None:
        out_of_memory = ["c1"] if oom else []
        self.exits.record(events, containers=alive(finished_at), out_of_memory=out_of_memory, now=0.0)

    def report(self, container_exit: ContainerExit) -> bool:
        self.reported.append(container_exit)
        return True

    def times(self) -> list[datetime]:
        self.exits.report_due(self.report, now=0.0)
        return [container_exit.ended_at for container_exit in self.reported]


def test_an_exit_has_the_time_that_the_inspection_shows() -> None:
    collector = Collector()
    collector.record(event(NOON), finished_at=NOON - 7 * MS)

    assert collector.times() == [NOON - 7 * MS]


def test_an_exit_that_another_one_followed_has_the_time_of_its_event() -> None:
    collector = Collector()
    collector.record(event(NOON), finished_at=NOON + 300 * MS)

    assert collector.times() == [NOON]


def test_of_two_exits_received_together_the_inspection_shows_the_later_one() -> None:
    collector = Collector()
    collector.record(event(NOON), event(NOON + 300 * MS), finished_at=NOON + 295 * MS)

    assert collector.times() == [NOON, NOON + 295 * MS]


def test_an_exit_without_an_inspection_has_the_time_of_its_event() -> None:
    collector = Collector()
    collector.record(event(NOON))

    assert collector.times() == [NOON]


def test_an_exit_with_code_zero_is_not_reported() -> None:
    collector = Collector()
    collector.record(event(NOON, 0), event(NOON, None), event(NOON, None, EventAction.START))

    assert collector.times() == []


def test_only_the_first_exit_after_an_oom_kill_is_out_of_memory() -> None:
    collector = Collector()
    collector.record(event(NOON, 137), event(NOON + 300 * MS, 137), oom=True)
    collector.times()

    assert [container_exit.out_of_memory for container_exit in collector.reported] == [True, False]


def test_an_undecided_exit_is_offered_after_growing_pauses_and_then_no_more() -> None:
    exits, now, offered = ContainerExits(), 0.0, 0
    exits.record([event(NOON)], containers={}, out_of_memory=(), now=now)

    def refuse(_exit: ContainerExit) -> bool:
        nonlocal offered
        offered += 1
        return False

    while exits.seconds_to_next(now) != float("inf"):
        now += exits.seconds_to_next(now)
        exits.report_due(refuse, now=now)

    assert 600 <= now < 610
    assert 300 < offered < 320


@given(
    gaps=st.lists(st.integers(20, 5_000), min_size=1, max_size=12),
    lags=st.lists(st.integers(0, 15), min_size=12, max_size=12),
    inspections=st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
def test_each_exit_has_its_own_time_between_the_previous_exit_and_its_event(
    gaps: list[int], lags: list[int], inspections: list[int]
) -> None:
    """The inspection after an event may show this exit or a later one."""
    events = [NOON + sum(gaps[: index + 1]) * MS for index in range(len(gaps))]
    finished = [at - lag * MS for at, lag in zip(events, lags, strict=False)]
    collector = Collector()
    for index, at in enumerate(events):
        collector.record(event(at), finished_at=finished[min(index + inspections[index], len(events) - 1)])

    times = collector.times()

    assert len(times) == len(set(times)) == len(events)
    assert all(ended_at in {at, shown} for ended_at, at, shown in zip(times, events, finished, strict=True))

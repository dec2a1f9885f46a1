"""What the watcher remembers of Docker's events: its position, games to check again, and exits to report. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from operations.health.exits import ContainerExit
from runtimes.containers.base import Container, ContainerEvent, EventAction
from runtimes.process import backoff

# A subscription starts this long before the last known event: events may arrive late, and clocks differ.
_OVERLAP_NS = 5 * 10**9
_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 2.0
# After this time the periodic reconcile takes over a busy game.
_GAME_SECONDS = 120.0
# An operation may hold the game this long. An exit that is still undecided then is not reported.
_EXIT_SECONDS = 600.0
# An event follows the exit of the container within milliseconds.
_MAX_EVENT_DELAY = timedelta(seconds=1)
# The last exit is remembered for this many containers.
_MAX_REMEMBERED = 1000


class Cursor:
    """The position in the event stream: where to subscribe again, and which repeated events are known already."""

    def __init__(self, start_ns: int) -> None:
        self._last_ns = start_ns
        self._known: set[ContainerEvent] = set()

    @property
    def since_ns(self) -> int:
        """Where the next subscription starts."""
        return self._last_ns - _OVERLAP_NS

    def new_events(self, events: Iterable[ContainerEvent]) -> list[ContainerEvent]:
        """Return the events that were not received before, in order."""
        new = [event for event in dict.fromkeys(events) if event not in self._known]
        if new:
            self._known.update(new)
            self._last_ns = max(self._last_ns, *(event.time_ns for event in new))
            # Forget events that no later subscription repeats. Twice the overlap, because late events count too.
            self._known = {event for event in self._known if event.time_ns >= self._last_ns - 2 * _OVERLAP_NS}
        return new


@dataclass(slots=True)
class _Retry:
    """When to try again: after growing pauses, until it is given up."""

    due: float
    give_up: float
    tries: int = 0
    # The container whose start is the only event of the game; empty if there was any other event.
    started: str = ""

    def postpone(self, now: float) -> bool:
        """Set the time of the next try; return False to give up."""
        pause = backoff(self.tries, first=_FIRST_RETRY_SECONDS, longest=_LONGEST_RETRY_SECONDS, jitter=0)
        self.due, self.tries = now + pause, self.tries + 1
        return now < self.give_up


def _seconds_to_next(retries: Iterable[_Retry], now: float) -> float:
    return max(0.0, min((retry.due for retry in retries), default=float("inf")) - now)


class Retries:
    """The games that were too busy for a decision. Each is checked again for a while."""

    def __init__(self) -> None:
        self._retries: dict[str, _Retry] = {}

    def due(self, now: float) -> set[str]:
        """Return the games to check now."""
        return {game_id for game_id, retry in self._retries.items() if retry.due <= now}

    def resolve(self, checked: Collection[str] | None, busy: Collection[str], *, now: float) -> None:
        """Record the result of a check of these games (None: all). Games that are not busy need no retry."""
        self.reset(set(self._retries if checked is None else checked).difference(busy))
        for game_id in busy:
            if not self._retries.setdefault(game_id, _Retry(now, now + _GAME_SECONDS)).postpone(now):
                del self._retries[game_id]

    def schedule(self, started: Iterable[tuple[str, str]], *, due: float, now: float) -> None:
        """Check these games at that time, because a container of each has started."""
        for game_id, container_id in started:
            known = self._retries.get(game_id)
            only = container_id if known is None or known.started == container_id else ""
            self._retries[game_id] = _Retry(due, now + _GAME_SECONDS, started=only)

    def only_started(self, game_ids: Iterable[str]) -> dict[str, str]:
        """Return the games with no event but the start of one container, and that container."""
        return {game_id: retry.started for game_id in game_ids if (retry := self._retries[game_id]).started}

    def reset(self, game_ids: Iterable[str]) -> None:
        """Forget the retries of these games."""
        for game_id in game_ids:
            self._retries.pop(game_id, None)

    def seconds_to_next(self, now: float) -> float:
        """Return the seconds until a game is due; infinite if none waits."""
        return _seconds_to_next(self._retries.values(), now)


class ContainerExits:
    """Collects exits with a non-zero exit code, and offers each to ``report`` until it is decided."""

    def __init__(self) -> None:
        self._pending: dict[ContainerExit, _Retry] = {}
        self._last: dict[str, datetime] = {}

    def record(
        self,
        events: Iterable[ContainerEvent],
        *,
        containers: Mapping[str, Container | None],
        out_of_memory: Iterable[str],
        now: float,
    ) -> None:
        """Add events in their order. ``containers`` holds inspections made after the events arrived."""
        killed = set(out_of_memory)
        for event in events:
            if event.action == EventAction.OOM:
                killed.add(event.container_id)
            if event.action != EventAction.DIE or not event.exit_code:
                continue
            container = containers.get(event.container_id)
            container_exit = self._exit_of(event, container, out_of_memory=event.container_id in killed)
            killed.discard(event.container_id)
            self._pending[container_exit] = _Retry(now, now + _EXIT_SECONDS)

    def report_due(self, report: Callable[[ContainerExit], bool], *, now: float) -> None:
        """Offer the exits that are due; offer an undecided exit again, after growing pauses."""
        for container_exit, retry in list(self._pending.items()):
            if retry.due <= now and (report(container_exit) or not retry.postpone(now)):
                del self._pending[container_exit]

    def seconds_to_next(self, now: float) -> float:
        """Return the seconds until an exit is due; infinite if none is pending."""
        return _seconds_to_next(self._pending.values(), now)

    def _exit_of(self, event: ContainerEvent, container: Container | None, *, out_of_memory: bool) -> ContainerExit:
        event_at = datetime.fromtimestamp(event.time_ns // 1000 / 10**6, tz=UTC)
        earlier = max(self._last.pop(event.container_id, event_at - _MAX_EVENT_DELAY), event_at - _MAX_EVENT_DELAY)
        # Prefer the time that the inspection shows, so that an operation that sees the same exit reports the same
        # event. If the container has exited again since, only the event has the time of this exit.
        shown = container.finished_at if container else None
        ended_at = shown if shown is not None and earlier < shown <= event_at else event_at
        self._last[event.container_id] = event_at
        while len(self._last) > _MAX_REMEMBERED:
            del self._last[next(iter(self._last))]
        assert event.exit_code is not None  # noqa: S101 - record() has checked it
        return ContainerExit(event.game_id, event.container_id, ended_at, earlier, event.exit_code, out_of_memory)

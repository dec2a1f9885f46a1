"""From Docker's events to the reconciler: who notices here never judges, it only says which games to look at."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from django.conf import settings

from operations.health import report_oom
from operations.pulses import PulseName, SteadyPulse
from runtimes.containers import connect
from runtimes.containers.base import ContainerEvent, EventAction, EventFeed
from runtimes.games import is_game_id
from tasks.leadership import Leadership

log = structlog.get_logger(__name__)

# Looks at these games, at all when None, and returns those too busy to be judged now.
Reconcile = Callable[[Collection[str] | None], set[str]]
# Of these games, each with a container that has started, those whose record says that they run in just that one.
OnRecord = Callable[[Mapping[str, str]], set[str]]

_STANDBY_SECONDS = 1.0
_LONGEST_READ_SECONDS = 1.0
# How far behind the last known moment a subscription begins: events may be told late, and clocks differ.
_OVERLAP_NS = 5 * 10**9
# A subscription that hears nothing for so long is renewed: a connection that died without a word is silent too.
_LONGEST_SILENCE_SECONDS = 60.0
# The death of a container follows the killing of its main process within milliseconds.
_OOM_SETTLE_SECONDS = 1.0
# Nearly always it is our own start, which is not over yet: looking at it now would only slow it down. Once it is, the
# record says so, and Docker need not be asked again.
_START_SETTLE_SECONDS = 1.0
_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 2.0
# Then the periodic reconcile takes over.
_GIVE_UP_AFTER_SECONDS = 120.0


class Cursor:
    """How far the events are known: where to subscribe again, and which of those told twice are known already."""

    def __init__(self, begin_ns: int) -> None:
        self._last_ns = begin_ns
        self._known: set[ContainerEvent] = set()

    @property
    def since_ns(self) -> int:
        """Where the next subscription begins."""
        return self._last_ns - _OVERLAP_NS

    def fresh(self, events: Iterable[ContainerEvent]) -> list[ContainerEvent]:
        """Those that were not told before, in order."""
        fresh = [event for event in dict.fromkeys(events) if event not in self._known]
        if fresh:
            self._known.update(fresh)
            self._last_ns = max(self._last_ns, *(event.time_ns for event in fresh))
            # What a subscription cannot tell again need not be remembered; twice, because late ones count too.
            self._known = {event for event in self._known if event.time_ns >= self._last_ns - 2 * _OVERLAP_NS}
        return fresh


@dataclass(slots=True)
class _Retry:
    due: float
    pause: float
    give_up: float
    # The container whose start is all that is to be looked at; empty when there is more.
    started: str = ""


class Retries:
    """The games that were too busy to be judged: each is asked about again, alone or with others, for a while."""

    def __init__(self) -> None:
        self._retries: dict[str, _Retry] = {}

    def due(self, now: float) -> set[str]:
        """The games whose time has come."""
        return {game_id for game_id, retry in self._retries.items() if retry.due <= now}

    def settle(self, asked: Collection[str] | None, busy: Collection[str], *, now: float) -> None:
        """Take in an answer: who was asked about (None: everybody) and is not busy needs no more asking."""
        for game_id in list(self._retries):
            if (asked is None or game_id in asked) and game_id not in busy:
                del self._retries[game_id]
        for game_id in busy:
            retry = self._retries.setdefault(game_id, _Retry(now, _FIRST_RETRY_SECONDS, now + _GIVE_UP_AFTER_SECONDS))
            retry.due, retry.pause = now + retry.pause, min(retry.pause * 2, _LONGEST_RETRY_SECONDS)
            if now >= retry.give_up:
                del self._retries[game_id]

    def put_off(self, started: Iterable[tuple[str, str]], *, due: float, now: float) -> None:
        """A container of each of these games has started: look at them at that time, whether they are busy or not."""
        for game_id, container_id in started:
            known = self._retries.get(game_id)
            only = container_id if known is None or known.started == container_id else ""
            self._retries[game_id] = _Retry(due, _FIRST_RETRY_SECONDS, now + _GIVE_UP_AFTER_SECONDS, only)

    def only_started(self, game_ids: Iterable[str]) -> dict[str, str]:
        """Those of these games to which nothing has happened but the start of one container, and which it was."""
        return {game_id: one.started for game_id in game_ids if (one := self._retries[game_id]).started}

    def begin_anew(self, game_ids: Iterable[str]) -> None:
        """Something new has happened to these games: what was known of their being busy no longer counts."""
        for game_id in game_ids:
            self._retries.pop(game_id, None)

    def seconds_to_next(self, now: float) -> float:
        """How long nothing is due; infinite when nothing waits."""
        return max(0.0, min((retry.due for retry in self._retries.values()), default=float("inf")) - now)


class Watcher:
    """Has the games looked at to which something happened in Docker, at once and no more often than it takes.

    One process does it at a time. Each subscription is followed by a look at everything, which is what tells of
    events that nobody was there to hear; the subscription begins before that look, so nothing falls in between.
    """

    name = "watcher"

    def __init__(self, *, leadership: Leadership, reconcile: Reconcile, on_record: OnRecord) -> None:
        self._leadership = leadership
        self._reconcile = reconcile
        self._on_record = on_record
        self._feed: EventFeed | None = None
        self._cursor = Cursor(time.time_ns())
        self._retries = Retries()
        self._starving: dict[str, tuple[ContainerEvent, float]] = {}
        self._last_heard = 0.0
        self._pulse = SteadyPulse(PulseName.DOCKER_EVENT)

    def step(self) -> float:
        """See Loop."""
        if self._leadership.is_fresh():
            self.reset()
        if not self._leadership.hold():
            return _STANDBY_SECONDS
        if self._feed is None:
            self._subscribe()
            self._ask_about(None)
        elif time.monotonic() - self._last_heard > _LONGEST_SILENCE_SECONDS:
            self._unsubscribe()
            self._subscribe()
        self._listen()
        self._ask_again()
        self._report_starving()
        return 0.0

    def reset(self) -> None:
        """See Loop."""
        self._unsubscribe()

    def close(self) -> None:
        """See Loop."""
        self._unsubscribe()
        self._leadership.resign()

    def _subscribe(self) -> None:
        self._feed = connect().events(settings.RTMANAGER.stack, since_ns=self._cursor.since_ns)
        self._last_heard = time.monotonic()

    def _unsubscribe(self) -> None:
        if self._feed is not None:
            self._feed.close()
        self._feed = None

    def _listen(self) -> None:
        assert self._feed is not None  # noqa: S101 - step has subscribed
        events = self._feed.read(self._patience())
        if not events:
            return
        self._last_heard = time.monotonic()
        self._pulse.beat()
        fresh = [event for event in self._cursor.fresh(events) if is_game_id(event.game_id)]
        self._set_starving_aside(fresh)
        started = {(event.game_id, event.container_id) for event in fresh if event.action == EventAction.START}
        ended = {event.game_id for event in fresh if event.action in {EventAction.DIE, EventAction.DESTROY}}
        if started or ended:
            games = ended.union(game_id for game_id, _container_id in started)
            log.info("container_events_heard", events=len(fresh), games=len(games))
        now = time.monotonic()
        only_started = [one for one in started if one[0] not in ended]
        self._retries.put_off(only_started, due=now + _START_SETTLE_SECONDS, now=now)
        if ended:
            self._retries.begin_anew(ended)
            _let_settle(fresh)
            self._ask_about(ended)

    def _patience(self) -> float:
        now = time.monotonic()
        starving = min((due for _event, due in self._starving.values()), default=float("inf"))
        return max(0.0, min(_LONGEST_READ_SECONDS, self._retries.seconds_to_next(now), starving - now))

    def _ask_about(self, game_ids: Collection[str] | None) -> None:
        busy = self._reconcile(game_ids)
        self._retries.settle(game_ids, busy, now=time.monotonic())

    def _ask_again(self) -> None:
        now = time.monotonic()
        due = self._retries.due(now)
        if not due:
            return
        started = self._retries.only_started(due)
        ours = self._on_record(started) if started else set()
        self._retries.settle(ours, (), now=now)
        if due - ours:
            self._ask_about(due - ours)

    def _set_starving_aside(self, events: Sequence[ContainerEvent]) -> None:
        """The kernel killed a process: the death of the container, if it was the main one, will tell by itself."""
        for event in events:
            if event.action == EventAction.OOM:
                self._starving.setdefault(event.container_id, (event, time.monotonic() + _OOM_SETTLE_SECONDS))
            else:
                self._starving.pop(event.container_id, None)

    def _report_starving(self) -> None:
        now = time.monotonic()
        for event in [event for event, due in self._starving.values() if due <= now]:
            container = connect().find(event.container_id)
            if container is not None and container.is_alive:
                report_oom(event.game_id, event.container_id, at_ns=event.time_ns)
            else:
                self._ask_about({event.game_id})
            del self._starving[event.container_id]


def _let_settle(events: Iterable[ContainerEvent]) -> None:
    """Docker tells of a death while its list still shows the container running. An inspection waits for the lock
    that is held until the list is right as well.
    """
    for event in events:
        if event.action == EventAction.DIE:
            connect().find(event.container_id)

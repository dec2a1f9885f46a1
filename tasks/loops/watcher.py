"""The watcher follows Docker's events. It makes no decisions; it only has the reconciler check the affected games."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
from django.conf import settings

from operations.health import docker_starts
from operations.health.exits import report_end
from operations.health.reports import report_oom
from operations.monitoring.heartbeats import HeartbeatName, ThrottledHeartbeat
from runtimes.containers import connect
from runtimes.containers.base import Container, ContainerEvent, EventAction
from runtimes.containers.types import Feed
from runtimes.game_ids import is_game_id
from tasks.loops.base import Loop
from tasks.loops.container_events import ContainerExits, Cursor, Retries
from tasks.loops.leader_election import LeaderElection

log = structlog.get_logger(__name__)

# Checks these games, or all if None; returns those that are too busy for a decision now.
Reconcile = Callable[[Collection[str] | None], set[str]]
# Returns the games whose record shows that they run in exactly this container, which has just started.
OnRecord = Callable[[Mapping[str, str]], set[str]]

_LONGEST_READ_SECONDS = 1.0
# After this silence the watcher subscribes again: a connection that broke silently delivers nothing either.
_LONGEST_SILENCE_SECONDS = 60.0
# A container dies within milliseconds after the kernel killed its main process. On a busy host Docker reports it later.
_OOM_SETTLE_SECONDS = 3.0
# A start is nearly always our own, still in progress; a check now would only slow it down. When it is complete, the
# record shows it without another call to Docker.
_START_SETTLE_SECONDS = 1.0


class Watcher(Loop):
    """Has the affected games checked as soon as Docker reports an event. One process does this at a time.

    After each new subscription it has all games checked, which finds events that no process received. The subscription
    starts before that check, so no event falls in between.
    """

    name = "watcher"

    def __init__(self, *, reconcile: Reconcile, on_record: OnRecord, leadership: LeaderElection | None = None) -> None:
        super().__init__(leadership)
        self._reconcile = reconcile
        self._on_record = on_record
        self._feed: Feed[ContainerEvent] | None = None
        self._cursor = Cursor(time.time_ns())
        self._retries = Retries()
        self._oom_events: dict[str, tuple[ContainerEvent, float]] = {}
        self._exits = ContainerExits()
        self._last_received = 0.0
        self._heartbeat = ThrottledHeartbeat(HeartbeatName.DOCKER_EVENT)

    def lead(self) -> float:
        if self._feed is None:
            self._subscribe()
            self._check(None)
        elif time.monotonic() - self._last_received > _LONGEST_SILENCE_SECONDS:
            self._unsubscribe()
            self._subscribe()
        self._receive()
        self._check_due()
        self._exits.report_due(report_end, now=time.monotonic())
        self._report_oom()
        return 0.0

    def reset(self) -> None:
        self._unsubscribe()

    def close(self) -> None:
        self._unsubscribe()
        super().close()

    def _subscribe(self) -> None:
        self._feed = connect().events(settings.RTMANAGER.stack, since_ns=self._cursor.since_ns)
        self._last_received = time.monotonic()
        # Before this pass completes and records a heartbeat: until then the heartbeat belongs to the previous daemon.
        docker_starts.record_current(connect())

    def _unsubscribe(self) -> None:
        if self._feed is not None:
            self._feed.close()
        self._feed = None

    def _receive(self) -> None:
        """Read new events, and have the games of exited or removed containers checked at once."""
        assert self._feed is not None  # noqa: S101 - step has subscribed
        events = self._feed.read(self._read_seconds())
        if not events:
            return
        self._last_received = time.monotonic()
        self._heartbeat.record_heartbeat()

        new = [event for event in self._cursor.new_events(events) if is_game_id(event.game_id)]
        out_of_memory = set(self._oom_events)
        self._defer_oom(new)
        started = {(event.game_id, event.container_id) for event in new if event.action == EventAction.START}
        ended = {event.game_id for event in new if event.action in {EventAction.DIE, EventAction.DESTROY}}
        if started or ended:
            games = ended.union(game_id for game_id, _container_id in started)
            log.info("container_events_received", events=len(new), games=len(games))

        now = time.monotonic()
        only_started = [start for start in started if start[0] not in ended]
        self._retries.schedule(only_started, due=now + _START_SETTLE_SECONDS, now=now)
        if ended:
            self._retries.reset(ended)
            containers: dict[str, Container | None] = {}
            try:
                # Docker reports a death while its list still shows the container as running. An inspection waits for
                # the same lock, so afterwards the list is right.
                died = dict.fromkeys(event.container_id for event in new if event.action == EventAction.DIE)
                containers = {container_id: connect().find(container_id) for container_id in died}
            finally:
                # Docker does not repeat these events, so record them even if it does not answer now.
                self._exits.record(new, containers=containers, out_of_memory=out_of_memory, now=time.monotonic())
            self._check(ended)

    def _read_seconds(self) -> float:
        now = time.monotonic()
        next_oom = min((due for _event, due in self._oom_events.values()), default=float("inf"))
        soonest = min(self._retries.seconds_to_next(now), self._exits.seconds_to_next(now), next_oom - now)
        return max(0.0, min(_LONGEST_READ_SECONDS, soonest))

    def _check(self, game_ids: Collection[str] | None) -> None:
        busy = self._reconcile(game_ids)
        self._retries.resolve(game_ids, busy, now=time.monotonic())

    def _check_due(self) -> None:
        now = time.monotonic()
        due = self._retries.due(now)
        started = self._retries.only_started(due)
        ours = self._on_record(started) if started else set()
        self._retries.resolve(ours, (), now=now)
        if due - ours:
            self._check(due - ours)

    def _defer_oom(self, events: Sequence[ContainerEvent]) -> None:
        """Defer OOM kills: if the kernel killed the main process, a die event of the container follows."""
        for event in events:
            if event.action == EventAction.OOM:
                self._oom_events.setdefault(event.container_id, (event, time.monotonic() + _OOM_SETTLE_SECONDS))
            else:
                self._oom_events.pop(event.container_id, None)

    def _report_oom(self) -> None:
        now = time.monotonic()
        for event in [event for event, due in self._oom_events.values() if due <= now]:
            container = connect().find(event.container_id)
            if container is not None and container.is_alive:
                report_oom(event.game_id, event.container_id, at_ns=event.time_ns)
            else:
                self._check({event.game_id})
            del self._oom_events[event.container_id]

"""The status of each component of the service, derived from figures of the database and the job streams.

``measure`` reads the figures, ``evaluate`` derives the statuses. A figure that could not be read is None, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import connection

from operations.monitoring.heartbeats import LOOPS, WORKER_PREFIX, HeartbeatName

STATS_SQL = """
    WITH open AS (
        SELECT id, game_id, op_kind, state, accepted_at, lease_until
          FROM operations_operation WHERE state IN ('accepted', 'running'))
    SELECT json_build_object(
        'heartbeats', (SELECT json_object_agg(name, json_build_object(
                       'age_seconds', greatest(0, extract(epoch FROM now() - seen_at)), 'detail', detail))
                     FROM operations_heartbeat),
        'open', (SELECT json_object_agg(state, number)
                   FROM (SELECT state, count(*) AS number FROM open GROUP BY state) AS by_state),
        'oldest_open', (SELECT json_build_object('id', id, 'game_id', game_id, 'op_kind', op_kind,
                                   'age_seconds', extract(epoch FROM now() - accepted_at))
                          FROM open ORDER BY id LIMIT 1),
        'overdue', (SELECT json_build_object('id', id, 'game_id', game_id, 'op_kind', op_kind,
                               'age_seconds', extract(epoch FROM now() - lease_until))
                      FROM open WHERE state = 'running' AND lease_until < now() ORDER BY lease_until LIMIT 1),
        'outbox', (SELECT json_build_object('number', count(*),
                              'age_seconds', coalesce(extract(epoch FROM now() - min(created_at)), 0))
                     FROM operations_outboxevent WHERE published_at IS NULL),
        'runtimes', (SELECT json_object_agg(status, number)
                       FROM (SELECT status, count(*) AS number FROM runtimes_runtime GROUP BY status) AS by_status))
"""


class ComponentState(StrEnum):
    """``starting``: this process is too new to decide. ``unknown``: the server that holds the figures is down."""

    OK = "ok"
    STARTING = "starting"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """The state of a component. The message says what is wrong; it is empty unless the state is unknown or failed."""

    state: ComponentState
    message: str = ""

    def __str__(self) -> str:
        if self.state == ComponentState.FAILED:
            return self.message
        return f"{self.state}: {self.message}" if self.message else str(self.state)


OK = ComponentStatus(ComponentState.OK)
STARTING = ComponentStatus(ComponentState.STARTING)


@dataclass(frozen=True, slots=True)
class Limits:
    """The highest normal age of each figure, in seconds."""

    full_reconcile: float
    # The canary comes every 15 s, a loop reports every 5 s, and both are late for a moment when a leader changes.
    canary: float = 60.0
    loop: float = 60.0
    worker: float = 60.0
    outbox: float = 30.0
    stream: float = 30.0
    # The sweeper finds an ended lease within 1 s and notifies again at most every 30 s.
    lease: float = 60.0
    # An image pull may take this long.
    operation: float = 900.0

    def limit_for(self, name: str) -> float:
        """The limit of this heartbeat."""
        by_name = {HeartbeatName.CANARY: self.canary, HeartbeatName.FULL_RECONCILE: self.full_reconcile}
        return by_name.get(HeartbeatName(name), self.loop)


@dataclass(frozen=True, slots=True)
class HeartbeatStatus:
    """The age of a heartbeat and the details that came with it."""

    age_seconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OldestOperation:
    """The operation that has waited longest for something."""

    id: int
    game_id: str
    op_kind: str
    age_seconds: float

    def __str__(self) -> str:
        return f"operation {self.id} ({self.op_kind} of game {self.game_id})"


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """The figures of the database. Ages are in seconds by the clock of the database."""

    heartbeats: Mapping[str, HeartbeatStatus] = field(default_factory=dict)
    open_by_state: Mapping[str, int] = field(default_factory=dict)
    oldest_open: OldestOperation | None = None
    overdue: OldestOperation | None = None
    unpublished: int = 0
    oldest_unpublished_seconds: float = 0.0
    runtimes_by_status: Mapping[str, int] = field(default_factory=dict)

    def age_of(self, name: str) -> float | None:
        """The age of the heartbeat; None if there has never been one."""
        return self.heartbeats[name].age_seconds if name in self.heartbeats else None


@dataclass(frozen=True, slots=True)
class StreamBacklog:
    """The waiting entries of one job stream: ``lag`` entries are unread, ``pending`` are read but not acknowledged.

    If the server does not count unread entries, counting stops at 1000.
    """

    lag: int
    pending: int
    oldest_age_seconds: float


Backlogs = Mapping[str, StreamBacklog]
ComponentStatuses = Mapping[str, ComponentStatus]


def measure() -> ServiceStats:
    """Read the figures in one query. Its cost grows with the open rows, not with all rows."""
    with connection.cursor() as cursor:
        cursor.execute(STATS_SQL)
        (row,) = cursor.fetchone()
    return ServiceStats(
        heartbeats={name: HeartbeatStatus(**heartbeat) for name, heartbeat in (row["heartbeats"] or {}).items()},
        open_by_state=row["open"] or {},
        oldest_open=OldestOperation(**row["oldest_open"]) if row["oldest_open"] else None,
        overdue=OldestOperation(**row["overdue"]) if row["overdue"] else None,
        unpublished=row["outbox"]["number"],
        oldest_unpublished_seconds=row["outbox"]["age_seconds"],
        runtimes_by_status=row["runtimes"] or {},
    )


def current_limits() -> Limits:
    """The limits of this installation. One missed full reconcile is normal."""
    return Limits(full_reconcile=2 * settings.RTMANAGER.reconcile_interval.total_seconds() + 60.0)


def evaluate(
    stats: ServiceStats | None, backlogs: Backlogs | None, *, limits: Limits, uptime_seconds: float
) -> ComponentStatuses:
    """Return the status per component. Pure.

    ``uptime_seconds`` is the age of this process. A heartbeat may be missing for that long: all processes may have
    started together.
    """
    streams = ComponentStatus(ComponentState.UNKNOWN, "no figures from Redis")
    if backlogs is not None:
        streams = _status(_streams_problem(backlogs, limits))
    if stats is None:
        unknown = ComponentStatus(ComponentState.UNKNOWN, "no figures from PostgreSQL")
        return {**dict.fromkeys(map(str, [*_HEARTBEATS, *_PROBLEMS]), unknown), "streams": streams}
    heartbeats = {
        str(name): _heartbeat(stats.age_of(name), problem, limit=limits.limit_for(name), uptime=uptime_seconds)
        for name, problem in _HEARTBEATS.items()
    }
    return {
        **heartbeats,
        **{name: _status(find_problem(stats, limits)) for name, find_problem in _PROBLEMS.items()},
        "streams": streams,
    }


_HEARTBEATS = {
    HeartbeatName.CANARY: (
        "no test message came from the scheduler through Redis and a worker. Check that run_scheduler and a worker run"
    ),
    HeartbeatName.FULL_RECONCILE: "no full reconcile with Docker. Check Docker, a worker and watch_runtimes",
    **dict.fromkeys(LOOPS, "no heartbeat. Check that the process runs, then its log"),
}


def _heartbeat(age: float | None, problem: str, *, limit: float, uptime: float) -> ComponentStatus:
    if age is not None and age <= limit:
        return OK
    if uptime <= limit:
        return STARTING
    return _status(f"{'never' if age is None else f'not for {_format_seconds(age)}'}: {problem}")


def _operations_problem(stats: ServiceStats, limits: Limits) -> str:
    oldest = stats.oldest_open
    if oldest is None or oldest.age_seconds <= limits.operation:
        return ""
    return f"{oldest} has been open for {_format_seconds(oldest.age_seconds)}. Check its steps"


def _leases_problem(stats: ServiceStats, limits: Limits) -> str:
    overdue = stats.overdue
    if overdue is None or overdue.age_seconds <= limits.lease:
        return ""
    age = _format_seconds(overdue.age_seconds)
    return f"{overdue} has had no worker for {age}. Check that a worker and bridge_jobs run"


def _outbox_problem(stats: ServiceStats, limits: Limits) -> str:
    if stats.oldest_unpublished_seconds <= limits.outbox:
        return ""
    age = _format_seconds(stats.oldest_unpublished_seconds)
    return f"{stats.unpublished} events wait to be published, the oldest for {age}. Check relay_events"


def _state_root_problem(stats: ServiceStats, limits: Limits) -> str:
    """The running workers that refuse their state root."""
    refusals = {
        name.removeprefix(WORKER_PREFIX): heartbeat.detail.get("state_root")
        for name, heartbeat in sorted(stats.heartbeats.items())
        if name.startswith(WORKER_PREFIX) and heartbeat.age_seconds <= limits.worker
    }
    return "; ".join(f"worker {worker} starts no game: {reason}" for worker, reason in refusals.items() if reason)


_PROBLEMS = {
    "operations": _operations_problem,
    "leases": _leases_problem,
    "outbox": _outbox_problem,
    "state_root": _state_root_problem,
}


def _streams_problem(backlogs: Backlogs, limits: Limits) -> str:
    waiting = "; ".join(
        f"{name}: {backlog.lag + backlog.pending} jobs, the oldest for {_format_seconds(backlog.oldest_age_seconds)}"
        for name, backlog in sorted(backlogs.items())
        if backlog.oldest_age_seconds > limits.stream
    )
    return f"jobs wait on the streams ({waiting}). Check bridge_jobs" if waiting else ""


def _status(problem: str) -> ComponentStatus:
    return ComponentStatus(ComponentState.FAILED, problem) if problem else OK


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 2 * 60 else f"{seconds / 60:.0f} min"

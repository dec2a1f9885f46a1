"""Is the service doing its work? Figures of the database and the streams, and what is to be said of each.

``measure`` asks, ``judge`` decides; what could not be asked is None, never zero, and is said to be unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection

from operations.pulses import LOOPS, PulseName

OK = "ok"
STARTING = "starting"

MEASURE = """
    WITH open AS (
        SELECT id, game_id, op_kind, state, accepted_at, lease_until
          FROM operations_operation WHERE state IN ('accepted', 'running'))
    SELECT json_build_object(
        'pulses', (SELECT json_object_agg(name, json_build_object(
                       'age_seconds', greatest(0, extract(epoch FROM now() - beat_at)), 'detail', detail))
                     FROM operations_pulse),
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


@dataclass(frozen=True, slots=True)
class Limits:
    """How old each may become before something must be wrong, in seconds."""

    relist: float
    # A canary comes every 15 s, a loop beats every 5 s, and both are late for a moment when a leader changes.
    canary: float = 60.0
    loop: float = 60.0
    outbox: float = 30.0
    stream: float = 30.0
    # The sweep finds an expired lease within 2 s, and hints it again at most every 30 s.
    lease: float = 60.0
    # A pull may take this long; what takes longer deserves a look.
    operation: float = 900.0

    def of_pulse(self, name: str) -> float:
        """The limit of this pulse."""
        return {PulseName.CANARY: self.canary, PulseName.RELIST: self.relist}.get(PulseName(name), self.loop)


@dataclass(frozen=True, slots=True)
class Beat:
    """A pulse: how long ago, and what it had to say."""

    age_seconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Laggard:
    """The operation that has waited longest for something."""

    id: int
    game_id: str
    op_kind: str
    age_seconds: float

    def __str__(self) -> str:
        return f"operation {self.id} ({self.op_kind} of game {self.game_id})"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database says. Ages are in seconds by its own clock."""

    pulses: Mapping[str, Beat] = field(default_factory=dict)
    open_by_state: Mapping[str, int] = field(default_factory=dict)
    oldest_open: Laggard | None = None
    overdue: Laggard | None = None
    unpublished: int = 0
    oldest_unpublished_seconds: float = 0.0
    runtimes_by_status: Mapping[str, int] = field(default_factory=dict)

    def age_of(self, name: str) -> float | None:
        """How long ago the pulse was; None when there has never been one."""
        return self.pulses[name].age_seconds if name in self.pulses else None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of one job stream is still to be done: entries that nobody has read yet, and read ones that nobody has
    acknowledged. Where the server does not count the former by itself, counting ends at a thousand.
    """

    lag: int
    pending: int
    oldest_age_seconds: float


Backlogs = Mapping[str, Backlog]
Verdicts = dict[str, str]


def measure() -> Figures:
    """One query, the cost of which grows with what is open and not with what is on record."""
    with connection.cursor() as cursor:
        cursor.execute(MEASURE)
        (told,) = cursor.fetchone()
    return Figures(
        pulses={name: Beat(**pulse) for name, pulse in (told["pulses"] or {}).items()},
        open_by_state=told["open"] or {},
        oldest_open=Laggard(**told["oldest_open"]) if told["oldest_open"] else None,
        overdue=Laggard(**told["overdue"]) if told["overdue"] else None,
        unpublished=told["outbox"]["number"],
        oldest_unpublished_seconds=told["outbox"]["age_seconds"],
        runtimes_by_status=told["runtimes"] or {},
    )


def current_limits() -> Limits:
    """The limits of this installation: a look at everything may be missed once."""
    return Limits(relist=2 * settings.RTMANAGER.reconcile_interval.total_seconds() + 60.0)


def judge(figures: Figures | None, backlogs: Backlogs | None, *, limits: Limits, uptime_seconds: float) -> Verdicts:
    """Per vital sign ``ok``, ``starting``, or a sentence that says what is wrong and where to look. Pure.

    ``uptime_seconds`` is how long the judge has been there: it cannot hold a silence against anybody that is longer
    than itself, since everything may have been started with it.
    """
    of_streams = _UNKNOWN.format("Redis") if backlogs is None else _streams(backlogs, limits)
    if figures is None:
        unknown = dict.fromkeys(map(str, [*_PULSES, *_QUEUES]), _UNKNOWN.format("PostgreSQL"))
        return {**unknown, "streams": of_streams}
    pulses = {
        str(name): _pulse(figures.age_of(name), words, limit=limits.of_pulse(name), uptime=uptime_seconds)
        for name, words in _PULSES.items()
    }
    return {**pulses, **{name: verdict(figures, limits) for name, verdict in _QUEUES.items()}, "streams": of_streams}


_UNKNOWN = "unknown: {} does not say"
_PULSES = {
    PulseName.CANARY: "no message has come from the clock through Redis and a worker to PostgreSQL: do both run?",
    PulseName.RELIST: "records were not compared with Docker: does Docker answer, do worker and watch_runtimes run?",
    **dict.fromkeys(LOOPS, "it has not ended a pass of its work: does its process run, and what does its log say?"),
}


def _pulse(age: float | None, words: str, *, limit: float, uptime: float) -> str:
    if age is not None and age <= limit:
        return OK
    if uptime <= limit:
        return STARTING
    return f"{'never' if age is None else f'not for {_for_people(age)}'}: {words}"


def _operations(figures: Figures, limits: Limits) -> str:
    oldest = figures.oldest_open
    if oldest is None or oldest.age_seconds <= limits.operation:
        return OK
    return f"{oldest} has been open for {_for_people(oldest.age_seconds)}: its steps tell where it is"


def _leases(figures: Figures, limits: Limits) -> str:
    overdue = figures.overdue
    if overdue is None or overdue.age_seconds <= limits.lease:
        return OK
    return f"{overdue} has had no worker for {_for_people(overdue.age_seconds)}: do worker and bridge_jobs run?"


def _outbox(figures: Figures, limits: Limits) -> str:
    if figures.oldest_unpublished_seconds <= limits.outbox:
        return OK
    since = _for_people(figures.oldest_unpublished_seconds)
    return f"{figures.unpublished} events wait to be published, the oldest for {since}: does relay_events run?"


_QUEUES = {"operations": _operations, "leases": _leases, "outbox": _outbox}


def _streams(backlogs: Backlogs, limits: Limits) -> str:
    late = {name: one for name, one in backlogs.items() if one.oldest_age_seconds > limits.stream}
    if not late:
        return OK
    told = "; ".join(
        f"{name}: {one.lag + one.pending} jobs, the oldest for {_for_people(one.oldest_age_seconds)}"
        for name, one in sorted(late.items())
    )
    return f"jobs wait to be taken over ({told}): does bridge_jobs run?"


def _for_people(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 2 * 60 else f"{seconds / 60:.0f} min"

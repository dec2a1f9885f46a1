"""Counters in the database. They only grow, and a restart of a process does not reset them.

Database triggers count in the transaction of the event (migration 0005), so no event is missed or counted twice. Each
increment is a row of its own: a shared row would make all transactions wait for each other. ``roll_up`` adds the
increments to the totals.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import connection

from operations.models import CounterIncrement

# Upper bounds of the histogram buckets, in seconds. The last bucket has none.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)

_MAX_INCREMENTS = 50_000

# Concurrent calls take different rows, and add to the totals in the same order, which avoids deadlocks.
_ROLL_UP_SQL = """
    WITH taken AS (
        DELETE FROM operations_counterincrement
         WHERE id IN (SELECT id FROM operations_counterincrement ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
     RETURNING series, labels, bucket, number, seconds),
    added AS (
        INSERT INTO operations_metriccounter AS known (series, labels, bucket, number, seconds)
        SELECT series, labels, bucket, sum(number), sum(seconds) FROM taken GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            ON CONFLICT (series, labels, bucket)
            DO UPDATE SET number = known.number + excluded.number, seconds = known.seconds + excluded.seconds)
    SELECT count(*) FROM taken
"""
# One statement, one snapshot: every increment is counted exactly once, rolled up or not.
TOTALS_SQL = """
    SELECT series, labels, bucket, sum(number)::bigint, sum(seconds)
      FROM (SELECT series, labels, bucket, number, seconds FROM operations_metriccounter
             UNION ALL SELECT series, labels, bucket, number, seconds FROM operations_counterincrement) AS counted
     GROUP BY 1, 2, 3
"""
GAUGES_SQL = """
    SELECT (SELECT count(*) FROM operations_imagepull AS last JOIN operations_operation AS puller
                ON puller.id = last.operation_id AND puller.fence = last.fence
             WHERE last.ended_at IS NULL AND puller.state = 'running' AND puller.lease_until > now()),
           (SELECT count(*) FROM operations_operation WHERE waiting_for_image <> ''),
           (SELECT count(*) FROM operations_deadletter WHERE redriven_at IS NULL),
           (SELECT count(*) FROM operations_counterincrement)
"""


@dataclass(slots=True)
class Histogram:
    """Counts per bucket and the total duration. There is one bucket more than ``BOUNDS``."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    @property
    def number(self) -> int:
        return sum(self.buckets)


Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CounterTotals:
    """The totals by series and labels, and the current gauges."""

    counted: Mapping[str, Mapping[Labels, Histogram]] = field(default_factory=dict)
    pulls_running: int = 0
    awaiting_image: int = 0
    dead_letters_waiting: int = 0
    entries: int = 0

    def of(self, series: str) -> Mapping[Labels, Histogram]:
        """The totals of one series; an empty mapping if nothing was counted."""
        return self.counted.get(series, {})


def count(series: str, *labels: str, number: int = 1) -> None:
    """Count an event that no trigger sees, with one insert in the transaction of the caller, if any."""
    CounterIncrement.objects.create(series=series, labels=",".join(labels), number=number)


def roll_up(*, limit: int = _MAX_INCREMENTS) -> int:
    """Add the increments to the totals; return how many. ``read`` returns the same before and after.

    Safe to call concurrently.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ROLL_UP_SQL, [limit])
        (rolled_up,) = cursor.fetchone()
    return int(rolled_up)


def read() -> CounterTotals:
    """Read all totals. The cost grows with the increments since the last roll-up, not with the records."""
    with connection.cursor() as cursor:
        cursor.execute(TOTALS_SQL)
        counted = _by_series(cursor.fetchall())
        cursor.execute(GAUGES_SQL)
        pulls_running, awaiting_image, dead_letters_waiting, entries = cursor.fetchone()
    return CounterTotals(counted, pulls_running, awaiting_image, dead_letters_waiting, entries)


def _by_series(rows: Iterable[tuple[str, str, int, int, float]]) -> dict[str, dict[Labels, Histogram]]:
    totals: dict[str, dict[Labels, Histogram]] = {}
    for series, labels, bucket, number, seconds in rows:
        histogram = totals.setdefault(series, {}).setdefault(tuple(labels.split(",")), Histogram())
        histogram.buckets[bucket] += number
        histogram.seconds += seconds
    return totals

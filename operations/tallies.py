"""What has happened so far, counted: figures that only grow, for ever, whichever process comes or goes.

Triggers of the database count in the very transaction in which a thing happens (migration 0005), so nothing is
counted twice or missed, and no row has to be searched for to know how many there are. Each count is a row of its own:
a row that everybody adds to would make all who finish wait for each other. ``fold`` sums them up now and then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import connection

from operations.models import TallyEntry

# Upper bounds of the places in a histogram, in seconds; the last place is open.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)

_FOLDED_AT_ONCE = 50_000

# Who folds at the same time takes other rows, and adds to the sums in the same order.
_FOLD = """
    WITH taken AS (
        DELETE FROM operations_tallyentry
         WHERE id IN (SELECT id FROM operations_tallyentry ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
     RETURNING series, labels, bucket, number, seconds),
    added AS (
        INSERT INTO operations_tally AS known (series, labels, bucket, number, seconds)
        SELECT series, labels, bucket, sum(number), sum(seconds) FROM taken GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            ON CONFLICT (series, labels, bucket)
            DO UPDATE SET number = known.number + excluded.number, seconds = known.seconds + excluded.seconds)
    SELECT count(*) FROM taken
"""
# One statement, one snapshot: what is being folded is seen either before or after, never twice and never not at all.
READ = """
    SELECT series, labels, bucket, sum(number)::bigint, sum(seconds)
      FROM (SELECT series, labels, bucket, number, seconds FROM operations_tally
             UNION ALL SELECT series, labels, bucket, number, seconds FROM operations_tallyentry) AS counted
     GROUP BY 1, 2, 3
"""
MOMENT = """
    SELECT (SELECT count(*) FROM operations_imagepull AS last JOIN operations_operation AS puller
                ON puller.id = last.operation_id AND puller.fence = last.fence
             WHERE last.ended_at IS NULL AND puller.state = 'running' AND puller.lease_until > now()),
           (SELECT count(*) FROM operations_operation WHERE awaits_image <> ''),
           (SELECT count(*) FROM operations_deadletter WHERE redriven_at IS NULL),
           (SELECT count(*) FROM operations_tallyentry)
"""


@dataclass(slots=True)
class Histogram:
    """How many of each length, and how long all of them together. ``places`` has one more than ``BOUNDS``."""

    places: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    @property
    def number(self) -> int:
        """How many there were."""
        return sum(self.places)


Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tallies:
    """Everything counted, by series and labels, and what there is right now."""

    counted: Mapping[str, Mapping[Labels, Histogram]] = field(default_factory=dict)
    pulls_running: int = 0
    awaiting_image: int = 0
    letters_waiting: int = 0
    entries: int = 0

    def of(self, series: str) -> Mapping[Labels, Histogram]:
        """What was counted of one series; nothing is an empty mapping."""
        return self.counted.get(series, {})


def count(series: str, *labels: str, number: int = 1) -> None:
    """Count what leaves no row behind that a trigger could see. One insert, in the caller's transaction if any."""
    TallyEntry.objects.create(series=series, labels=",".join(labels), number=number)


def fold(*, limit: int = _FOLDED_AT_ONCE) -> int:
    """Sum up what was counted since the last time; returns how many entries. The figures read are the same before and
    after. Safe to call by several at once.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FOLD, [limit])
        (folded,) = cursor.fetchone()
    return int(folded)


def read() -> Tallies:
    """Everything counted so far. The cost grows with what was counted since the last fold, not with the records."""
    with connection.cursor() as cursor:
        cursor.execute(READ)
        counted = _by_series(cursor.fetchall())
        cursor.execute(MOMENT)
        pulls_running, awaiting_image, letters_waiting, entries = cursor.fetchone()
    return Tallies(counted, pulls_running, awaiting_image, letters_waiting, entries)


def _by_series(rows: Iterable[tuple[str, str, int, int, float]]) -> dict[str, dict[Labels, Histogram]]:
    found: dict[str, dict[Labels, Histogram]] = {}
    for series, labels, bucket, number, seconds in rows:
        one = found.setdefault(series, {}).setdefault(tuple(labels.split(",")), Histogram())
        one.places[bucket] += number
        one.seconds += seconds
    return found

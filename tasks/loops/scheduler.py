"""The scheduler: sends a Celery message for each periodic task when it is due."""

import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import structlog
from celery import current_app
from celery.exceptions import OperationalError

from operations.queue.database import database_now
from runtimes.exceptions import ServiceUnavailableError
from tasks.loops.base import Loop
from tasks.loops.leader_election import LeaderElection

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 5.0
_SHORTEST_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """One periodic task. Its ticks depend only on the interval and the task's name, so tasks are spread over time."""

    task: str
    every_seconds: float
    expires_seconds: float
    queue: str

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        """Create one from an entry of ``settings.RTM_SCHEDULE``."""
        return cls(**{**entry, "every_seconds": max(entry["every_seconds"], _SHORTEST_INTERVAL_SECONDS)})

    def tick(self, at: float) -> int:
        """Return the number of the last tick before this time, in seconds since the epoch. Pure."""
        return math.floor(self._ticks(at))

    def seconds_left(self, at: float) -> float:
        """Return the seconds from this time to the next tick. Pure."""
        return (self.tick(at) + 1 - self._ticks(at)) * self.every_seconds

    def _ticks(self, at: float) -> float:
        return at / self.every_seconds + zlib.crc32(self.task.encode()) / 2**32


class Scheduler(Loop):
    """Sends one message per tick and task. One process does this at a time.

    A new leader starts with the next ticks: it skips those in between and sends none twice. While the broker is
    unreachable, one message per task waits for it.
    """

    name = "scheduler"
    always_queries = True

    def __init__(self, schedule: Mapping[str, Mapping[str, Any]], *, leadership: LeaderElection | None = None) -> None:
        super().__init__(leadership)
        self._tasks = [ScheduledTask.read(entry) for entry in schedule.values()]
        # A leader that only lost its connection continues with these ticks.
        self._sent: dict[ScheduledTask, int] = {}

    def lead(self) -> float:
        """Send what is due. Raises ServiceUnavailableError if the broker does not accept a message."""
        # Database time, so that ticks do not depend on which process leads.
        now = database_now().timestamp()
        for scheduled in self._tasks:
            tick = scheduled.tick(now)
            # Any other tick counts, so that a clock that was set back does not stop the task.
            if self._sent.setdefault(scheduled, tick) != tick:
                _send(scheduled)
                self._sent[scheduled] = tick
        return min(_LONGEST_PAUSE_SECONDS, *(scheduled.seconds_left(now) for scheduled in self._tasks))

    def stand_by(self) -> float:
        self._sent.clear()
        return super().stand_by()


def _send(scheduled: ScheduledTask) -> None:
    try:
        current_app.send_task(
            scheduled.task,
            queue=scheduled.queue,
            expires=scheduled.expires_seconds,
            # The canary measures its round trip with this.
            headers={"sent_at": time.time()},
            retry=False,
        )
    except OperationalError as error:
        message = f"the broker does not answer: {error}"
        raise ServiceUnavailableError(message) from error
    log.debug("periodic_task_sent", task=scheduled.task)

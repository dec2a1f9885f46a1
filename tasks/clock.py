"""What is to be done now and then: a message for each periodic task, when its time has come."""

import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import structlog
from celery import current_app
from celery.exceptions import OperationalError

from operations.clock import database_now
from runtimes.exceptions import ServiceUnavailableError
from tasks.leadership import Leadership

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 5.0
_SHORTEST_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Periodic:
    """One periodic task. Its times are fixed for ever: every so many seconds, not all tasks at once."""

    task: str
    every_seconds: float
    expires_seconds: float
    queue: str

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        """From an entry of ``settings.RTM_SCHEDULE``."""
        return cls(**{**entry, "every_seconds": max(entry["every_seconds"], _SHORTEST_INTERVAL_SECONDS)})

    def tick(self, at: float) -> int:
        """The number of the last tick by this time, in seconds since the epoch. Pure."""
        return math.floor(self._ticks(at))

    def seconds_left(self, at: float) -> float:
        """From this time to the next tick. Pure."""
        return (self.tick(at) + 1 - self._ticks(at)) * self.every_seconds

    def _ticks(self, at: float) -> float:
        return at / self.every_seconds + zlib.crc32(self.task.encode()) / 2**32


class Clock:
    """Sends one message for each tick of each task. One process does it at a time.

    Who takes over begins with the next ticks; what came in between is left out, nothing is sent twice. While the
    broker is away, of each task one message waits for it.
    """

    name = "clock"

    def __init__(self, schedule: Mapping[str, Mapping[str, Any]], *, leadership: Leadership) -> None:
        self._tasks = [Periodic.read(entry) for entry in schedule.values()]
        self._leadership = leadership
        self._done: dict[Periodic, int] = {}

    def step(self) -> float:
        """See Loop. Raises ServiceUnavailableError when the broker does not take a message."""
        if not self._leadership.hold(asks_next=True):
            self._done.clear()
            return _LONGEST_PAUSE_SECONDS
        # By the clock of the database, so that ticks are the same whoever leads.
        now = database_now().timestamp()
        for one in self._tasks:
            tick = one.tick(now)
            # Also after a clock was set back: late is better than silent for as long as that.
            if self._done.setdefault(one, tick) != tick:
                _send(one)
                self._done[one] = tick
        return min(_LONGEST_PAUSE_SECONDS, *(one.seconds_left(now) for one in self._tasks))

    def reset(self) -> None:
        """See Loop. What is done is remembered: a leader that only lost its connection goes on where it was."""

    def close(self) -> None:
        """See Loop."""
        self._leadership.resign()


def _send(one: Periodic) -> None:
    try:
        current_app.send_task(
            one.task,
            queue=one.queue,
            expires=one.expires_seconds,
            # For those that want to know how long they were under way.
            headers={"sent_at": time.time()},
            retry=False,
        )
    except OperationalError as error:
        message = f"the broker does not answer: {error}"
        raise ServiceUnavailableError(message) from error
    log.debug("periodic_task_sent", task=one.task)

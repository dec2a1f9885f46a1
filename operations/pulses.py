"""Signs of life: the parts of the service that work without being asked leave one each time they have.

There is one row per name. Whoever reads them compares times of the database with each other, never with clocks of
processes.
"""

import json
import os
import socket
import time
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from operations.models import Pulse

# Often enough to tell of a loop that hangs within a minute, seldom enough to cost nothing.
_BEAT_EVERY_SECONDS = 5.0

_UPSERT = """
    INSERT INTO operations_pulse (name, who, beat_at, detail) VALUES (%s, %s, now(), %s)
        ON CONFLICT (name) DO UPDATE SET who = EXCLUDED.who, beat_at = EXCLUDED.beat_at, detail = EXCLUDED.detail
"""


class PulseName(StrEnum):
    """Whose life is told. The first six are loops, named like their leadership."""

    BRIDGE = "bridge"
    SWEEPER = "sweeper"
    RELAY = "relay"
    WATCHER = "watcher"
    PROBER = "prober"
    CLOCK = "clock"
    CANARY = "canary"
    RELIST = "relist"
    DOCKER_EVENT = "docker_event"


# There may be several workers, and each has a pulse of its own behind this.
WORKER_PREFIX = "worker:"
_LONGEST_NAME = 63
LOOPS = (
    PulseName.BRIDGE, PulseName.SWEEPER, PulseName.RELAY, PulseName.WATCHER, PulseName.PROBER, PulseName.CLOCK
)  # fmt: skip


def beat(name: str, **detail: Any) -> None:
    """Note that this happened now, by the clock of the database. One statement; the last one counts."""
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, [name, f"{socket.gethostname()}:{os.getpid()}", json.dumps(detail)])


def name_of_worker(worker: str) -> str:
    """The pulse of this worker (``host:pid``); of a long host name the end counts, where the pid is."""
    return WORKER_PREFIX + worker[len(WORKER_PREFIX) - _LONGEST_NAME :]


def forget(name: str) -> None:
    """Take a pulse away. Idempotent."""
    Pulse.objects.filter(name=name).delete()


def forget_older(prefix: str, *, age: timedelta) -> None:
    """Take away what begins so and has not beaten for so long. Idempotent."""
    Pulse.objects.filter(name__startswith=prefix, beat_at__lt=Now() - age).delete()


class SteadyPulse:
    """The pulse of something that happens far more often than anybody needs to know."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._next = 0.0

    def beat(self) -> bool:
        """Note it unless that was done a moment ago; returns whether the database was spoken to."""
        if time.monotonic() < self._next:
            return False
        beat(self.name)
        self._next = time.monotonic() + _BEAT_EVERY_SECONDS
        return True

"""Signs of life: the parts of the service that work without being asked leave one each time they have.

There is one row per name. Whoever reads them compares times of the database with each other, never with clocks of
processes.
"""

import json
import os
import socket
import time
from enum import StrEnum
from typing import Any

from django.db import connection

# Often enough to tell of a loop that hangs within a minute, seldom enough to cost nothing.
_BEAT_EVERY_SECONDS = 5.0

_UPSERT = """
    INSERT INTO operations_pulse (name, who, beat_at, detail) VALUES (%s, %s, now(), %s)
        ON CONFLICT (name) DO UPDATE SET who = EXCLUDED.who, beat_at = EXCLUDED.beat_at, detail = EXCLUDED.detail
"""


class PulseName(StrEnum):
    """Whose life is told. The first five are loops, named like their leadership."""

    BRIDGE = "bridge"
    SWEEPER = "sweeper"
    RELAY = "relay"
    WATCHER = "watcher"
    PROBER = "prober"
    CANARY = "canary"
    RELIST = "relist"
    DOCKER_EVENT = "docker_event"


LOOPS = (PulseName.BRIDGE, PulseName.SWEEPER, PulseName.RELAY, PulseName.WATCHER, PulseName.PROBER)


def beat(name: str, **detail: Any) -> None:
    """Note that this happened now, by the clock of the database. One statement; the last one counts."""
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, [name, f"{socket.gethostname()}:{os.getpid()}", json.dumps(detail)])


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

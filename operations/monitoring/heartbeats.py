"""Heartbeats: one row per loop, worker or periodic task, with the time of its last pass.

Times are those of the database. Readers compare them with each other, never with the clock of a process.
"""

import json
import os
import socket
import time
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from operations.models import Heartbeat

# Short enough to report a loop that hangs within a minute, long enough to cost nothing.
_INTERVAL_SECONDS = 5.0

_UPSERT = """
    INSERT INTO operations_heartbeat (name, process, seen_at, detail) VALUES (%s, %s, now(), %s)
        ON CONFLICT (name) DO UPDATE
           SET process = EXCLUDED.process, seen_at = EXCLUDED.seen_at, detail = EXCLUDED.detail
"""


class HeartbeatName(StrEnum):
    """Components that report heartbeats. The first six are loops; each name equals its leader-election key."""

    BRIDGE = "bridge"
    SWEEPER = "sweeper"
    RELAY = "relay"
    WATCHER = "watcher"
    PROBER = "prober"
    SCHEDULER = "scheduler"
    CANARY = "canary"
    FULL_RECONCILE = "full_reconcile"
    DOCKER_EVENT = "docker_event"


# There may be several workers. The heartbeat of each has this prefix.
WORKER_PREFIX = "worker:"
_LONGEST_NAME = 63
# Three to twelve times the interval of a loop or a worker.
_FRESH = timedelta(seconds=60)
LOOPS = tuple(HeartbeatName)[:6]


def record_heartbeat(name: str, **detail: Any) -> None:
    """Store the current time of the database for this name. One statement; it replaces the last heartbeat."""
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, [name, f"{socket.gethostname()}:{os.getpid()}", json.dumps(detail)])


def worker_heartbeat_name(worker: str) -> str:
    """The heartbeat name of this worker (``host:pid``). A long host name loses its beginning; the pid stays."""
    return WORKER_PREFIX + worker[len(WORKER_PREFIX) - _LONGEST_NAME :]


def delete(name: str) -> None:
    """Delete a heartbeat. Idempotent."""
    Heartbeat.objects.filter(name=name).delete()


def delete_older(prefix: str, *, age: timedelta) -> None:
    """Delete the heartbeats with this prefix that are older than ``age``. Idempotent."""
    Heartbeat.objects.filter(name__startswith=prefix, seen_at__lt=Now() - age).delete()


def running_processes() -> list[str]:
    """The loops and workers that have reported within the last minute, each as ``name (process)``."""
    rows = Heartbeat.objects.filter(
        Q(name__in=LOOPS) | Q(name__startswith=WORKER_PREFIX), seen_at__gte=Now() - _FRESH
    ).order_by("name")
    return [f"{name.partition(':')[0]} ({process})" for name, process in rows.values_list("name", "process")]


def live_workers() -> list[str]:
    """The workers that have reported within the last minute, as ``host:pid``."""
    rows = Heartbeat.objects.filter(name__startswith=WORKER_PREFIX, seen_at__gte=Now() - _FRESH).order_by("name")
    return [name.removeprefix(WORKER_PREFIX) for name in rows.values_list("name", flat=True)]


class ThrottledHeartbeat:
    """A heartbeat of something that happens more often than once in five seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._next = 0.0

    def record_heartbeat(self) -> bool:
        """Store the heartbeat unless the last one is new enough; return whether the database was called."""
        if time.monotonic() < self._next:
            return False
        record_heartbeat(self.name)
        self._next = time.monotonic() + _INTERVAL_SECONDS
        return True

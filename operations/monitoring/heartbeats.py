"""Heartbeats: one row per loop, worker or periodic task, with the time of its last pass.

Times are those of the database. Readers compare them with each other, never with the clock of a process.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q
from django.db.models.functions import Now

from operations.models import Heartbeat
from runtimes.process import shutting_down

log = structlog.get_logger(__name__)

# Short enough to report a loop that hangs within a minute, long enough to cost nothing.
_INTERVAL_SECONDS = 5.0

_UPSERT = """
    INSERT INTO operations_heartbeat (name, process, seen_at, detail) VALUES (%s, %s, now(), %s)
        ON CONFLICT (name) DO UPDATE
           SET process = EXCLUDED.process, seen_at = EXCLUDED.seen_at, detail = EXCLUDED.detail
"""


# Purpose: mark a component as stopped; the time of its last pass stays, because others need it. Locks: the row.
_STOP = """UPDATE operations_heartbeat SET detail = detail || '{"stopped": true}' WHERE name = %s"""


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


# There may be several workers and web processes. The heartbeat of each has one of these prefixes.
WORKER_PREFIX = "worker:"
WEB_PREFIX = "web:"
_LONGEST_NAME = 63
# Three to twelve times the interval of a loop or a worker.
_FRESH = timedelta(seconds=60)
LOOPS = tuple(HeartbeatName)[:6]
_PROCESS_INTERVAL_SECONDS = 15.0
_END_SECONDS = 5.0
_DELETE_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Process:
    """A running loop, worker or web process: its kind and ``host:pid``. An empty version or stack was not reported."""

    kind: str
    process: str
    version: str
    stack: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.process})"


def record_heartbeat(name: str, **detail: Any) -> None:
    """Store the current time of the database for this name. One statement; it replaces the last heartbeat."""
    facts = {**detail, "version": settings.RTM_VERSION, "stack": settings.RTMANAGER.stack}
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, [name, _this_process(), json.dumps(facts)])


def record_stop(name: str) -> None:
    """Record that the component has stopped as asked. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute(_STOP, [name])


class ProcessHeartbeat(threading.Thread):
    """Records a heartbeat of this process every 15 s, until it shuts down; then deletes it.

    ``detail`` returns additional values. Also deletes the heartbeats of processes with the same prefix that are older
    than an hour.
    """

    def __init__(self, prefix: str, *, detail: Callable[[], dict[str, Any]] = dict) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._prefix = prefix
        self._detail = detail

    def run(self) -> None:
        """Never raises."""
        _keep_recording(self._prefix, self._detail)

    def end(self) -> None:
        """Wait until the heartbeat of a process that shuts down is deleted, at most some seconds."""
        self.join(_END_SECONDS)


def _keep_recording(prefix: str, detail: Callable[[], dict[str, Any]]) -> None:
    name = prefix + _this_process()[len(prefix) - _LONGEST_NAME :]
    while True:
        try:
            record_heartbeat(name, **detail())
            delete_older(prefix, age=_DELETE_AFTER)
            if shutting_down.wait(_PROCESS_INTERVAL_SECONDS):
                delete(name)
                return
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            log.info("heartbeat_not_written", error=str(error).strip())
            if shutting_down.wait(_PROCESS_INTERVAL_SECONDS):
                return


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def delete(name: str) -> None:
    """Delete a heartbeat. Idempotent."""
    Heartbeat.objects.filter(name=name).delete()


def delete_older(prefix: str, *, age: timedelta) -> None:
    """Delete the heartbeats with this prefix that are older than ``age``. Idempotent."""
    Heartbeat.objects.filter(name__startswith=prefix, seen_at__lt=Now() - age).delete()


def running_processes() -> list[Process]:
    """The loops, workers and web processes that have reported within the last minute and were not stopped."""
    rows = Heartbeat.objects.filter(
        Q(name__in=LOOPS) | Q(name__startswith=WORKER_PREFIX) | Q(name__startswith=WEB_PREFIX),
        ~Q(detail__has_key="stopped"),
        seen_at__gte=Now() - _FRESH,
    ).order_by("name")
    return [
        Process(name.partition(":")[0], process, detail.get("version", ""), detail.get("stack", ""))
        for name, process, detail in rows.values_list("name", "process", "detail")
    ]


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

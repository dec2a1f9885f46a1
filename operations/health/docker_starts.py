"""The starts of the Docker daemon: recorded when first seen, queried when a container has exited."""

from datetime import timedelta

from django.db import connection

from operations.models import DaemonRun
from operations.monitoring.heartbeats import HeartbeatName
from runtimes.containers.base import Container, DockerPort
from runtimes.containers.exit_causes import DockerStart, exit_cause
from runtimes.states import EndedBy

# Enough for a host that reboots repeatedly while no worker runs.
_MAX_STARTS = 20

# The first process that sees a start records it. The watcher does so before its next heartbeat: its last one is from
# before the start.
_RECORD = """
    INSERT INTO operations_daemonrun (started_at, up_until)
    VALUES (%s, (SELECT seen_at FROM operations_heartbeat WHERE name = %s))
        ON CONFLICT (started_at) DO NOTHING
"""


def record_current(containers: DockerPort) -> None:
    """Ask the Docker daemon for its start time and record a new one. Raises ContainersUnavailableError.

    ``up_until`` becomes the last heartbeat of the watcher, which reports only while it is connected to Docker.
    """
    started_at = containers.daemon_started_at()
    if started_at is not None:
        with connection.cursor() as cursor:
            cursor.execute(_RECORD, [started_at, HeartbeatName.WATCHER])


def known_starts() -> list[DockerStart]:
    """The last starts, newest first."""
    rows = DaemonRun.objects.order_by("-started_at").values_list("started_at", "up_until")
    return [DockerStart(*row) for row in rows[:_MAX_STARTS]]


def find_cause(containers: DockerPort, seen: Container, *, stop_grace_seconds: int) -> EndedBy:
    """Return what ended this container, which does not run.

    Raises ContainersUnavailableError, also while Docker shuts down: the cause is known after its next start.
    """
    record_current(containers)
    return exit_cause(seen, known_starts(), stop_grace=timedelta(seconds=stop_grace_seconds))

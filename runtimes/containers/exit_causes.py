"""Decides why a container exited. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from runtimes.containers.base import Container
from runtimes.states import EndedBy

# The exit codes of SIGKILL and SIGTERM.
_KILLED, _TERMINATED = 128 + 9, 128 + 15
# Docker's shutdown waits for the containers before it closes the last connection, and clocks of hosts differ.
_SHUTDOWN_SLACK = timedelta(seconds=15)


def was_oom_killed(container: Container) -> bool:
    """Whether the kernel killed the container for lack of memory.

    Docker's flag alone is not enough: it also stays set if the kernel killed one process and the container ran on.
    """
    return container.oom_killed and container.exit_code == _KILLED


@dataclass(frozen=True, slots=True)
class DockerStart:
    """One start of Docker. ``up_until``: when the previous daemon was last seen running; None: never."""

    started_at: datetime
    up_until: datetime | None


def exit_cause(container: Container, starts: Iterable[DockerStart], *, stop_grace: timedelta) -> EndedBy:
    """The cause of the exit. ``stop_grace`` is the time of containers between SIGTERM and SIGKILL.

    An uncertain cause is never reported as a Docker restart.
    """
    if any(_ended_by_restart(container, start, tolerance=stop_grace + _SHUTDOWN_SLACK) for start in starts):
        return EndedBy.DOCKER_RESTARTED
    if was_oom_killed(container):
        return EndedBy.OUT_OF_MEMORY
    return EndedBy.KILLED if container.exit_code in {_KILLED, _TERMINATED} else EndedBy.EXITED


def _ended_by_restart(container: Container, start: DockerStart, *, tolerance: timedelta) -> bool:
    """Whether the container started before this start of Docker, and exited during the shutdown before it."""
    started_at, finished_at = container.started_at, container.finished_at
    if started_at is None or finished_at is None or start.up_until is None:
        return False
    return started_at < start.started_at and start.up_until - tolerance <= finished_at <= start.started_at

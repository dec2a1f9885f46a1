"""Followers of container logs in the web process, limited in number and closed when the caller disconnects."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime

from runtimes.containers.base import DockerPort
from runtimes.containers.types import LogEndedError, LogLine
from runtimes.exceptions import ServiceUnavailableError
from runtimes.process import shutting_down

# Each follower occupies one thread of the web process.
MAX_FOLLOWERS = 8
# A lost connection is only noticed by a write, so a silent log sends an empty batch this often.
HEARTBEAT_SECONDS = 5.0
# How soon a follower notices that the process shuts down.
_SLICE_SECONDS = 0.5
_slots = threading.BoundedSemaphore(MAX_FOLLOWERS)


class Follower:
    """The new lines of one container, in batches; an empty batch is a heartbeat.

    The iteration ends with the log, with ``close`` or with the process. It raises ContainersUnavailableError if the
    connection to Docker is lost. The constructor raises as ``DockerPort.follow_logs``, and ServiceUnavailableError if
    MAX_FOLLOWERS exist. The caller must call ``close``, even without iterating.
    """

    def __init__(self, containers: DockerPort, container_id: str, *, tail: int, since: datetime | None = None) -> None:
        if not _slots.acquire(blocking=False):
            raise ServiceUnavailableError(
                f"{MAX_FOLLOWERS} callers follow logs already; end one of them, or repeat the request without follow"
            )
        self._closed = threading.Lock()
        with ExitStack() as opened:
            opened.callback(_slots.release)
            self._feed = containers.follow_logs(container_id, since=since, tail=tail)
            opened.callback(self._feed.close)
            self._opened = opened.pop_all()

    def __iter__(self) -> Iterator[list[LogLine]]:
        return self

    def __next__(self) -> list[LogLine]:
        """Return the next lines, or an empty batch after HEARTBEAT_SECONDS without any."""
        silent_until = time.monotonic() + HEARTBEAT_SECONDS
        while not self._closed.locked() and not shutting_down.is_set():
            try:
                lines = self._feed.read(_SLICE_SECONDS)
            except LogEndedError:
                break
            if lines or time.monotonic() >= silent_until:
                return lines
        raise StopIteration

    def close(self) -> None:
        """End the subscription and free its slot. Idempotent."""
        # The lock is never released: it marks the follower as closed.
        if self._closed.acquire(blocking=False):
            self._opened.close()

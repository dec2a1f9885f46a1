"""Following a container's log from the web process: few at a time, and none that nobody listens to any more."""

import threading
import time
from collections.abc import Iterator
from datetime import datetime

from runtimes.containers.base import Containers
from runtimes.containers.telemetry import LogEndedError, LogLine
from runtimes.exceptions import ServiceUnavailableError

# Each follower holds one of the web process's threads for as long as it likes.
MAX_FOLLOWERS = 8
# A caller that has gone without a word is noticed when something is written to it.
HEARTBEAT_SECONDS = 5.0
# How soon a follower notices that the process ends.
_SLICE_SECONDS = 0.5
_places = threading.BoundedSemaphore(MAX_FOLLOWERS)
_closing = threading.Event()


class Follower:
    """The lines of one container as they come, in batches; an empty batch is a sign of life.

    Iterating ends with the log, with ``close`` or with the process, and raises ContainersUnavailableError when the
    log breaks off. Raises as ``Containers.follow_logs``, and ServiceUnavailableError when MAX_FOLLOWERS are at it.
    Whoever made it closes it, also without having iterated.
    """

    def __init__(self, containers: Containers, container_id: str, *, tail: int, since: datetime | None = None) -> None:
        if not _places.acquire(blocking=False):
            message = f"{MAX_FOLLOWERS} callers follow logs already; end one, or ask again without follow"
            raise ServiceUnavailableError(message)
        self._place = threading.Lock()
        try:
            self._feed = containers.follow_logs(container_id, since=since, tail=tail)
        except BaseException:
            _places.release()
            raise

    def __iter__(self) -> Iterator[list[LogLine]]:
        return self

    def __next__(self) -> list[LogLine]:
        """The next lines, or none after HEARTBEAT_SECONDS of silence."""
        silent_until = time.monotonic() + HEARTBEAT_SECONDS
        while not self._place.locked() and not _closing.is_set():
            try:
                lines = self._feed.read(_SLICE_SECONDS)
            except LogEndedError:
                break
            if lines or time.monotonic() >= silent_until:
                return lines
        raise StopIteration

    def close(self) -> None:
        """End the subscription and give the place to others. Idempotent."""
        # Never released: once closed, closed.
        if self._place.acquire(blocking=False):
            self._feed.close()
            _places.release()


def stop_following() -> None:
    """From now on nobody follows in this process: its end does not wait for games to end."""
    _closing.set()


def resume_following() -> None:
    """Undo ``stop_following``, for a process that goes on after all."""
    _closing.clear()

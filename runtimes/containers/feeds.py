"""Reading a source that blocks, such as an event stream over HTTP, with time limits."""

import queue
import threading
from collections.abc import Iterator
from typing import Protocol

from runtimes.containers.base import ContainerEvent, ContainersUnavailableError


class EventSource(Protocol):
    """One subscription. ``close`` may come from another thread and makes the iteration end, in whatever way."""

    def open(self) -> None:
        """Subscribe. Raises ContainersUnavailableError."""

    def __iter__(self) -> Iterator[ContainerEvent]:
        """The events until the subscription ends. Raises ContainersUnavailableError."""

    def close(self) -> None:
        """End the subscription."""


class ThreadedFeed:
    """An EventFeed over a blocking source: a thread takes the events off it, the reader waits as long as it likes.

    Returns when the source is open. Raises ContainersUnavailableError when it did not open within ``open_seconds``.
    ``ended`` is what a reader gets when the source just ends, as Docker's does when the daemon dies.
    """

    def __init__(self, source: EventSource, *, open_seconds: float, ended: ContainersUnavailableError) -> None:
        self._source = source
        self._received: queue.SimpleQueue[ContainerEvent | None] = queue.SimpleQueue()
        self._tried = threading.Event()
        self._is_open = False
        self._failure: ContainersUnavailableError | None = None
        self._ended = ended
        threading.Thread(target=self._pump, name="container-events", daemon=True).start()
        if not self._tried.wait(open_seconds) or not self._is_open:
            self.close()
            raise self._failure or ended

    def read(self, timeout_seconds: float) -> list[ContainerEvent]:
        """Wait for the first event, then take all that are there."""
        events: list[ContainerEvent] = []
        try:
            event = self._received.get(timeout=timeout_seconds)
            while event is not None:
                events.append(event)
                event = self._received.get_nowait()
        except queue.Empty:
            return events
        # The mark of the end stays for the next read, so that what was received before it is not lost.
        self._received.put(None)
        if not events:
            raise self._failure or self._ended
        return events

    def close(self) -> None:
        """End the subscription and with it the thread."""
        self._source.close()

    def _pump(self) -> None:
        try:
            self._source.open()
            self._is_open = True
            self._tried.set()
            for event in self._source:
                self._received.put(event)
        except ContainersUnavailableError as error:
            self._failure = error
        finally:
            self._received.put(None)
            self._tried.set()

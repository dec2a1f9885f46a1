"""Reading a source that blocks, such as an event stream over HTTP, with time limits."""

import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from runtimes.containers.base import ContainersUnavailableError
from runtimes.exceptions import RuntimeManagerError

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Source(Protocol[Item_co]):
    """One subscription. ``close`` may come from another thread and makes the iteration end, in whatever way."""

    def open(self) -> None:
        """Subscribe. Raises ContainersUnavailableError, or what else the port promises."""

    def __iter__(self) -> Iterator[Item_co]:
        """The items until the subscription ends. Raises ContainersUnavailableError."""

    def close(self) -> None:
        """End the subscription."""


class ThreadedFeed(Generic[Item]):
    """A feed over a blocking source: a thread takes the items off it, the reader waits as long as it likes.

    Returns when the source is open. Raises ``silent`` when it did not open within ``open_seconds``. ``ended`` is
    what a reader gets when the source just ends. With ``capacity`` items unread, no more are taken off the source.
    """

    def __init__(
        self,
        source: Source[Item],
        *,
        open_seconds: float,
        silent: ContainersUnavailableError,
        ended: RuntimeManagerError,
        capacity: int = sys.maxsize,
    ) -> None:
        self._source = source
        self._capacity = capacity
        self._unread: deque[Item] = deque()
        self._changed = threading.Condition()
        self._is_open = self._is_closed = self._is_over = False
        self._failure: RuntimeManagerError | None = None
        self._ended = ended
        threading.Thread(target=self._pump, name="container-feed", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._is_open or self._is_over, open_seconds)
            has_opened = self._is_open
        if not has_opened:
            self.close()
            raise self._failure or silent

    def read(self, timeout_seconds: float) -> list[Item]:
        """Wait for the first item, then take all that are there."""
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._is_over, timeout_seconds)
            items = list(self._unread)
            self._unread.clear()
            self._changed.notify_all()
            if not items and self._is_over:
                raise self._failure or self._ended
            return items

    def close(self) -> None:
        """End the subscription and with it the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._source.close()

    def _pump(self) -> None:
        try:
            self._source.open()
            with self._changed:
                self._is_open = True
                self._changed.notify_all()
            if self._is_closed:
                # Closed while it was being opened, and so before there was anything to close.
                self._source.close()
                return
            for item in self._source:
                if not self._take_in(item):
                    return
        except RuntimeManagerError as error:
            self._failure = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _take_in(self, item: Item) -> bool:
        """Put it to the others as soon as there is room; False when nobody reads any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._unread) < self._capacity)
            self._unread.append(item)
            self._changed.notify_all()
            return not self._is_closed

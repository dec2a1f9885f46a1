"""Endless responses of Docker, read with timeouts: events, and the log of a container while it is written."""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from docker.errors import DockerException
from docker.types import CancellableStream

from runtimes.containers.base import ContainerEvent
from runtimes.containers.docker.client import (
    SDK_ERRORS,
    BoundedClient,
    chunks_of,
    container_errors,
    error_of,
    unavailable,
)
from runtimes.containers.docker.log_parser import parse_log
from runtimes.containers.docker.payloads import event_from_json
from runtimes.containers.types import LogLine
from runtimes.exceptions import RuntimeManagerError

Item = TypeVar("Item")
# The items of a response, and what closes its connection.
Response = tuple[Iterator[Item], "CancellableStream[Any]"]


class Subscription(Generic[Item]):
    """A feed over an endless response: a thread reads the response, and ``read`` waits with a timeout.

    The constructor returns when Docker has responded. It raises what ``request`` raises, or ContainersUnavailableError
    after ``open_seconds``. ``read`` raises ``end_error`` when the response has ended. The thread pauses while
    ``capacity`` items are unread. ``close`` also closes the client.
    """

    def __init__(  # noqa: PLR0913 (all different in kind)
        self,
        client: BoundedClient,
        request: Callable[[BoundedClient], Response[Item]],
        *,
        what: str,
        open_seconds: float,
        end_error: RuntimeManagerError,
        capacity: int = sys.maxsize,
    ) -> None:
        self._client = client
        self._request = request
        self._what = what
        self._end_error = end_error
        self._capacity = capacity
        self._connection: CancellableStream[Any] | None = None
        self._unread: deque[Item] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._end: RuntimeManagerError | None = None
        threading.Thread(target=self._read_loop, name="container-feed", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._connection or self._end, open_seconds)
            has_responded = self._connection is not None
        if not has_responded:
            self.close()
            raise self._end or unavailable(client.docker_host, what, "it did not respond in time")

    def read(self, timeout_seconds: float) -> list[Item]:
        """Wait for the first item, then return all received items."""
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._end, timeout_seconds)
            items = list(self._unread)
            self._unread.clear()
            self._changed.notify_all()
            if not items and self._end:
                raise self._end
            return items

    def close(self) -> None:
        """End the subscription and its thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        # The SDK reaches the socket through three layers, each of which may already be closed.
        with suppress(OSError, AttributeError, DockerException):
            if self._connection is not None:
                self._connection.close()
        self._client.close()

    def _read_loop(self) -> None:
        end = self._end_error
        try:
            self._receive()
        except RuntimeManagerError as error:
            end = error
        except SDK_ERRORS as error:
            end = error_of(self._client.docker_host, self._what, error)
        except AttributeError:
            # A read fails in one of the SDK's layers if another thread closes its socket.
            if not self._is_closed:
                raise
        finally:
            with self._changed:
                self._end = end
                self._changed.notify_all()

    def _receive(self) -> None:
        items, connection = self._request(self._client)
        with self._changed:
            self._connection = connection
            self._changed.notify_all()
        if self._is_closed:
            # ``close`` was called before there was a connection to close.
            self.close()
            return
        for item in items:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or len(self._unread) < self._capacity)
                if self._is_closed:
                    return
                self._unread.append(item)
                self._changed.notify_all()


def request_events(client: BoundedClient, *, filters: dict[str, list[str]], since_ns: int) -> Response[ContainerEvent]:
    """The events of the containers that match the filters."""
    since = f"{since_ns // 10**9}.{since_ns % 10**9:09d}"
    # The SDK's type hints allow whole seconds only; Docker accepts fractions.
    stream: Any = client.events(since=since, filters=filters, decode=True)  # type: ignore[call-overload]
    return (event for event in map(event_from_json, stream) if event is not None), stream


def request_log(client: BoundedClient, container_id: str, query: Mapping[str, Any]) -> Response[LogLine]:
    """The new log lines of one container."""
    with container_errors(container_id):
        response = client.open(f"/containers/{container_id}/logs", query)
    # Only used to close the connection: it would report a lost connection as the end of the log.
    return parse_log(chunks_of(response)), CancellableStream(iter(()), response)

"""Answers of the Docker engine that have no end: its events, and the log of a container as it is written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from docker.errors import APIError, DockerException
from docker.types import CancellableStream

from runtimes.containers.base import ContainerEvent
from runtimes.containers.docker_client import (
    NO_ANSWER,
    BoundedClient,
    chunks_of,
    of_container,
    root_cause,
    unavailable,
    words_of,
)
from runtimes.containers.logs import LogParser
from runtimes.containers.payloads import event_from_json
from runtimes.containers.telemetry import LogLine

# Ends a subscription that nobody closed and whose engine has gone without a word.
EVENT_SILENCE_SECONDS = 120.0
# An engine program may well say nothing for a day; whoever follows it closes the subscription.
LOG_SILENCE_SECONDS = 24 * 3600.0

Item = TypeVar("Item")


class _Subscription(Generic[Item]):
    """An answer without an end. Every error of the SDK that comes through here says that nothing more is known."""

    def __init__(self, docker_host: str, *, version: str, what: str, silence_seconds: float) -> None:
        self.what = what
        self._docker_host = docker_host
        self._client = BoundedClient(docker_host, version=version, timeout=silence_seconds)
        self._stream: Any = None
        self._is_closed = False

    def open(self) -> None:
        with self._translating():
            self._stream = self._ask()

    def __iter__(self) -> Iterator[Item]:
        with self._translating():
            yield from self._items()

    def close(self) -> None:
        self._is_closed = True
        # The SDK reaches through three layers for the socket, any of which may be closed already.
        with suppress(OSError, AttributeError, DockerException):
            if self._stream is not None:
                self._stream.close()
        self._client.close()

    def _ask(self) -> Any:
        raise NotImplementedError  # what a subscription asks for

    def _items(self) -> Iterator[Item]:
        raise NotImplementedError  # what it makes of the answer

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except APIError as error:
            raise unavailable(self._docker_host, self.what, words_of(error)) from error
        except NO_ANSWER as error:
            raise unavailable(self._docker_host, self.what, root_cause(error)) from error
        except AttributeError:
            # A read under way whose socket another thread has taken away fails in any of the layers.
            if not self._is_closed:
                raise


class EventSource(_Subscription[ContainerEvent]):
    """What happens to the containers that the filters let through."""

    def __init__(self, docker_host: str, *, version: str, filters: dict[str, list[str]], since_ns: int) -> None:
        super().__init__(docker_host, version=version, what="tell events", silence_seconds=EVENT_SILENCE_SECONDS)
        self._filters = filters
        self._since = f"{since_ns // 10**9}.{since_ns % 10**9:09d}"

    def _ask(self) -> Any:
        # The SDK's hints know whole seconds only; the engine takes fractions.
        return self._client.events(since=self._since, filters=self._filters, decode=True)  # type: ignore[call-overload]

    def _items(self) -> Iterator[ContainerEvent]:
        events = (event_from_json(raw) for raw in self._stream)
        return (event for event in events if event is not None)


class LogSource(_Subscription[LogLine]):
    """What one container writes."""

    def __init__(self, docker_host: str, container_id: str, *, version: str, query: Mapping[str, Any]) -> None:
        what = f"tell the log of container {container_id}"
        super().__init__(docker_host, version=version, what=what, silence_seconds=LOG_SILENCE_SECONDS)
        self._container_id = container_id
        self._query = query
        self._answer: Any = None

    def _ask(self) -> Any:
        with of_container(self._container_id):
            self._answer = self._client.open(f"/containers/{self._container_id}/logs", self._query)
        # Not read through: it takes a connection that breaks for an end.
        return CancellableStream(iter(()), self._answer)

    def _items(self) -> Iterator[LogLine]:
        parser = LogParser()
        for chunk in chunks_of(self._answer):
            yield from parser.feed(chunk)
        yield from parser.finish()

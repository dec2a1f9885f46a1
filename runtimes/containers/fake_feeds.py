"""The feeds of the fake adapter, over its engine in memory."""

from runtimes.containers.base import ContainerEvent, ContainersUnavailableError
from runtimes.containers.fake_engine import FakeEngine
from runtimes.containers.telemetry import LogEndedError, LogLine


class FakeFeed:
    """An EventFeed on a FakeEngine."""

    def __init__(self, engine: FakeEngine, stack: str, since_ns: int) -> None:
        self._engine = engine
        self._stack = stack
        self._since_ns = since_ns
        self._position = 0
        self._generation = engine.generation

    def read(self, timeout_seconds: float) -> list[ContainerEvent]:
        """Wait for the first event, then take all that are there."""
        with self._engine.changed:
            self._engine.changed.wait_for(lambda: self._has_ended() or self._unread(), timeout_seconds)
            events = self._unread()
            self._position = len(self._engine.history)
            if not events and self._has_ended():
                message = "the fake engine ended the event stream"
                raise ContainersUnavailableError(message)
            return events

    def close(self) -> None:
        """End the subscription."""
        self._generation = -1

    def _has_ended(self) -> bool:
        return self._generation != self._engine.generation

    def _unread(self) -> list[ContainerEvent]:
        return [
            event
            for event, container in self._engine.history[self._position :]
            if event.time_ns >= self._since_ns and container.is_owned_by(self._stack)
        ]


class FakeLogFeed:
    """A LogFeed on a FakeEngine, beginning with some lines of before."""

    def __init__(self, engine: FakeEngine, container_id: str, earlier: list[LogLine]) -> None:
        self._engine = engine
        self._container_id = container_id
        self._earlier = earlier
        self._position = len(engine.logs[container_id])
        self._generation = engine.generation
        self._is_closed = False

    def read(self, timeout_seconds: float) -> list[LogLine]:
        """Wait for the first line, then take all that are there."""
        with self._engine.changed:
            self._engine.changed.wait_for(lambda: self._is_over() or self._unread(), timeout_seconds)
            lines, self._earlier = self._unread(), []
            self._position = len(self._engine.logs[self._container_id])
            if not lines and self._is_over():
                raise self._end()
            return lines

    def close(self) -> None:
        """End the subscription."""
        with self._engine.changed:
            self._is_closed = True
            self._engine.changed.notify_all()

    def _unread(self) -> list[LogLine]:
        return [*self._earlier, *self._engine.logs[self._container_id][self._position :]]

    def _is_over(self) -> bool:
        container = self._engine.containers.get(self._container_id)
        is_dead = container is None or not container.is_alive
        return is_dead or self._is_closed or self._generation != self._engine.generation

    def _end(self) -> LogEndedError | ContainersUnavailableError:
        if self._generation != self._engine.generation:
            return ContainersUnavailableError("the fake engine ended the log")
        return LogEndedError(f"the log of container {self._container_id[:12]} has ended")

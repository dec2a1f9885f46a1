"""The reading half of the Docker port, through a worker: for the web process, which has no access to Docker."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

from operations.dispatch import READS_QUEUE, send
from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainersUnavailableError,
    Image,
    NoSuchContainerError,
    NotObservedError,
)
from runtimes.containers.types import (
    ContainerStats,
    DockerInfo,
    HostCapacity,
    LogEndedError,
    LogLine,
)
from runtimes.formatting import short_id
from tasks.docker_reads import TASK_NAME, Reply, result_of
from tasks.streams.base import StreamRefusedError, StreamsUnavailableError
from tasks.streams.redis.replies import RedisReplies

# A worker that is free answers within milliseconds after Docker.
_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.5
# Lines per poll. A game that writes more between two polls loses the oldest of them, and a line says so.
_POLLED_LINES = 2000

Send = Callable[[list[Any], float], bool]


def send_to_worker(arguments: list[Any], seconds: float) -> bool:
    """Send the request to any worker; return whether Redis took it. Expires after this time."""
    return send(TASK_NAME, arguments, queue=READS_QUEUE, expires_seconds=seconds)


class RemoteDocker:
    """Asks a worker. Each call raises what the port raises, and NotObservedError if no worker answers in time.

    Methods that change something do not exist.
    """

    def __init__(self, send: Send = send_to_worker) -> None:
        self._replies = RedisReplies()
        self._send = send
        self._deadline: float | None = None

    @classmethod
    def from_settings(cls) -> Self:
        return cls()

    def ping(self) -> None:
        self._read("ping")

    def docker_info(self) -> DockerInfo:
        info: DockerInfo = self._read("docker_info")
        return info

    def daemon_started_at(self) -> datetime | None:
        started_at: datetime | None = self._read("daemon_started_at")
        return started_at

    def host_capacity(self) -> HostCapacity | None:
        capacity: HostCapacity | None = self._read("host_capacity")
        return capacity

    def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:
        exists: bool = self._read("network_exists", name=name, fresh_seconds=fresh_seconds)
        return exists

    def find(self, name_or_id: str) -> Container | None:
        container: Container | None = self._read("find", name_or_id=name_or_id)
        return container

    def list_by_ids(self, container_ids: Sequence[str]) -> list[Container]:
        containers: list[Container] = self._read("list_by_ids", container_ids=list(container_ids))
        return containers

    def list_owned(self, stack: str, *, game_id: str = "") -> list[Container]:
        containers: list[Container] = self._read("list_owned", stack=stack, game_id=game_id)
        return containers

    def inspect(self, container_id: str) -> ContainerDetails:
        details: ContainerDetails = self._read("inspect", container_id=container_id)
        return details

    def logs(self, container_id: str, *, tail: int, since: datetime | None = None) -> Sequence[LogLine]:
        text = since.isoformat() if since else None
        lines: Sequence[LogLine] = self._read("logs", container_id=container_id, tail=tail, since=text)
        return lines

    def follow_logs(self, container_id: str, *, since: datetime | None = None, tail: int = 0) -> "PolledLog":
        # At least one line: its time is where the new ones begin.
        lines = self.logs(container_id, tail=max(1, tail), since=since)
        return PolledLog(self, container_id, lines, is_delivered=not tail)

    def stats(self, container_id: str) -> ContainerStats:
        stats: ContainerStats = self._read("stats", container_id=container_id)
        return stats

    def find_image(self, image_ref: str) -> Image | None:
        image: Image | None = self._read("find_image", image_ref=image_ref)
        return image

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def close(self) -> None:
        """Close nothing: the connections belong to the process."""

    def _read(self, method: str, **arguments: Any) -> Any:
        seconds = _ANSWER_SECONDS if self._deadline is None else self._deadline - time.monotonic()
        if seconds <= 0:
            message = "Docker did not answer in time: earlier calls took the whole time"
            raise ContainersUnavailableError(message)
        read_id = uuid.uuid4().hex
        # The worker gives up first, so that its report about a Docker that hangs still arrives, and the caller last.
        if not self._send([read_id, method, arguments, 0.8 * seconds], seconds):
            message = "not observed: Redis takes no message for the workers"
            raise NotObservedError(message)
        try:
            reply = self._replies.wait(read_id, seconds=0.9 * seconds)
        except (StreamsUnavailableError, StreamRefusedError) as error:
            message = f"not observed: the answer of a worker does not arrive. {error.message}"
            raise NotObservedError(message) from error
        if reply is None:
            message = f"not observed: no worker answered within {seconds:.0f} s; check that one runs and has free slots"
            raise NotObservedError(message)
        return result_of(Reply.model_validate_json(reply), method)


class PolledLog:
    """The new lines of one container: a LogFeed that asks again and again, so that no worker is occupied meanwhile."""

    def __init__(
        self, docker: RemoteDocker, container_id: str, lines: Sequence[LogLine], *, is_delivered: bool
    ) -> None:
        self._docker = docker
        self._container_id = container_id
        self._unread = [] if is_delivered else list(lines)
        self._closed = threading.Event()
        self._is_last_poll = False
        self._since = lines[-1].at if lines else None
        # Several lines may have the time of the last one, and a poll returns them again.
        self._known = Counter(line for line in lines if line.at == self._since)

    def read(self, timeout_seconds: float) -> list[LogLine]:
        deadline = time.monotonic() + timeout_seconds
        while not self._closed.is_set():
            if lines := self._unread or self._poll():
                self._unread = []
                return lines
            if (left := deadline - time.monotonic()) <= 0:
                return []
            self._closed.wait(min(left, _POLL_SECONDS))
        raise self._ended()

    def close(self) -> None:
        self._closed.set()

    def _poll(self) -> list[LogLine]:
        try:
            lines = self._docker.logs(self._container_id, tail=_POLLED_LINES, since=self._since)
        except NoSuchContainerError:
            raise self._ended() from None
        known, fresh = Counter(self._known), []
        for line in lines:
            if known[line]:
                known[line] -= 1
            else:
                fresh.append(line)
        if fresh:
            self._since = fresh[-1].at
            self._known = Counter(line for line in lines if line.at == self._since)
            return [*self._gap(lines), *fresh]
        if self._is_last_poll:
            raise self._ended()
        container = self._docker.find(self._container_id)
        # It may have written more before it ended: read once more.
        self._is_last_poll = container is None or not container.is_alive
        return []

    @staticmethod
    def _gap(lines: Sequence[LogLine]) -> list[LogLine]:
        if len(lines) < _POLLED_LINES:
            return []
        return [LogLine(lines[0].at, "stderr", "(lines skipped: the game writes faster than the log is read)")]

    def _ended(self) -> LogEndedError:
        return LogEndedError(f"the log of container {short_id(self._container_id)} has ended")

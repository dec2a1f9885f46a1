"""The Docker daemon in memory behind the fake adapters. Its state is public: tests arrange it and assert on it."""

import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from runtimes.container_spec import ContainerSpec
from runtimes.containers.base import (
    Container,
    ContainerEvent,
    ContainerStartFailedError,
    ContainerState,
    ContainersUnavailableError,
    EventAction,
)
from runtimes.containers.types import HostCapacity, LogLine

KILLED = 128 + 9
TERMINATED = 128 + 15
# The address of every running container: a test may run a game engine there.
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class FakeImage:
    """An image and how its containers behave: exit at start with ``exit_code``, cannot start, ignore SIGTERM.

    ``log_lines`` are written at each start, as pairs of stream and line.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    refuses_start: bool = False
    ignores_sigterm: bool = False
    log_lines: Sequence[tuple[str, str]] = ()
    volumes: Sequence[str] = ()
    id: str = field(default_factory=lambda: f"sha256:{secrets.token_hex(32)}")


class FakeDocker:
    """A Docker daemon in memory. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # The feeds wait for ``changed``. A new ``generation`` ends all earlier subscriptions.
        self.changed = threading.Condition(self.lock)
        self._last_event_ns = 0
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """Reset to an empty daemon that responds."""
        with self.lock:
            self.images: dict[str, FakeImage] = {}
            # Images without a reference that containers still use.
            self.untagged: list[FakeImage] = []
            self.registry: dict[str, FakeImage] = {}
            self.networks: set[str] = set()
            self.capacity: HostCapacity | None = HostCapacity(cpus=2, memory_bytes=4 * 1024**3)
            self.containers: dict[str, Container] = {}
            self.specs: dict[str, ContainerSpec] = {}
            self.image_of: dict[str, FakeImage] = {}
            self.history: list[tuple[ContainerEvent, Container]] = []
            self.logs: dict[str, list[LogLine]] = defaultdict(list)
            # Containers whose log driver stores nothing.
            self.without_logs: set[str] = set()
            # Containers that cannot be removed, for example because of an immutable file in their directory.
            self.unremovable: set[str] = set()
            self.calls: Counter[str] = Counter()
            self.generation += 1
            # None: a daemon that does not report its start.
            self.started_at: datetime | None = datetime.now(UTC)
            self._is_away = False
            self._hooks: dict[str, list[tuple[int, Callable[[], None]]]] = defaultdict(list)
            self._failures: dict[tuple[str, str], list[BaseException]] = defaultdict(list)

    def disconnect(self) -> None:
        """Let every call raise ContainersUnavailableError without an effect, and end the subscriptions."""
        self._is_away = True
        self.end_subscriptions()

    def reconnect(self) -> None:
        """Respond again, with unchanged state."""
        self._is_away = False

    def restart(self, *, live_restore: bool = False, exit_code: int = TERMINATED) -> None:
        """Restart the daemon. Without ``live_restore``, every running container exits."""
        with self.lock:
            self.disconnect()
            running = [container.id for container in self.containers.values() if container.is_alive]
            if not live_restore:
                for container_id in running:
                    self.exit(container_id, exit_code=exit_code)
            if not (live_restore and running):
                self.started_at = datetime.now(UTC)
            self.reconnect()

    def fail_before(self, method: str, error: BaseException) -> None:
        """Let the next call of this method raise the error instead of taking effect."""
        self._failures["before", method].append(error)

    def fail_after(self, method: str, error: BaseException) -> None:
        """Let the next successful call of this method raise the error after its effect, like a lost response."""
        self._failures["after", method].append(error)

    def on_call(self, method: str, then: Callable[[], None], *, skip: int = 0) -> None:
        """Call ``then`` right after the effect of the next call of this method, or ``skip`` calls later."""
        self._hooks[method].append((self.calls[method] + skip + 1, then))

    def image(self, reference_or_id: str) -> FakeImage | None:
        """The local image with this reference or full id, or None."""
        by_id = {image.id: image for image in [*self.images.values(), *self.untagged]}
        return self.images.get(reference_or_id) or by_id.get(reference_or_id)

    def untag(self, image_ref: str) -> FakeImage:
        """Remove a reference, like ``docker rmi`` while containers use the image; returns the image."""
        with self.lock:
            image = self.images.pop(image_ref)
            self.untagged.append(image)
            return image

    def add(self, spec: ContainerSpec, *, image: FakeImage) -> str:
        """Add a created container, of any owner; returns its id."""
        with self.lock:
            container = Container(
                id=secrets.token_hex(32),
                name=spec.name,
                state=ContainerState.CREATED,
                image_id=image.id,
                image_ref=spec.image,
                labels={**image.labels, **spec.labels},
            )
            self.containers[container.id] = container
            self.specs[container.id] = spec
            self.image_of[container.id] = image
            return container.id

    def start(self, container: Container) -> None:
        """Start a container, which behaves as its image says. Idempotent."""
        if container.is_alive:
            return
        if container.id in self.unremovable:
            raise ContainerStartFailedError(f"container {container.id} could not be started: it is marked for removal")
        image, spec = self.image_of[container.id], self.specs[container.id]
        addresses = {spec.network: ADDRESS}
        if image.refuses_start or spec.network not in self.networks:
            why = "its command cannot run" if image.refuses_start else f"network {spec.network} not found"
            raise ContainerStartFailedError(f"container {container.id} could not be started: {why}")
        running = replace(container, state=ContainerState.RUNNING, exit_code=0, started_at=datetime.now(UTC))
        self.containers[container.id] = replace(running, finished_at=None, oom_killed=False, addresses=addresses)
        self._emit(container.id, EventAction.START)
        for stream, line in image.log_lines:
            self.write_log(container.id, line, stream=stream)
        if image.exit_code is not None:
            self.exit(container.id, exit_code=image.exit_code)

    def exit(self, container_id: str, *, exit_code: int, oom_killed: bool = False) -> None:
        """Let a container exit, with any exit code."""
        with self.lock:
            self.containers[container_id] = replace(
                self.containers[container_id],
                state=ContainerState.EXITED,
                exit_code=exit_code,
                oom_killed=oom_killed,
                finished_at=datetime.now(UTC),
                addresses={},
            )
            self.changed.notify_all()
            if oom_killed:
                self._emit(container_id, EventAction.OOM)
            self._emit(container_id, EventAction.DIE)

    def end_and_restart(self, container_id: str, *, exit_code: int, oom_killed: bool = False) -> None:
        """Let a container exit and start again immediately, like a restart policy."""
        with self.lock:
            self.exit(container_id, exit_code=exit_code, oom_killed=oom_killed)
            ended = self.containers[container_id]
            self.start(ended)
            restarted, count = self.containers[container_id], ended.restart_count + 1
            # Like Docker, which still reports when the previous run ended.
            self.containers[container_id] = replace(restarted, restart_count=count, finished_at=ended.finished_at)

    def write_log(self, container_id: str, line: str, *, stream: str = "stdout") -> None:
        """Let the game engine of a container write one log line."""
        with self.changed:
            self.logs[container_id].append(LogLine(datetime.now(UTC), stream, line))
            self.changed.notify_all()

    def oom_kill_child(self, container_id: str) -> None:
        """Let the kernel kill a process of a container that keeps running."""
        self._emit(container_id, EventAction.OOM)

    def block_removal(self, container_id: str) -> None:
        """Leave a container in the state "dead", and listed as "removing" forever, like Docker 20.10."""
        with self.lock:
            if self.containers[container_id].is_alive:
                self.exit(container_id, exit_code=KILLED)
            self.unremovable.add(container_id)
            self.containers[container_id] = replace(self.containers[container_id], state=ContainerState.DEAD)

    def remove_externally(self, container_id: str) -> None:
        """Remove a container without RTM."""
        with self.lock:
            if self.containers[container_id].is_alive:
                self.exit(container_id, exit_code=KILLED)
            self._emit(container_id, EventAction.DESTROY)
            del self.containers[container_id]

    def end_subscriptions(self) -> None:
        """End every feed without an error message, like a daemon that dies."""
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def _emit(self, container_id: str, action: EventAction) -> None:
        with self.changed:
            # Always later than the previous event, even with a coarse clock.
            self._last_event_ns = max(time.time_ns(), self._last_event_ns + 1)
            container = self.containers[container_id]
            exit_code = container.exit_code if action == EventAction.DIE else None
            event = ContainerEvent(container_id, container.game_id, action, self._last_event_ns, exit_code)
            self.history.append((event, container))
            self.changed.notify_all()

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        """Wrap each call of the port: count it, and raise the planned failures."""
        with self.lock:
            self.calls[method] += 1
            if self._is_away:
                raise ContainersUnavailableError("the fake Docker is away")
            self._raise_planned("before", method)
            yield
            for due, then in self._hooks[method]:
                if due == self.calls[method]:
                    then()
            self._raise_planned("after", method)

    def _raise_planned(self, when: str, method: str) -> None:
        if planned := self._failures[when, method]:
            raise planned.pop(0)

"""The engine in memory on which the fake adapters work; what it holds is public, for tests to arrange and to ask."""

import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from runtimes.containers.base import (
    Container,
    ContainerEvent,
    ContainerStartFailedError,
    ContainerState,
    ContainersUnavailableError,
    EventAction,
)
from runtimes.containers.telemetry import LogLine
from runtimes.specs import ContainerSpec

KILLED = 128 + 9
TERMINATED = 128 + 15
# Where the containers that run say they are reached: a test may put an engine there.
ADDRESS = "127.0.0.1"


def _new_id() -> str:
    return secrets.token_hex(32)


def _new_image_id() -> str:
    return f"sha256:{_new_id()}"


@dataclass(frozen=True, slots=True)
class FakeImage:
    """An image and how a container of it behaves: dies at once with a code, cannot start, ignores SIGTERM.
    ``says`` is what it writes at its start: stream and line.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    exits_with: int | None = None
    refuses_start: bool = False
    ignores_term: bool = False
    says: Sequence[tuple[str, str]] = ()
    id: str = field(default_factory=_new_image_id)


class FakeEngine:
    """A container engine in memory: what it holds is public, to be arranged and asserted on. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # What the feeds wait for and compare: something happened; all subscriptions of before have ended.
        self.changed = threading.Condition(self.lock)
        self._last_event_ns = 0
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """Back to an empty engine that answers."""
        with self.lock:
            self.images: dict[str, FakeImage] = {}
            self.registry: dict[str, FakeImage] = {}
            self.networks: set[str] = set()
            self.containers: dict[str, Container] = {}
            self.specs: dict[str, ContainerSpec] = {}
            self.image_of: dict[str, FakeImage] = {}
            self.history: list[tuple[ContainerEvent, Container]] = []
            self.logs: dict[str, list[LogLine]] = defaultdict(list)
            # The containers whose log driver keeps nothing.
            self.mute: set[str] = set()
            self.calls: Counter[str] = Counter()
            self.generation += 1
            self._is_away = False
            self._hooks: dict[str, list[tuple[int, Callable[[], None]]]] = defaultdict(list)
            self._failures: dict[tuple[str, str], list[BaseException]] = defaultdict(list)

    def go_away(self) -> None:
        """From now on every call raises ContainersUnavailableError and has no effect; subscriptions end."""
        self._is_away = True
        self.end_subscriptions()

    def come_back(self) -> None:
        """Answer again, with everything as it was."""
        self._is_away = False

    def fail_before(self, method: str, error: BaseException) -> None:
        """Let the next call of this method of the port raise the error instead of having its effect."""
        self._failures["before", method].append(error)

    def fail_after(self, method: str, error: BaseException) -> None:
        """Let the next successful call of this method raise the error after its effect, like a lost answer."""
        self._failures["after", method].append(error)

    def on_call(self, method: str, then: Callable[[], None], *, skip: int = 0) -> None:
        """Run something right after the effect of the next call of this method, or after ``skip`` more calls."""
        self._hooks[method].append((self.calls[method] + skip + 1, then))

    def add(self, spec: ContainerSpec, *, image: FakeImage) -> str:
        """Put a created container there, whoever's it is; returns its id."""
        with self.lock:
            container = Container(
                id=_new_id(),
                name=spec.name,
                state=ContainerState.CREATED,
                image_id=image.id,
                image_ref=spec.image_ref,
                labels={**image.labels, **spec.labels},
            )
            self.containers[container.id] = container
            self.specs[container.id] = spec
            self.image_of[container.id] = image
            return container.id

    def start(self, container: Container) -> None:
        """Run a container as its image behaves. Idempotent."""
        if container.is_alive:
            return
        image, spec = self.image_of[container.id], self.specs[container.id]
        addresses = {spec.network: ADDRESS}
        if image.refuses_start or spec.network not in self.networks:
            why = "the engine cannot run it" if image.refuses_start else f"network {spec.network} not found"
            message = f"container {container.id} could not be started: {why}"
            raise ContainerStartFailedError(message)
        running = replace(container, state=ContainerState.RUNNING, exit_code=0, started_at=datetime.now(UTC))
        self.containers[container.id] = replace(running, finished_at=None, oom_killed=False, addresses=addresses)
        self._tell(container.id, EventAction.START)
        for stream, line in image.says:
            self.say(container.id, line, stream=stream)
        if image.exits_with is not None:
            self.exit(container.id, exit_code=image.exits_with)

    def exit(self, container_id: str, *, exit_code: int, oom_killed: bool = False) -> None:
        """Let a container die, by itself or by a signal."""
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
                self._tell(container_id, EventAction.OOM)
            self._tell(container_id, EventAction.DIE)

    def say(self, container_id: str, line: str, *, stream: str = "stdout") -> None:
        """Let the engine program of a container write one line."""
        with self.changed:
            self.logs[container_id].append(LogLine(datetime.now(UTC), stream, line))
            self.changed.notify_all()

    def starve(self, container_id: str) -> None:
        """Let the kernel kill a process of a container that lives on."""
        with self.lock:
            self._tell(container_id, EventAction.OOM)

    def vanish(self, container_id: str) -> None:
        """Let somebody else remove a container."""
        with self.lock:
            if self.containers[container_id].is_alive:
                self.exit(container_id, exit_code=KILLED)
            self._tell(container_id, EventAction.DESTROY)
            del self.containers[container_id]

    def end_subscriptions(self) -> None:
        """End every feed of events without a word, as a daemon that dies does."""
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def _tell(self, container_id: str, action: EventAction) -> None:
        with self.changed:
            # Later than the one before, however coarse the clock.
            self._last_event_ns = max(time.time_ns(), self._last_event_ns + 1)
            container = self.containers[container_id]
            event = ContainerEvent(container_id, container.game_id, action, self._last_event_ns)
            self.history.append((event, container))
            self.changed.notify_all()

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        """Around the effect of each call of the port: counts it and lets the planned failures happen."""
        with self.lock:
            self.calls[method] += 1
            if self._is_away:
                message = "the fake engine is away"
                raise ContainersUnavailableError(message)
            self._raise_planned("before", method)
            yield
            for due, then in self._hooks[method]:
                if due == self.calls[method]:
                    then()
            self._raise_planned("after", method)

    def _raise_planned(self, moment: str, method: str) -> None:
        if planned := self._failures[moment, method]:
            raise planned.pop(0)

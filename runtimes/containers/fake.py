"""The container port in memory, for tests of whoever uses the port. It ships with the product.

Several FakeContainers share one FakeEngine, as the adapters of several threads share one Docker. The contract
suite holds it to the same promises as the real adapter.
"""

import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

from runtimes.containers.base import (
    Container,
    ContainerEvent,
    ContainerStartFailedError,
    ContainerState,
    ContainersUnavailableError,
    EventAction,
    Image,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.specs import ContainerSpec

_KILLED = 128 + 9
_TERMINATED = 128 + 15
# Where the containers that run say they are reached: a test may put an engine there.
ADDRESS = "127.0.0.1"


def _new_id() -> str:
    return secrets.token_hex(32)


def _new_image_id() -> str:
    return f"sha256:{_new_id()}"


@dataclass(frozen=True, slots=True)
class FakeImage:
    """An image and how a container of it behaves: dies at once with a code, cannot start, ignores SIGTERM."""

    labels: Mapping[str, str] = field(default_factory=dict)
    exits_with: int | None = None
    refuses_start: bool = False
    ignores_term: bool = False
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
            if oom_killed:
                self._tell(container_id, EventAction.OOM)
            self._tell(container_id, EventAction.DIE)

    def starve(self, container_id: str) -> None:
        """Let the kernel kill a process of a container that lives on."""
        with self.lock:
            self._tell(container_id, EventAction.OOM)

    def vanish(self, container_id: str) -> None:
        """Let somebody else remove a container."""
        with self.lock:
            if self.containers[container_id].is_alive:
                self.exit(container_id, exit_code=_KILLED)
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


shared_engine = FakeEngine()


class FakeContainers:
    """The port on a FakeEngine: the shared one of this process unless another is given."""

    def __init__(self, engine: FakeEngine | None = None) -> None:
        self.engine = engine or shared_engine

    @classmethod
    def from_settings(cls) -> Self:
        """On the shared engine: no setting matters."""
        return cls()

    def ping(self) -> None:
        """Return when the engine answers."""
        with self.engine.call("ping"):
            pass

    def network_exists(self, name: str) -> bool:
        """Whether a user-defined network of exactly this name exists."""
        with self.engine.call("network_exists"):
            return name in self.engine.networks

    def find(self, name_or_id: str) -> Container | None:
        """Look at one container by its exact name or full id."""
        with self.engine.call("find"):
            found = (each for each in self.engine.containers.values() if name_or_id in {each.id, each.name})
            return next(found, None)

    def list_owned(self, stack: str) -> list[Container]:
        """All containers of this stack, with as little filled in as the real engine's list has."""
        with self.engine.call("list_owned"):
            return [_as_listed(each) for each in self.engine.containers.values() if each.is_owned_by(stack)]

    def events(self, stack: str, *, since_ns: int) -> FakeFeed:
        """Subscribe to the events of all containers of this stack."""
        with self.engine.call("events"):
            return FakeFeed(self.engine, stack, since_ns)

    def find_image(self, image_ref: str) -> Image | None:
        """The local image, or None when the engine does not hold it."""
        with self.engine.call("find_image"):
            image = self.engine.images.get(image_ref)
            return Image(id=image.id, labels=image.labels) if image else None

    def pull(self, image_ref: str) -> None:
        """Take the image from the registry; one that is there already needs no registry."""
        with self.engine.call("pull"):
            image = self.engine.registry.get(image_ref)
            if image is None:
                message = f"image {image_ref} could not be pulled: the registry does not have it"
                raise ImagePullFailedError(message)
            self.engine.images[image_ref] = image

    def create(self, spec: ContainerSpec) -> str:
        """Create, not start; returns the full id."""
        with self.engine.call("create"):
            image = self.engine.images.get(spec.image_ref)
            if image is None:
                message = f"container {spec.name} could not be created: no such image: {spec.image_ref}"
                raise ContainerStartFailedError(message)
            if any(each.name == spec.name for each in self.engine.containers.values()):
                message = f"a container named {spec.name} exists already"
                raise NameTakenError(message)
            return self.engine.add(spec, image=image)

    def start(self, container_id: str) -> None:
        """Start by id, behaving as the image says."""
        with self.engine.call("start"):
            self.engine.start(self._get(container_id))

    def wait_exit(self, container_id: str, timeout_seconds: float) -> bool:  # noqa: ARG002 (time stands still here)
        """Whether the container does not run, without waiting."""
        with self.engine.call("wait_exit"):
            container = self.engine.containers.get(container_id)
            return container is None or not container.is_alive

    def stop(self, container_id: str, *, grace_seconds: int) -> None:  # noqa: ARG002 (time stands still here)
        """Stop at once, with the exit code of SIGTERM or, where the image ignores that, of SIGKILL."""
        with self.engine.call("stop"):
            if self._get(container_id).is_alive:
                ignores_term = self.engine.image_of[container_id].ignores_term
                self.engine.exit(container_id, exit_code=_KILLED if ignores_term else _TERMINATED)

    def remove(self, container_id: str) -> None:
        """Remove a container, alive or not, existing or not."""
        with self.engine.call("remove"):
            if container_id in self.engine.containers:
                self.engine.vanish(container_id)

    def close(self) -> None:
        """Nothing to drop."""

    def _get(self, container_id: str) -> Container:
        container = self.engine.containers.get(container_id)
        if container is None:
            message = f"container {container_id} does not exist"
            raise NoSuchContainerError(message)
        return container


def _as_listed(container: Container) -> Container:
    return Container(
        id=container.id,
        name=container.name,
        state=container.state,
        image_id=container.image_id,
        image_ref=container.image_ref,
        labels=container.labels,
        health=container.health,
        addresses=container.addresses,
    )

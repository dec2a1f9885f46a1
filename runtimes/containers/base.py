"""The port to the container engine: what RTM needs of Docker, and nothing more.

Two adapters implement it, ``docker.py`` and ``fake.py``; one contract suite holds both to the promises below.
Whatever an adapter cannot see is *unknown* and raises ContainersUnavailableError; "not there" is only ever said
by an engine that answered.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from runtimes.containers.engine import Engine
from runtimes.containers.telemetry import ContainerStats, LogFeed, LogLine
from runtimes.exceptions import ErrorCode, RuntimeManagerError
from runtimes.specs import (
    LABEL_FENCE,
    LABEL_GAME_ID,
    LABEL_OPERATION_ID,
    LABEL_OWNER,
    LABEL_STACK,
    OWNER,
    ContainerSpec,
)


class ContainersUnavailableError(RuntimeManagerError):
    """The engine did not answer, or not in time: whether the call took effect is unknown. Look again later."""

    code = ErrorCode.DOCKER_UNAVAILABLE
    transient = True


class NameTakenError(RuntimeManagerError):
    """A container of that name exists already; look at it before doing anything else."""

    code = ErrorCode.CONTAINER_START_FAILED


class NoSuchContainerError(RuntimeManagerError):
    """A healthy engine says that no container has this id."""

    code = ErrorCode.CONTAINER_START_FAILED


class ImagePullFailedError(RuntimeManagerError):
    """The image could not be had: unknown to the registry, refused, or absent under the policy ``never``."""

    code = ErrorCode.IMAGE_PULL_FAILED


class ContainerStartFailedError(RuntimeManagerError):
    """The engine refused to create or start the container, or it died at once."""

    code = ErrorCode.CONTAINER_START_FAILED


class ContainerState(StrEnum):
    """Docker's own names for the state of a container."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


ALIVE_STATES = frozenset({ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING})


@dataclass(frozen=True, slots=True)
class Container:
    """One look at one container.

    ``image_ref`` is what it was created from, in its creator's words; ``health`` is Docker's health check,
    empty when the image has none; ``addresses`` has its IP in each network, none while it does not run.
    """

    id: str
    name: str
    state: ContainerState
    image_id: str = ""
    image_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exit_code: int = 0
    oom_killed: bool = False
    health: str = ""
    restart_count: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether its processes exist, paused ones included."""
        return self.state in ALIVE_STATES

    @property
    def game_id(self) -> str:
        """The game it was made for, empty when the label is missing."""
        return self.labels.get(LABEL_GAME_ID, "")

    @property
    def operation_id(self) -> str:
        """The operation that created it, empty when made by somebody else."""
        return self.labels.get(LABEL_OPERATION_ID, "")

    @property
    def fence(self) -> int:
        """The claim under which it was created, 0 when made by somebody else."""
        value = self.labels.get(LABEL_FENCE, "")
        return int(value) if value.isdecimal() else 0

    def is_owned_by(self, stack: str) -> bool:
        """Owner *and* stack match: only then may RTM touch it."""
        return self.labels.get(LABEL_OWNER) == OWNER and self.labels.get(LABEL_STACK) == stack


@dataclass(frozen=True, slots=True)
class Image:
    """A local image: its content id (``sha256:…``), labels, and the digest its registry knows it by, if any."""

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ContainerDetails:
    """A container with all that is known of it: ``limits`` and hardening in force, as JSON with stable names, and
    ``raw``, the engine's own words. Both may hold what an image or a person put there, secrets included.
    """

    container: Container
    limits: Mapping[str, Any]
    raw: Mapping[str, Any]


class EventAction(StrEnum):
    """Docker's names for what happened to a container; the ones that matter here."""

    START = "start"
    DIE = "die"
    OOM = "oom"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something that happened to a container. ``time_ns`` is the engine's clock, nanoseconds since 1970.

    ``oom`` says that the kernel killed some process of it; the container may live on. Two equal events are one.
    """

    container_id: str
    game_id: str
    action: EventAction
    time_ns: int


class EventFeed(Protocol):
    """The events of one subscription, in the order in which the engine tells them."""

    def read(self, timeout_seconds: float) -> list[ContainerEvent]:
        """Wait up to the timeout for the first event, then take all that are there; empty when there was none.
        Raises ContainersUnavailableError, after everything received was handed out, when the feed has ended.
        """

    def close(self) -> None:
        """End the subscription. Idempotent, from any thread."""


class Containers(Protocol):
    """The container engine. Every call may raise ContainersUnavailableError: then nothing is known.

    An instance belongs to one thread (the Docker SDK's session is not thread-safe); get it from
    ``runtimes.containers.connect()``.
    """

    def ping(self) -> None:
        """Return when the engine answers."""

    def describe_engine(self) -> Engine:
        """What the engine says of itself and of its host."""

    def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:
        """Whether a user-defined network of exactly this name exists; one seen ``fresh_seconds`` ago may count."""

    def find(self, name_or_id: str) -> Container | None:
        """Look at one container by its exact name or full id; None when a healthy engine has none."""

    def find_all(self, container_ids: Sequence[str]) -> list[Container]:
        """Those of these containers, by full id, that the engine has. One call; filled in as by ``list_owned``."""

    def list_owned(self, stack: str, *, game_id: str = "") -> list[Container]:
        """All containers, dead or alive, with our owner label and this stack, or only those of one game. One call, no
        inspects: ``exit_code``, ``oom_killed``, ``restart_count`` and the times are not filled in.
        """

    def details(self, container_id: str) -> ContainerDetails:
        """Everything about one container, by one call. NoSuchContainerError when it is gone."""

    def logs(self, container_id: str, *, tail: int, since: datetime | None = None) -> Sequence[LogLine]:
        """The last ``tail`` lines, oldest first, of those from ``since`` on; also of a container that has ended.
        NoSuchContainerError when it is gone, LogNotKeptError when its log cannot be read back.
        """

    def follow_logs(self, container_id: str, *, since: datetime | None = None, tail: int = 0) -> LogFeed:
        """Subscribe to what is written from now on; the last ``tail`` lines from ``since`` on come first, no gap.
        Raises as ``logs``. The feed of a container that does not run ends at once.
        """

    def stats(self, container_id: str) -> ContainerStats:
        """What it uses; takes a second, over which the CPU is measured. NoSuchContainerError when it is gone,
        NotRunningError when it does not run.
        """

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Inside the block all calls together take no longer than this; what is late is ContainersUnavailableError."""

    def events(self, stack: str, *, since_ns: int) -> EventFeed:
        """Subscribe to the events of all containers of ours in this stack. What happened from ``since_ns`` on comes
        first, as far as the engine remembers it (Docker: the last 256 events of all kinds since its own start).
        """

    def find_image(self, image_ref: str) -> Image | None:
        """The local image, or None when the engine does not hold it."""

    def pull(self, image_ref: str) -> None:
        """Fetch the image. Idempotent. Raises ImagePullFailedError when the registry refuses or knows it not."""

    def create(self, spec: ContainerSpec) -> str:
        """Create, not start; returns the full id. The name is the engine's own mutex: NameTakenError.
        Raises ContainerStartFailedError when the engine refuses the specification.
        """

    def start(self, container_id: str) -> None:
        """Start by id. Idempotent: already running is success. NoSuchContainerError when it is gone,
        ContainerStartFailedError when the engine cannot run it.
        """

    def wait_exit(self, container_id: str, timeout_seconds: float) -> bool:
        """Wait up to the timeout for the container to stop running; True when it did (or is gone)."""

    def stop(self, container_id: str, *, grace_seconds: int) -> None:
        """SIGTERM, then SIGKILL after the grace. Idempotent: not running is success; NoSuchContainerError when gone."""

    def remove(self, container_id: str) -> None:
        """Remove a container, killing it when alive. Idempotent: already gone or being removed is success."""

    def close(self) -> None:
        """Drop the connections. The instance is not used afterwards."""

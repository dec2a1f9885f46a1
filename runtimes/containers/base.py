"""The port to Docker: the calls that RTM needs, and their errors.

Two adapters implement it, in ``docker/`` and ``fake/``. One contract suite tests both.
A call without a response raises ContainersUnavailableError: the result is *unknown*. "Absent" is only reported if
Docker responded. If Docker rejects the call, the adapter raises DockerRefusedError or a more specific error.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from runtimes.container_spec import (
    LABEL_FENCE,
    LABEL_GAME_ID,
    LABEL_JOB_KEY,
    LABEL_OPERATION_ID,
    LABEL_OWNER,
    LABEL_STACK,
    OWNER,
    ContainerSpec,
)
from runtimes.containers.refusals import Refusal
from runtimes.containers.types import ContainerStats, DockerInfo, Feed, HostCapacity, LogLine
from runtimes.exceptions import ErrorCode, RuntimeManagerError


class ContainersUnavailableError(RuntimeManagerError):
    """Docker did not respond, or not in time. Whether the call took effect is unknown: inspect again later."""

    code = ErrorCode.DOCKER_UNAVAILABLE
    transient = True


class NotObservedError(ContainersUnavailableError):
    """Nothing asked Docker: this process reads through a worker, and no worker answered. Docker itself may be fine."""


class DockerRefusedError(RuntimeManagerError):
    """Docker rejected the call; a retry does not help. The state of the container is unknown.

    The message holds Docker's error text and what to do. Logic compares ``refusal``, never the text.
    """

    def __init__(self, message: str, refusal: Refusal = Refusal.OTHER) -> None:
        super().__init__(message)
        self.refusal = refusal


# The result of a read is unknown: for callers that only observe.
OBSERVATION_ERRORS = (ContainersUnavailableError, DockerRefusedError)


class NameTakenError(RuntimeManagerError):
    """A container of that name exists already. The caller must inspect it before the next step."""

    code = ErrorCode.CONTAINER_START_FAILED


class NoSuchContainerError(RuntimeManagerError):
    """Docker responded that no container has this id."""

    code = ErrorCode.CONTAINER_START_FAILED


class ImagePullFailedError(RuntimeManagerError):
    """The image could not be pulled: unknown to the registry, denied, or absent under the policy ``never``."""

    code = ErrorCode.IMAGE_PULL_FAILED


class ContainerStartFailedError(RuntimeManagerError):
    """Docker rejected the create or start call, or the container exited right after its start.

    ``refusal`` is the kind of rejection, None if Docker rejected nothing.
    """

    code = ErrorCode.CONTAINER_START_FAILED

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal


class ContainerState(StrEnum):
    """Docker's names for the state of a container."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Container:
    """One observation of one container.

    ``image_ref`` is what its creator passed to Docker: a reference, an image id or a prefix of one.
    ``health`` is the status of Docker's health check, empty if the image has none.
    ``addresses`` maps each network to the container's IP address; empty while it does not run.
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
        """Whether its processes exist, including paused ones."""
        return self.state in {ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING}

    @property
    def game_id(self) -> str:
        """The game it was created for, empty without the label."""
        return self.labels.get(LABEL_GAME_ID, "")

    @property
    def operation_id(self) -> str:
        """The operation that created it, empty if RTM did not create it."""
        return self.labels.get(LABEL_OPERATION_ID, "")

    @property
    def job_key(self) -> str:
        """The job key of the operation that created it; empty if created manually, or by RTM before version 0.2."""
        return self.labels.get(LABEL_JOB_KEY, "")

    @property
    def fence(self) -> int:
        """The fencing token under which it was created, 0 if RTM did not create it."""
        value = self.labels.get(LABEL_FENCE, "")
        # A label may hold any text; the database column holds 63 bits.
        return int(value) if value.isdecimal() and len(value) <= 18 else 0  # noqa: PLR2004

    def is_owned_by(self, stack: str) -> bool:
        """Whether owner *and* stack match. Only then may RTM change it."""
        return self.labels.get(LABEL_OWNER) == OWNER and self.labels.get(LABEL_STACK) == stack


@dataclass(frozen=True, slots=True)
class Image:
    """A local image.

    ``id`` is its content id (``sha256:…``), ``digest`` the digest in its registry, if any. ``volumes`` are the declared
    volume paths as the image writes them. ``user`` is the ``USER`` of the image; empty means root.
    """

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    volumes: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True, slots=True)
class ContainerDetails:
    """A container with its full inspection.

    ``limits`` holds the limits and hardening in force, as JSON with stable names; ``raw`` is Docker's response. Both
    may contain secrets that an image or an operator set.
    """

    container: Container
    limits: Mapping[str, Any]
    raw: Mapping[str, Any]


class EventAction(StrEnum):
    """Docker's names for the container events that RTM uses."""

    START = "start"
    DIE = "die"
    OOM = "oom"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """A container event. ``time_ns`` is Docker's clock, in nanoseconds since 1970.

    ``oom`` means that the kernel killed a process of the container; the container may keep running. Two equal events
    are the same event. ``exit_code`` belongs to ``die``; None if Docker does not report it.
    """

    container_id: str
    game_id: str
    action: EventAction
    time_ns: int
    exit_code: int | None = None


class DockerPort(Protocol):
    """The calls to Docker. An instance belongs to one thread, because the Docker SDK's session is not thread-safe.

    Each may raise ContainersUnavailableError, or DockerRefusedError if Docker rejects it; the result is then unknown.
    A call about one container raises NoSuchContainerError if it does not exist, unless that has a result of its own.
    """

    def ping(self) -> None:
        """Return if Docker responds."""

    def docker_info(self) -> DockerInfo:
        """Version, features and host of the daemon."""

    def daemon_started_at(self) -> datetime | None:
        """When the daemon was started, by its own clock; None if it does not report that.

        Uses a new connection, which a daemon that is shutting down rejects. So a shutdown after the response did not
        end a container that had exited before it. A daemon that found its containers running (live-restore)
        reports an earlier start.
        """

    def host_capacity(self) -> HostCapacity | None:
        """CPUs and memory of the host, cached for 10 minutes; None if Docker does not report them."""

    def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:
        """Whether a user-defined network of this exact name exists. A result up to ``fresh_seconds`` old may count."""

    def find(self, name_or_id: str) -> Container | None:
        """Inspect one container by its exact name or full id; None if it does not exist."""

    def list_by_ids(self, container_ids: Sequence[str]) -> list[Container]:
        """The containers with these full ids that exist, in one call, with the fields that ``list_owned`` fills in."""

    def list_owned(self, stack: str, *, game_id: str = "") -> list[Container]:
        """All containers, running or not, with our owner label and this stack, or only those of one game.

        One call without inspections: ``exit_code``, ``oom_killed``, ``restart_count`` and the times are not filled in.
        """

    def inspect(self, container_id: str) -> ContainerDetails:
        """The full inspection of one container, in one call."""

    def logs(self, container_id: str, *, tail: int, since: datetime | None = None) -> Sequence[LogLine]:
        """The last ``tail`` lines since ``since``, oldest first; also of a container that has exited.

        Raises LogsNotAvailableError if its log driver stores nothing.
        """

    def follow_logs(self, container_id: str, *, since: datetime | None = None, tail: int = 0) -> Feed[LogLine]:
        """Subscribe to new lines. The last ``tail`` lines since ``since`` come first, without a gap.

        Raises as ``logs``. The feed of a container that does not run ends immediately.
        """

    def stats(self, container_id: str) -> ContainerStats:
        """The resource usage over one second, which the call takes. Raises NotRunningError if it does not run."""

    def time_limit(self, seconds: float) -> AbstractContextManager[None]:
        """Limit the total duration of all calls in the block. A late call raises ContainersUnavailableError."""

    def events(self, stack: str, *, since_ns: int) -> Feed[ContainerEvent]:
        """Subscribe to the events of our containers in this stack.

        Events since ``since_ns`` come first, as far as Docker remembers them: the last 256 events of all kinds since
        the daemon started.
        """

    def find_image(self, image_ref: str) -> Image | None:
        """The local image with this reference or full id (``sha256:…``), or None."""

    def pull(self, image_ref: str) -> None:
        """Pull the image. Idempotent. Raises ImagePullFailedError if the registry denies it or does not have it."""

    def create(self, spec: ContainerSpec) -> str:
        """Create a container without starting it; returns the full id.

        Docker's unique names are the mutex: raises NameTakenError. Raises ContainerStartFailedError if Docker rejects
        the specification.
        """

    def start(self, container_id: str) -> None:
        """Start a container. Idempotent: success if it runs. Raises ContainerStartFailedError if Docker cannot."""

    def rename(self, container_id: str, name: str) -> None:
        """Rename a container, running or not; its networks then resolve the new name.

        Idempotent: success if it has the name already. Raises NameTakenError if another container has the name.
        """

    def wait_until_exited(self, container_id: str, timeout_seconds: float) -> bool:
        """Wait up to the timeout for the container to exit; True if it exited or no longer exists."""

    def stop(self, container_id: str, *, grace_seconds: int) -> None:
        """Send SIGTERM, and SIGKILL after the grace period. Idempotent: success if it does not run."""

    def remove(self, container_id: str, *, grace_seconds: int) -> None:
        """Remove a container. A running one first gets SIGTERM, and SIGKILL after the grace period.

        Idempotent: success if it does not exist or is being removed. Raises DockerRefusedError (NOT_REMOVABLE) if
        Docker cannot remove it: the container has exited and keeps its name.
        """

    def close(self) -> None:
        """Close the connections. The caller does not use the instance afterwards."""

"""The input of an explanation: database rows, one query of Docker, one of Redis, and the settings.

Model instances are read here as plain data. A server that did not answer is recorded as unknown, never as empty.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from operations.models import DeadLetter, ExitReport, Operation, OutboxEvent
from operations.states import OperationKind, OperationState, Outcome
from runtimes.containers.base import Container
from runtimes.containers.configuration import ConfigurationDifference
from runtimes.containers.exit_causes import DockerStart
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus

_DEFAULT_HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainSettings:
    """The settings that decide what happens next, with their names in ``RTMANAGER``.

    ``silence_limit``: how long a component may send no heartbeat.
    """

    stack: str
    docker_network: str
    docker_host: str
    docker_gateway_dir: str
    image_pull_policy: str
    game_state_root: str
    engine_state_mount_path: str
    game_state_owner_uid: int
    game_state_owner_gid: int
    game_state_dir_mode: int
    container_user: str
    container_read_only: bool
    reconcile_interval: timedelta
    inspect_interval: timedelta
    probe_interval: timedelta
    probe_failures_threshold: int
    cleanup_interval: timedelta
    retention: timedelta
    lease_ttl: timedelta
    silence_limit: timedelta
    stop_grace: timedelta = timedelta(seconds=30)

    def docker(self, *arguments: str) -> str:
        """A command line for the Docker host of this installation. An operator uses Docker itself, not the gateway."""
        is_gateway = self.docker_host.startswith(f"unix://{self.docker_gateway_dir.rstrip('/')}/")
        host = [] if is_gateway or self.docker_host == _DEFAULT_HOST else ["-H", self.docker_host]
        return shlex.join(["docker", *host, *arguments])


@dataclass(frozen=True, slots=True)
class DockerState:
    """The result of one query of Docker. With ``is_known`` False Docker did not answer, or refused (``is_refused``),
    or no worker was there to ask it (``is_asked`` False); the other fields are then meaningless.

    - ``own``: this game's container. The recorded one if it is alive, else the one with the game's name, else the
      recorded one. ``foreign``: an unmanaged container that has the game's name.
    - ``has_image``: whether the host has the image that a start would use; None if it was not checked.
      ``named_image_id``: the id of that image, which may differ from the image that the game runs.
      ``has_recorded_image``: whether the host has the image by the recorded id; None if it was not checked.
    - ``configuration``: how a live ``own`` differs from what RTM would create.
    - ``last_lines``: the end of the log of a failed ``own``, oldest first. ``engine_error``: Docker's last error.
    """

    is_known: bool
    reason: str = ""
    own: Container | None = None
    foreign: Container | None = None
    network_exists: bool = True
    has_image: bool | None = None
    named_image_id: str = ""
    has_recorded_image: bool | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    configuration: tuple[ConfigurationDifference, ...] = ()
    last_lines: tuple[str, ...] = ()
    engine_error: str = ""
    is_refused: bool = False
    is_asked: bool = True

    @property
    def silence(self) -> str:
        """Why the state is unknown; empty when Docker answered."""
        if self.is_known:
            return ""
        if not self.is_asked:
            return "No worker answers to ask Docker"
        return "Docker answers and refuses" if self.is_refused else "Docker does not answer"

    @property
    def is_up(self) -> bool:
        """Whether Docker reports that the game's container runs."""
        return self.is_known and self.own is not None and self.own.is_alive


class RootState(StrEnum):
    """Whether the marker file of the state root holds the id on record, as this process sees it."""

    UNKNOWN = "unknown"
    RECORDED = "recorded"
    UNMARKED = "unmarked"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The game's state directory as this process sees it. A worker on another host may see another disk.

    ``owner_uid`` None: owner, group and mode are unknown. ``is_missing``: the root exists, the directory does not.
    """

    is_known: bool = False
    is_read_only: bool = False
    free_bytes: int = 0
    owner_uid: int | None = None
    owner_gid: int | None = None
    mode: int = 0
    is_missing: bool = False
    root: RootState = RootState.UNKNOWN

    @property
    def is_root_wrong(self) -> bool:
        """Whether the state root is not the recorded one: then RTM refuses every start on it."""
        return self.root in {RootState.UNMARKED, RootState.FOREIGN, RootState.UNREADABLE}

    @property
    def is_full(self) -> bool:
        """Whether there is no space for more than a few pages."""
        return self.is_known and self.free_bytes < 64 * 1024

    @property
    def is_usable(self) -> bool:
        """Whether the directory accepts writes and its root is the recorded one."""
        return self.is_known and not self.is_read_only and not self.is_full and not self.is_root_wrong


@dataclass(frozen=True, slots=True)
class Desired:
    """The state that the last accepted request asked for."""

    status: RuntimeStatus
    image_ref: str
    since: datetime
    by: str
    operation_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything known about one game at one moment.

    - ``database_reason``, ``redis_reason``: why a server did not answer; empty when it did.
    - ``open_operations``: the first of ``open_count`` open operations, the next one in front.
    - ``last_requested``: the newest finished operation that a caller requested. ``last_change``: the newest one that
      changed something, including repairs. ``desired_by``: the request that set the desired state.
    - ``running_operations``: how many operations of all games run now. ``engine_starts``: starts of Docker.
    - ``restored_at``: when the database was restored, while its records are not yet compared with Docker; else None.
    - ``namesake``: another game with a container whose id differs only in case; empty if there is none.
    """

    game_id: str
    config: ExplainSettings
    docker_state: DockerState
    state_directory: StateDirectory = StateDirectory()
    database_reason: str = ""
    redis_reason: str = ""
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    record: Runtime | None = None
    snapshot: HealthSnapshot | None = None
    namesake: str = ""
    open_operations: tuple[Operation, ...] = ()
    open_count: int = 0
    last_operations: tuple[Operation, ...] = ()
    last_requested: Operation | None = None
    last_change: Operation | None = None
    desired_by: Operation | None = None
    running_operations: int = 0
    health_events: tuple[OutboxEvent, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    exit_report: ExitReport | None = None
    engine_starts: tuple[DockerStart, ...] = ()
    restored_at: datetime | None = None

    @property
    def next_operation(self) -> Operation | None:
        """The open operation that runs, or that a worker takes next."""
        return self.open_operations[0] if self.open_operations else None

    @property
    def status(self) -> RuntimeStatus | None:
        """The recorded status; None without a record."""
        return RuntimeStatus(self.record.status) if self.record else None

    @property
    def image_ref(self) -> str:
        """The image that a start would use: the recorded one, else the last requested one."""
        recorded = self.record.current_image_ref if self.record else ""
        requested = self.last_requested.image_ref if self.last_requested else ""
        return recorded or requested

    @property
    def exit_report_of_end(self) -> ExitReport | None:
        """The newest exit report, if it is about the last failure or the present container."""
        report, own, last = self.exit_report, self.docker_state.own, self.last_requested
        if report is None:
            return None
        is_of_failure = last is not None and last.outcome == Outcome.FAILURE and report.operation_id == last.pk
        is_of_own = own is not None and not own.is_alive and report.container_id == own.id
        return report if is_of_failure or is_of_own or own is None else None

    @property
    def desired(self) -> Desired | None:
        """The desired state; None if no caller ever requested one, as for an adopted container."""
        request = self.desired_by
        if request is None:
            return None
        image_ref = request.image_ref or (self.record.current_image_ref if self.record else "") or ""
        by = f"{request.op_source}: {request.source_ref}" if request.source_ref else request.op_source
        return Desired(_desired_status(request), image_ref, request.accepted_at, by, request.pk)

    @property
    def should_run(self) -> bool:
        """Whether the last accepted request asked for a running game."""
        return self.desired_by is not None and _desired_status(self.desired_by) == RuntimeStatus.RUNNING

    @property
    def health(self) -> HealthSnapshot | None:
        """The last health snapshot, if it is about the present or the recorded container."""
        own, record = self.docker_state.own, self.record
        container_id = own.id if own else record and record.current_container_id
        is_current = self.snapshot is not None and self.snapshot.container_id == container_id
        return self.snapshot if is_current else None

    @property
    def state_path(self) -> str:
        """The game's state directory: the recorded path, else the path that a start would use."""
        return self.record.state_path if self.record else f"{self.config.game_state_root}/{self.game_id}"

    @property
    def restore_after_end(self) -> datetime | None:
        """The database restore that explains why a game is down that was running in the backup; None if there is none.

        RTM itself may have stopped or removed such a game between backup and restore. Until the repair, the record is
        older than the restore; after it, the repair's arguments name the restore.
        """
        record, own, request, change = self.record, self.docker_state.own, self.desired_by, self.last_change
        restored = self.restored_at if self.status == RuntimeStatus.RUNNING else None
        if change is not None and "restored_at" in change.arguments:
            restored = datetime.fromisoformat(change.arguments["restored_at"])
        elif record is None or restored is None or record.last_op_at >= restored:
            return None
        ended_at = own.finished_at if own is not None else None
        is_request_newer = request is not None and request.accepted_at >= restored
        return None if is_request_newer or (ended_at is not None and ended_at >= restored) else restored


def _desired_status(operation: Operation) -> RuntimeStatus:
    if operation.op_kind == OperationKind.CLEANUP_CONTAINER:
        return RuntimeStatus.REMOVED
    is_prepared = operation.op_kind == OperationKind.START and operation.arguments.get("no_start", False)
    return RuntimeStatus.STOPPED if operation.op_kind == OperationKind.STOP or is_prepared else RuntimeStatus.RUNNING


def current_step(operation: Operation) -> Mapping[str, Any] | None:
    """The step of a running operation as of its last lease renewal; None between two steps."""
    steps = operation.steps
    has_open_step = operation.state == OperationState.RUNNING and steps and steps[-1].get("duration_ms") is None
    return steps[-1] if has_open_step else None


def failed_step(operation: Operation) -> str:
    """The name of the last failed step; empty if none failed. A lost exit report fails no operation."""
    failed = (step["name"] for step in reversed(operation.steps) if step.get("error"))
    return next((name for name in failed if name != "exit_report"), "")


def has_step(operation: Operation, name: str) -> bool:
    """Whether a step of this name was started."""
    return any(step["name"] == name for step in operation.steps)

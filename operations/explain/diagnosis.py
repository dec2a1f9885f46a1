"""The result of the rules: cause, severity, next step, and what RTM does automatically."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from operations.explain.facts import Facts


class Severity(StrEnum):
    """How urgent a diagnosis is for an operator."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Cause(StrEnum):
    """Why a game is in its state: stable codes. A test compares ``docs/explain.md`` with this list."""

    DATABASE_UNREACHABLE = "database_unreachable"
    DOCKER_UNREACHABLE = "docker_unreachable"
    DOCKER_REFUSES = "docker_refuses"
    DOCKER_NOT_OBSERVED = "docker_not_observed"
    REDIS_DOWN = "redis_down"
    WORKER_DOWN = "worker_down"
    WORKERS_BUSY = "workers_busy"
    RECOVERING = "recovering"
    BACKING_OFF = "backing_off"
    PULLING = "pulling"
    QUEUED_BEHIND = "queued_behind"
    STARTING = "starting"
    STOPPING = "stopping"
    REMOVING = "removing"
    REPAIRING = "repairing"
    FOREIGN_CONTAINER = "foreign_container"
    STRAY_CONTAINER = "stray_container"
    DRIFT_PENDING = "drift_pending"
    CONTAINER_NOT_REMOVABLE = "container_not_removable"
    CONTAINER_DISAPPEARED = "container_disappeared"
    NETWORK_MISSING = "network_missing"
    STATE_DIRECTORY_UNUSABLE = "state_directory_unusable"
    IMAGE_MISSING = "image_missing"
    PERMISSION_DENIED = "permission_denied"
    READ_ONLY_FILESYSTEM = "read_only_filesystem"
    CRASH_AT_START = "crash_at_start"
    START_FAILED = "start_failed"
    OUT_OF_MEMORY = "out_of_memory"
    DATABASE_RESTORED = "database_restored"
    DOCKER_RESTARTED = "docker_restarted"
    KILLED_OUTSIDE = "killed_outside"
    EXITED_BY_ITSELF = "exited_by_itself"
    WRONG_NETWORK = "wrong_network"
    ENDPOINT_DEAD = "endpoint_dead"
    DOCKER_UNHEALTHY = "docker_unhealthy"
    PROBE_FAILING = "probe_failing"
    PATCH_REVERTED = "patch_reverted"
    OPERATION_REFUSED = "operation_refused"
    CONFIGURATION_DRIFT = "configuration_drift"
    HEALTHY = "healthy"
    PREPARED = "prepared"
    STOPPED_ON_REQUEST = "stopped_on_request"
    REMOVED = "removed"
    NEVER_STARTED = "never_started"


class NoteKind(StrEnum):
    """What a note is about. A note does not decide the cause."""

    OPERATION_REFUSED = "operation_refused"
    IMAGE_REFUSED = "image_refused"
    OPERATION_FAILED = "operation_failed"


@dataclass(frozen=True, slots=True)
class Note:
    """A remark beside the diagnosis, such as a refused request of a game that runs well."""

    kind: NoteKind
    text: str
    at: datetime | None = None
    operation_id: int | None = None


@dataclass(frozen=True, slots=True)
class NextStep:
    """What an operator should do. `verb` would not be refused now; null if no verb alone helps."""

    text: str
    verb: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, slots=True)
class AutomaticAction:
    """What RTM does next without a request, and when at the latest, if that is known."""

    text: str
    at: datetime | None = None


# RTM waits for an operator.
NOTHING = AutomaticAction("Nothing: Runtime Manager does not restart games automatically")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The most important cause. ``operation_id``: the failed operation that it is about, if there is one."""

    cause: Cause
    severity: Severity
    headline: str
    detail: str
    step: NextStep
    automatic: AutomaticAction = NOTHING
    operation_id: int | None = None


# Returns None if the cause does not apply.
Rule = Callable[[Facts, datetime], Diagnosis | None]

"""What a diagnosis says: the cause, how bad it is, what to do, and what happens by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from operations.diagnosis.facts import Facts


class Severity(StrEnum):
    """How soon somebody should care."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Cause(StrEnum):
    """Why a game is as it is: stable codes. ``docs/explain.md`` is held against this list."""

    DATABASE_UNREACHABLE = "database_unreachable"
    DOCKER_UNREACHABLE = "docker_unreachable"
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
    CONTAINER_DISAPPEARED = "container_disappeared"
    NETWORK_MISSING = "network_missing"
    STATE_DIRECTORY_UNUSABLE = "state_directory_unusable"
    IMAGE_MISSING = "image_missing"
    CRASH_AT_START = "crash_at_start"
    START_FAILED = "start_failed"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED_OUTSIDE = "killed_outside"
    EXITED_BY_ITSELF = "exited_by_itself"
    WRONG_NETWORK = "wrong_network"
    DOCKER_UNHEALTHY = "docker_unhealthy"
    PROBE_FAILING = "probe_failing"
    IMAGE_REFUSED = "image_refused"
    PATCH_REVERTED = "patch_reverted"
    OPERATION_REFUSED = "operation_refused"
    HEALTHY = "healthy"
    PREPARED = "prepared"
    STOPPED_AS_ASKED = "stopped_as_asked"
    REMOVED = "removed"
    NEVER_STARTED = "never_started"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What a person should do. ``verb`` is one that would not be refused now, None when none helps by itself."""

    text: str
    verb: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, slots=True)
class NextAutomatic:
    """What RTM does next without being asked, and when at the latest; ``at`` None when no time is known."""

    text: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The one cause that tells most."""

    cause: Cause
    severity: Severity
    headline: str
    detail: str = ""
    step: NextStep
    automatic: NextAutomatic


# Says what it makes of the facts at a moment; None: this is not it.
Rule = Callable[[Facts, datetime], Verdict | None]

"""All that an explanation is made from: rows, one look at Docker and Redis, and what the settings say.

Model instances are read here as plain data. What could not be asked is said to be so and never passes for empty.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from operations.models import BlackBox, DeadLetter, Operation, OutboxEvent
from operations.states import OpKind, OpState
from runtimes.containers.base import Container
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus

_DEFAULT_HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that decide what comes next. ``silence_limit``: how long a part of RTM may show no sign of life."""

    stack: str
    network: str
    docker_host: str
    pull_policy: str
    state_root: str
    reconcile_interval: timedelta
    inspect_interval: timedelta
    probe_interval: timedelta
    probe_failures_threshold: int
    retention: timedelta
    cleanup_interval: timedelta
    lease_ttl: timedelta
    silence_limit: timedelta

    def docker(self, *words: str) -> str:
        """A command line for the Docker of this installation."""
        host = [] if self.docker_host == _DEFAULT_HOST else ["-H", self.docker_host]
        return shlex.join(["docker", *host, *words])


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at Docker. ``is_known`` False: it did not answer, and the rest says nothing.

    ``own`` is this game's container: the one under its name, else the recorded one. ``foreign`` holds the name and
    is not ours. ``has_image`` is about the image that the game would be started with; None: not looked for.
    """

    is_known: bool
    reason: str = ""
    own: Container | None = None
    foreign: Container | None = None
    network_exists: bool = True
    has_image: bool | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether Docker was seen to run the game's container."""
        return self.is_known and self.own is not None and self.own.is_alive


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The game's state directory as this process sees it; another host's worker may see another disk."""

    is_known: bool = False
    is_read_only: bool = False
    free_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether hardly a page is left to write on."""
        return self.is_known and self.free_bytes < 64 * 1024

    @property
    def is_usable(self) -> bool:
        """Whether it was seen to take writes."""
        return self.is_known and not self.is_read_only and not self.is_full


@dataclass(frozen=True, slots=True)
class Desired:
    """What was last asked for and not refused."""

    status: RuntimeStatus
    image_ref: str
    since: datetime
    by: str
    operation_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything known of one game at one moment.

    ``database_reason`` and ``redis_reason`` say why a server did not answer, empty when it did. Open operations are
    the first of ``open_count``, the one whose turn it is in front. ``last_asked`` is the newest ended operation that
    somebody asked for, ``last_change`` the newest that changed something, whoever asked. ``living_claims`` counts
    the operations of all games that a worker has in hand right now. ``pulses`` are the last signs of life of the parts
    of RTM.
    """

    game_id: str
    rules: Rules
    sight: Sight
    state_directory: StateDirectory = StateDirectory()
    database_reason: str = ""
    redis_reason: str = ""
    pulses: Mapping[str, datetime] = field(default_factory=dict)
    record: Runtime | None = None
    snapshot: HealthSnapshot | None = None
    open_operations: tuple[Operation, ...] = ()
    open_count: int = 0
    last_operations: tuple[Operation, ...] = ()
    last_asked: Operation | None = None
    last_change: Operation | None = None
    desired_by: Operation | None = None
    living_claims: int = 0
    health_events: tuple[OutboxEvent, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    black_box: BlackBox | None = None

    @property
    def name(self) -> str:
        """As a sentence begins with it."""
        return f"Game {self.game_id}"

    @property
    def head(self) -> Operation | None:
        """The operation whose turn it is."""
        return self.open_operations[0] if self.open_operations else None

    @property
    def status(self) -> RuntimeStatus | None:
        """The recorded status; None without a record."""
        return RuntimeStatus(self.record.status) if self.record else None

    @property
    def image_ref(self) -> str:
        """The image that a start would take: the recorded one, else the one that was asked for last."""
        recorded = self.record.current_image_ref if self.record else ""
        asked = self.last_asked.image_ref if self.last_asked else ""
        return recorded or asked

    @property
    def desired(self) -> Desired | None:
        """What was asked for; None when nobody ever asked, as for a container that was adopted."""
        one = self.desired_by
        if one is None:
            return None
        image_ref = one.image_ref or (self.record.current_image_ref if self.record else "") or ""
        by = f"{one.op_source}: {one.source_ref}" if one.source_ref else one.op_source
        return Desired(_wanted_status(one), image_ref, one.accepted_at, by, one.pk)

    @property
    def health(self) -> HealthSnapshot | None:
        """What was last seen of the health, if it is about the container that stands there or is on record."""
        container_id = self.sight.own.id if self.sight.own else self.record and self.record.current_container_id
        about_it = self.snapshot is not None and self.snapshot.container_id == container_id
        return self.snapshot if about_it else None


def _wanted_status(operation: Operation) -> RuntimeStatus:
    if operation.op_kind == OpKind.CLEANUP_CONTAINER:
        return RuntimeStatus.REMOVED
    is_prepared = operation.op_kind == OpKind.START and operation.arguments.get("no_start", False)
    return RuntimeStatus.STOPPED if operation.op_kind == OpKind.STOP or is_prepared else RuntimeStatus.RUNNING


def current_step(operation: Operation) -> Mapping[str, Any] | None:
    """The step that a running operation is at, as far as its last renewal told; None between two steps."""
    steps = operation.steps
    under_way = operation.state == OpState.RUNNING and steps and steps[-1].get("duration_ms") is None
    return steps[-1] if under_way else None


def failed_step(operation: Operation) -> str:
    """The name of the last step that went wrong; empty when none did. Evidence that was not kept fails nothing."""
    failed = (step["name"] for step in reversed(operation.steps) if step.get("error"))
    return next((name for name in failed if name != "black_box"), "")
